"""Every error that Spark Sidecar raises on purpose. Runs on the driver and on executors; imports nothing.

    SidecarError
    ├── ConfigurationError       an argument or a setting is wrong: nothing was started
    ├── EnvironmentMissingError  a sealed environment, Java or a shared library is not there or does not fit
    ├── PlacementError           Spark could not run the tasks that start, ask or stop servers
    ├── ServerStartError         one or more servers did not become healthy; the others are stopped
    ├── ServerUnavailableError   there is no server to ask: not started, or away past the request's deadline
    ├── ServerStopError          something of ours is still running after the stop
    ├── InferenceError           the server, or our checks before it, refused rows
    ├── OutputError              what a run has written is not what it should have
    ├── DeploymentError          a cloud refused, or a cluster or a run did not become what it should
    └── StorageError             a model could not be saved or loaded; no half of it is visible
        ├── ModelNotFoundError   there is no model; lists what is there instead
        ├── ModelExistsError     there is one already, and it is not to be replaced
        └── ModelCorruptError    what is stored is not what was saved

Each message says what is wrong, what it is now, and what to do.
"""

from __future__ import annotations


class SidecarError(Exception):
    """The root: catch this to catch every error of the package; what a task raises arrives inside Spark's own."""

    exit_code = 1  # with which a command ends


class ConfigurationError(SidecarError, ValueError):
    """An argument or a setting is wrong. Raised before anything is started."""

    exit_code = 2


class EnvironmentMissingError(SidecarError):
    """A sealed environment, an interpreter, Java or a shared library is missing or does not fit."""


class PlacementError(SidecarError):
    """Spark could not run the tasks that start, ask or stop the servers."""


class ServerStartError(SidecarError):
    """One or more servers did not become healthy in time, or died while starting."""


class ServerUnavailableError(SidecarError):
    """There is no server to ask: none was started, or none could be reached or restarted before the deadline."""


class ServerStopError(SidecarError):
    """Processes of a server are still alive after SIGTERM and SIGKILL."""


class InferenceError(SidecarError):
    """Rows were refused, by a check of ours or by the model; the message names the first of them."""


class OutputError(SidecarError):
    """The rows at the path of a run are not those of its input, each once."""


class DeploymentError(SidecarError):
    """A cloud refused, or a cluster or a run did not become what it should; the message says what exists now.

    exit_code: one of `csp.cloud.Exit`, which tells the kinds apart.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StorageError(SidecarError):
    """A model could not be saved or loaded: access, region, network, disk. Nothing half of it is visible."""


class ModelNotFoundError(StorageError):
    """There is no model at the address; the message lists what is there instead."""


class ModelExistsError(StorageError):
    """There is a model at the address already, and nobody said that it is to be replaced."""


class ModelCorruptError(StorageError):
    """What is stored is not what was saved: a checksum differs, a file is missing, or a name is hostile."""
