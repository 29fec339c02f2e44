"""What every demo stands on: a folder for what it makes, an embedded Spark, and the extras it needs. Laptop."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING

from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import platform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from server_utils.demo.console import Screen

_LOG = "spark.log"


@contextmanager
def extras() -> Iterator[None]:
    """Imports in this block may be missing: clusters have the wheel without its extras, and their own Spark.

    Raises:
        EnvironmentMissingError: says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        msg = f"The demo needs {err.name}, which is not installed: pip install 'spark-sidecar[cli,plot,spark]'."
        raise EnvironmentMissingError(msg) from err


def folder(chosen: Path | None, name: str) -> Path:
    """The folder for what a demo makes: the chosen one, or one of this name in the kit's home.

    Raises:
        ConfigurationError: it cannot be written.
    """
    found = (chosen or platform.home() / name).absolute()
    try:
        found.mkdir(parents=True, exist_ok=True)
        (found / _LOG).touch()
    except OSError as err:
        msg = f"{found} cannot be written: {err}. Choose another folder with --output."
        raise ConfigurationError(msg) from err
    return found


@contextmanager
def spark(screen: Screen, output: Path) -> Iterator[SparkSession]:
    """A Spark with two executors; its noise goes into a file of the output folder."""
    from server_utils.demo import spark_cluster

    start = functools.partial(spark_cluster.start, output / _LOG)
    found, _ = screen.step("Starting Spark", start, lambda found: f"Spark {found.version} and its executors are up")
    try:
        yield found
    finally:
        spark_cluster.stop(found)
