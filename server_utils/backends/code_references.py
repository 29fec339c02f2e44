"""What a function refers to: attributes, globals, and the modules that it imports when it runs. Driver.

It follows the user's own functions, classes and modules from one to the next, and calls none of them.
"""

from __future__ import annotations

import dis
import functools
import importlib.util
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from server_utils.backends.user_modules import UserModules

_WRAPPERS = (classmethod, staticmethod, type(functools.lru_cache(print)))
_PLAIN = (str, bytes, bytearray, int, float, complex, bool, type(None))


@dataclass
class References:
    """What a function refers to, directly and by the user's own code that it reaches.

    Attributes:
        names: attributes and texts in the code, which may be attributes of a module.
        imports: full names of modules and of things in them -> whether the import is required; inside a `try` it is
            not.
        compiled: the user's own compiled modules that something it holds is from.
    """

    names: set[str] = field(default_factory=set)
    compiled: set[str] = field(default_factory=set)
    imports: dict[str, bool] = field(default_factory=dict)


def references(function: Any, own: UserModules) -> References:
    """Follow a function through everything of the user's own."""
    return _Walk(own).run(function)


class _Walk:
    def __init__(self, own: UserModules) -> None:
        self._own, self._references = own, References()
        self._seen: dict[int, Any] = {}  # with the values: an id is reused once its value is gone
        self._modules: list[types.ModuleType] = []

    def run(self, function: Any) -> References:
        waiting = [function]
        while waiting:
            while waiting:
                waiting += self._next(waiting.pop())
            # A name that was found last may be an attribute of a module that was found first.
            named = [value for module in self._modules for key, value in vars(module).items() if key in self._names]
            waiting = [value for value in named if id(value) not in self._seen and not isinstance(value, _PLAIN)]
        return self._references

    @property
    def _names(self) -> set[str]:
        return self._references.names

    def _next(self, value: Any) -> list[Any]:
        """The values that a value refers to."""
        if isinstance(value, _PLAIN) or id(value) in self._seen:
            return []
        self._seen[id(value)] = value
        if self._own.compiled(module := _module_of(value)):
            self._references.compiled.add(str(module))
            return []
        if isinstance(value, types.ModuleType):
            if value.__name__ in self._own:
                self._modules.append(value)
            return []
        if isinstance(value, types.FunctionType):
            return self._of_function(value)
        if isinstance(value, type):
            return [*vars(value).values(), *value.__bases__] if self._travels(value.__module__) else []
        return [*_parts(value), *self._of_object(value)]

    def _of_object(self, value: Any) -> list[Any]:
        kind = type(value)
        return [kind, *getattr(value, "__dict__", {}).values()] if self._travels(kind.__module__) else []

    def _of_function(self, function: types.FunctionType) -> list[Any]:
        closure = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        around = [*closure, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        around += vars(function).values()
        if not self._travels(function.__module__):
            return around
        names: set[str] = set()
        for code in _codes(function.__code__):
            names |= set(code.co_names)
            self._names.update(code.co_names, (text for text in code.co_consts if isinstance(text, str)))
            self._note_imports(code, function.__globals__)
        return [*around, *(function.__globals__[name] for name in names if name in function.__globals__)]

    def _note_imports(self, code: types.CodeType, scope: Mapping[str, Any]) -> None:
        for name, needed in imports_of(code, package_of_scope(scope)):
            self._references.imports[name] = needed or self._references.imports.get(name, False)

    def _travels(self, module: str | None) -> bool:
        return module in (None, "__main__") or module in self._own


def _module_of(value: Any) -> str | None:
    """The module that a function, a class or a module is of; None for anything else."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    module: Any = value.__module__ if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType) else None
    if isinstance(module, types.ModuleType):  # as some compiled functions have it
        return module.__name__
    return module if isinstance(module, str) else None


def _parts(value: Any) -> list[Any]:
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    # Of classmethod, staticmethod and functools.lru_cache only: attributes of other values may run code.
    return [value.__wrapped__] if isinstance(value, _WRAPPERS) else []


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # the variable has no value yet
        return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def package_of_scope(scope: Mapping[str, Any]) -> str:
    """The package that relative imports with these globals start from, "" for none."""
    package, name = scope.get("__package__"), str(scope.get("__name__") or "")
    return str(package) if package is not None else (name if "__path__" in scope else name.rpartition(".")[0])


def imports_of(code: types.CodeType, package: str) -> Iterator[tuple[str, bool]]:
    """What code imports by name, and whether it is required; `importlib.import_module("name")` is included."""
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "CACHE", "NOP")]
    guarded = [(entry.start, entry.end) for entry in getattr(dis.Bytecode(code), "exception_entries", ())]
    for level, names, step in zip(steps, steps[1:], steps[2:], strict=False):
        if step.opname == "IMPORT_NAME":
            needed = not any(start <= step.offset < end for start, end in guarded)
            yield from ((name, needed) for name in absolute(step.argval, level.argval, names.argval or (), package))
    if {"import_module", "__import__"} & set(code.co_names):
        yield from ((text, False) for text in code.co_consts if isinstance(text, str) and _is_name(text))


def absolute(module: str | None, level: int, names: tuple[str, ...], package: str) -> list[str]:
    """The full names behind an import statement; none for a relative one where there is no package."""
    try:
        base = importlib.util.resolve_name("." * level + (module or ""), package) if level else str(module)
    except ImportError:  # a relative import beyond the top package
        return []
    return [base, *(f"{base}.{name}" for name in names if name != "*")]


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))
