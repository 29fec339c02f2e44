"""Which `libpython3.X.so` goes with this interpreter? Runs as a script inside the interpreter it asks about.

Standard library only, and nothing of ours: a sealed environment does not contain this package.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

NAME = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"


def _ldconfig_folders() -> list[Path]:
    # By full path: /sbin is not on every user's PATH.
    for tool in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        if Path(tool).exists():
            cache = subprocess.run([tool, "-p"], capture_output=True, text=True, check=False).stdout
            return [Path(line.split(" => ")[1]).parent for line in cache.splitlines() if line.strip().startswith(NAME)]
    return []


def candidates() -> list[Path]:
    """Files that may be the shared library of this interpreter, most likely first, each real file once."""
    folders = [
        Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib"),
        Path(sys.base_prefix) / "lib",
        Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or ""),
        *(Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry),
        *_ldconfig_folders(),
    ]
    libraries: dict[Path, Path] = {}  # by the real file
    for file in (folder / NAME for folder in folders):
        if file.is_file():
            libraries.setdefault(file.resolve(), file)
    return list(libraries.values())


def version_of(library: Path) -> str | None:
    """The version that a shared library reports; None where it cannot be loaded (another machine type, damaged)."""
    try:
        get_version = ctypes.CDLL(str(library)).Py_GetVersion
    except (OSError, AttributeError):
        return None
    get_version.restype = ctypes.c_char_p
    return str(get_version().decode().split()[0])


def report() -> dict[str, object]:
    """This interpreter's version, and what each candidate says about itself."""
    return {
        "version": list(sys.version_info[:3]),
        "name": NAME,
        "libraries": {str(library): version_of(library) for library in candidates()},
    }


if __name__ == "__main__":
    print(json.dumps(report()))
