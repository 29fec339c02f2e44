"""Which modules are the user's own. Driver; imports none of them.

They are modules that sealed environments lack: not of Python, not of Spark, not of this package, and not installed:
in a site-packages, or in another folder that pip installs into (`pip install --target`), which holds *.dist-info.
"""

from __future__ import annotations

import functools
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_INSTALLED = {"site-packages", "dist-packages"}
_NOT_OWN = {"__main__", "pyspark", "py4j", "server_utils", *sys.stdlib_module_names}


def package_of(function: Any) -> str:
    """The top package that a function, a callable object or a method stands in."""
    while isinstance(function, functools.partial):  # says that it is of the module functools
        function = function.func
    return str(getattr(function, "__module__", None) or "__main__").partition(".")[0]


class UserModules:
    """Tells the user's own modules from others."""

    def __init__(self, package: str) -> None:
        """package: the top package of the function that is sent, which counts as the user's wherever it is."""
        self._package = package
        self._is_users: dict[str, bool] = {}  # by name

    def __contains__(self, name: str | None) -> bool:
        """Whether a module of this name, loaded or not, is the user's own."""
        name = name or ""
        if name not in self._is_users:
            self._is_users[name] = self._is_own(name)
        return self._is_users[name]

    def compiled(self, name: str | None) -> bool:
        """Whether it is the user's own and written in another language: it has no source, and does not travel."""
        spec = find(name) if name and name in self else None
        return spec is not None and isinstance(spec.loader, importlib.machinery.ExtensionFileLoader)

    def loaded(self) -> list[types.ModuleType]:
        """All of them that are loaded."""
        return [module for name, module in list(sys.modules.items()) if module is not None and name in self]

    def _is_own(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top == self._package:
            return top != "__main__" and top not in sys.stdlib_module_names
        if not top or top in _NOT_OWN:
            return False
        place = _place(name)
        return _is_made_by_hand(top) if place is None else not _is_installed(Path(place), top)


def _is_installed(place: Path, top: str) -> bool:
    if _INSTALLED & set(place.parts):
        return True
    above = next((folder.parent for folder in place.parents if folder.name == top), place.parent)
    return _has_distributions(above)


@functools.lru_cache(maxsize=64)
def _has_distributions(folder: Path) -> bool:
    return next(folder.glob("*.dist-info"), None) is not None


def _is_made_by_hand(top: str) -> bool:
    """Whether a loaded module was made by code, not from a file. A notebook's %reset deletes `__spec__`."""
    module = sys.modules.get(top)
    return module is not None and not any(getattr(module, name, None) for name in ("__spec__", "__file__"))


def _place(name: str) -> str | None:
    """The file of a module, or the folder of a package without a file; None if neither is known."""
    spec = find(name)
    if spec is None:
        return None
    if spec.origin and spec.has_location:
        return spec.origin
    return next(iter(spec.submodule_search_locations or ()), None)


def find(name: str) -> importlib.machinery.ModuleSpec | None:
    """The spec of a module, found without importing it or its packages."""
    spec, path = None, None
    for prefix in prefixes(name):
        spec = _loaded_spec(prefix) or _search(prefix, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return spec


def _loaded_spec(name: str) -> importlib.machinery.ModuleSpec | None:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec if isinstance(spec, importlib.machinery.ModuleSpec) else None


def _search(name: str, path: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        try:
            spec = find_spec(name, path) if find_spec else None
        except KeyError:  # of a folder without __init__, whose parent package is not imported
            spec = _folder(name, path or [])
        if spec is not None:
            return spec if isinstance(spec, importlib.machinery.ModuleSpec) else None
    return None


def _folder(name: str, path: list[str]) -> importlib.machinery.ModuleSpec:
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    below = [Path(each) / name.rpartition(".")[2] for each in path]
    spec.submodule_search_locations = [str(folder) for folder in below if folder.is_dir()]
    return spec


def prefixes(name: str) -> Iterator[str]:
    """A module and the packages it is in, outermost first."""
    parts = name.split(".")
    return (".".join(parts[: end + 1]) for end in range(len(parts)))
