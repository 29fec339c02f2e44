"""Collect the user's own modules that a function imports when it runs in one zip file. Driver."""

from __future__ import annotations

import ast
import importlib.machinery
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from server_utils.backends.code_references import absolute
from server_utils.backends.user_modules import UserModules, find, prefixes
from server_utils.errors import ConfigurationError
from server_utils.host.files import file_size

_COMPILED = {".pyc", ".pyo", ".so", ".pyd"}
_MOST_BYTES = 32 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip knows: equal sources make equal files


def archive(imports: Mapping[str, bool], own: UserModules) -> bytes:
    """A zip file with those of the modules that are the user's own, what these import, and their whole packages.

    imports: full names, and whether each is required.

    Raises:
        ConfigurationError: a required one is compiled, which another interpreter may not load; or they are too large.
    """
    files = _Collected(own).of(imports)
    total = sum(map(len, files.values()))
    if total > _MOST_BYTES:
        raise ConfigurationError(
            f"the modules of yours that triton_server imports have {file_size(total)} together, and at most "
            f"{file_size(_MOST_BYTES)} travel; move what is large out of their package"
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(files):
            target.writestr(zipfile.ZipInfo(path, _EPOCH), files[path], zipfile.ZIP_DEFLATED)
    return packed.getvalue()


class _Collected:
    def __init__(self, own: UserModules) -> None:
        self._own = own
        self._seen: set[str] = set()
        self._files: dict[str, bytes] = {}

    def of(self, imports: Mapping[str, bool]) -> dict[str, bytes]:
        waiting = list(imports.items())
        while waiting:
            name, needed = waiting.pop()
            for each in prefixes(name):
                if each not in self._seen and each in self._own and (spec := find(each)):
                    self._seen.add(each)
                    waiting += self._add(each, spec, needed=needed)
        return self._files

    def _add(self, name: str, spec: importlib.machinery.ModuleSpec, *, needed: bool) -> list[tuple[str, bool]]:
        """Add a module. Returns what it imports itself."""
        if isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
            if needed:
                raise ConfigurationError(
                    f"triton_server imports {name}, which cannot be sent to the servers: it is compiled "
                    f"({spec.origin}). Do without it there, or install it in the sealed environment of every node."
                )
            return []
        read = getattr(spec.loader, "get_data", None)
        if read is None or not spec.origin or not spec.has_location:
            return []  # a folder without a file of its own
        is_package = spec.submodule_search_locations is not None
        content = bytes(read(spec.origin))
        suffix = Path(spec.origin).suffix
        self._files[name.replace(".", "/") + ("/__init__" if is_package else "") + suffix] = content
        if is_package and "." not in name:
            self._files |= _others(name, Path(spec.origin).parent)
        package = name if is_package else name.rpartition(".")[0]
        return list(_imports_of(content, package)) if suffix == ".py" else []


def _others(name: str, folder: Path) -> dict[str, bytes]:
    """All other files of a package: data, and modules that code imports by a computed name.

    Only the modules if all together are too large.
    """
    files = [file for file in folder.rglob("*") if file.is_file() and not _is_left_out(file.relative_to(folder))]
    sources = [file for file in files if file.suffix == ".py"]
    fits = sum(file.stat().st_size for file in files) <= _MOST_BYTES
    return {f"{name}/{file.relative_to(folder).as_posix()}": file.read_bytes() for file in (files if fits else sources)}


def _is_left_out(path: Path) -> bool:
    return path.suffix in _COMPILED or any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _imports_of(source: bytes, package: str) -> Iterator[tuple[str, bool]]:
    """What a module imports, and whether each is required to load it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # whoever imports it gets the error
    required = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in required) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield from ((name, id(node) in required) for name in absolute(node.module, node.level, names, package))
