"""The home folder of servers, where engines keep what they compile and download. Driver and executors; no Spark.

Engines write to HOME while they start: vLLM to `~/.cache/vllm` and `~/.config`, Triton's JIT to `~/.triton`, Hugging
Face, FlashInfer and numba below `~/.cache`. YARN gives its containers HOME=/home/, which is root's, and a container or
a service user may have none at all. Then servers get a folder of their own, which outlives them: a second start finds
what the first one compiled. A HOME that can be written to stays, as users keep credentials there.
"""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from server_utils.errors import ConfigurationError
from server_utils.host import platform, scratch

_XDG = {
    "XDG_CACHE_HOME": ".cache",
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
}
# Its default is in the folder for temporary files, which is a new one for each start of a server.
_TORCH_COMPILE = "TORCHINDUCTOR_CACHE_DIR"


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What to change in the variables of a server, so that engines can write where they keep files. Makes the folder.

    Only variables that name a folder which cannot be written to are replaced, and the cache of torch.compile is moved
    to where it outlives the server. Others, such as HF_HOME, stay as the user has set them.

    Raises:
        ConfigurationError: if HOME cannot be written to, and no other place can.
    """
    changed = {
        name: folder for name, folder in _XDG.items() if environ.get(name) and not _is_usable(Path(environ[name]))
    }
    if why_unusable(environ):
        changed["HOME"] = ""
    if changed:
        own = _made()
        changed = {name: str(own / folder) for name, folder in changed.items()}
    now = {**environ, **changed}
    caches = now.get("XDG_CACHE_HOME") or f"{now['HOME']}/.cache"
    return changed | _user() | {_TORCH_COMPILE: environ.get(_TORCH_COMPILE) or f"{caches}/torchinductor"}


def why_unusable(environ: Mapping[str, str]) -> str:
    """Why nothing can be kept in HOME; "" where it can."""
    home = environ.get("HOME")
    if not home:
        return "HOME is not set"
    if not Path(home).is_dir():
        return f"HOME is {home}, which is no folder"
    return "" if os.access(home, os.W_OK | os.X_OK) else f"HOME is {home}, which user {os.getuid()} may not write to"


def folder() -> Path:
    """The folder that servers get where HOME is unusable. It need not be there yet; nothing is made here.

    Raises:
        ConfigurationError: if there is no place for one.
    """
    usable = [each for each in _places() if (_is_own if os.path.lexists(each) else _is_usable)(each)]
    # Engines run what they have compiled from there: a disk that runs no programs is the last resort.
    for place in sorted(usable, key=lambda each: bool(scratch.why_unusable(each))):
        return place
    raise ConfigurationError(
        f"servers need a home folder for what they compile, and user {os.getuid()} can write to none of "
        f"{', '.join(map(str, _places()))}: set HOME or SPARK_SIDECAR_CACHE to a folder that this user may write to, "
        "on every node"
    )


def _made() -> Path:
    """The folder, private to the user: another user's programs in it would be run by engines."""
    place = folder()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    if not _is_own(place):  # made by somebody else since `folder` looked
        raise ConfigurationError(f"{place} must be a folder of user {os.getuid()} alone: remove it, and start again")
    return place


def _places() -> Iterator[Path]:
    """Beside the models, on a disk that is large and outlives a restart; else beside the records of servers."""
    with suppress(ConfigurationError):  # nobody has said where models go
        yield _beside(platform.cache_root())
    yield from map(_beside, platform.temporary_roots())


def _beside(place: Path) -> Path:
    return place.with_name(f"{place.name}-home")


def _is_own(place: Path) -> bool:
    status = place.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _is_usable(folder: Path) -> bool:
    """Whether this user may write to a folder, or can make it."""
    existing = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _user() -> dict[str, str]:
    """A name for a user whom the system does not know, as in many containers: engines name folders after it."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return {"USER": str(os.getuid())}
    return {}
