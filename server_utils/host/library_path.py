"""LD_LIBRARY_PATH of a server: one libpython, and no CUDA but that of its sealed environment. Executors; no Spark.

The loader searches these folders before those that most packages name themselves, so whatever is in them is taken.
The folder of an image's libpython (/usr/lib/x86_64-linux-gnu, conda's lib) holds its cuDNN, NCCL and libstdc++ too, and
images put their CUDA into the variable. Mixed with the libraries of the environment both end in errors such as
CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH, or an undefined symbol of nvJitLink.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "LD_LIBRARY_PATH"
_CUDA = ("libcudart", "libcublas", "libcudnn", "libnccl", "libnvJitLink", "libnvrtc")
_DRIVER = "libcuda"


def variables(environ: Mapping[str, str], libpython: Path | None, folder: Path) -> dict[str, str]:
    """What to change in the variables of a server.

    libpython: the library that the server links, None for none; it is linked into `folder`, where nothing else is.
    """
    kept = [entry for entry in _entries(environ) if entry not in cuda_folders(environ)]
    if libpython:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / libpython.name).unlink(missing_ok=True)  # of another environment, before a rebuild
        (folder / libpython.name).symlink_to(libpython)
        kept.insert(0, str(folder))
    return {_VARIABLE: ":".join(kept)} if kept or _VARIABLE in environ else {}


def cuda_folders(environ: Mapping[str, str]) -> list[str]:
    """The entries that hold a CUDA of the image; never the driver's, which no environment can bring."""
    return [entry for entry in _entries(environ) if _holds(entry, *_CUDA) and not _holds(entry, _DRIVER)]


def _entries(environ: Mapping[str, str]) -> list[str]:
    return [entry for entry in environ.get(_VARIABLE, "").split(":") if entry]


def _holds(folder: str, *libraries: str) -> bool:
    return any(next(Path(folder).glob(f"{library}.so*"), None) for library in libraries)
