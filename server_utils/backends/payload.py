"""Pack what is sent to another interpreter: programs, and functions with the user's own code they need. Driver."""

from __future__ import annotations

import functools
import inspect
import io
import pickletools
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle

from server_utils.backends.code_references import References, references
from server_utils.backends.module_archive import archive
from server_utils.backends.user_modules import UserModules, package_of
from server_utils.errors import ConfigurationError

_ENGINE_WATCH = Path(__file__).with_name("engine_watch.py")
_KEPT = {"__name__", "__doc__", "__package__", "__file__", "__path__"}  # of a module that is pickled
_PROVIDED = {"cloudpickle", "cloudpickle.cloudpickle", "pyspark.taskcontext"}  # in every server's process
_FROM_MEMO = {"BINGET", "LONG_BINGET"}
_SUBIMPORT = ("cloudpickle.cloudpickle", "subimport")  # how it refers to a whole module
_LRU_CACHE = type(functools.lru_cache(print))  # pickled by name, as it is written in C
_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}


def program_files(program: Path, *modules: Path) -> dict[str, bytes]:
    """A backend's program and the modules that it may import (`engine_watch` and its own), by file name."""
    return {"program.py": program.read_bytes()} | {each.name: each.read_bytes() for each in (_ENGINE_WATCH, *modules)}


def by_value(function_and_arguments: tuple[Any, ...], *, what: str) -> bytes:
    """Pickle a function with its globals and what it uses of the user's own modules.

    what: the argument's name in the error. Raises ConfigurationError when something in it cannot be pickled.
    """
    function, *_ = function_and_arguments
    own = UserModules(package_of(function))
    referenced = references(function, own)
    if referenced.compiled:
        raise ConfigurationError(
            f"{what} cannot be sent to the servers, because it holds something of {min(referenced.compiled)}, which is "
            "compiled. Do without it there, or install it in the sealed environment of every node and import it inside "
            "the function."
        )
    try:
        with _by_value(own):
            return _dumps(function_and_arguments, own, referenced)
    except Exception as error:  # an object that cannot be pickled may raise anything
        raise ConfigurationError(
            f"{what} cannot be sent to the servers, because it holds something that cannot be pickled: "
            f"{_culprit(function, own)}{error}. Make such things (models, locks, sessions, open files) inside the "
            "function."
        ) from error


def imported_modules(function: Any) -> bytes:
    """A zip file with the user's own modules that a function imports when it runs.

    Raises ConfigurationError when one cannot be sent.
    """
    own = UserModules(package_of(function))
    return archive(references(function, own).imports, own)


def by_reference(pickled: bytes) -> dict[str, str]:
    """The modules that a pickle needs where it is loaded -> one thing of each that it refers to.

    Top modules, but for NumPy submodules: these move from version to version, and engines have an older NumPy.
    """
    wanted: dict[str, str] = {}
    for module, name in _globals(pickled):
        if (module, name) != ("pyspark", "") and module not in _PROVIDED:
            top = module.partition(".")[0]
            wanted.setdefault(module if top == "numpy" else top, f"{module}.{name}" if name else module)
    return {each: thing for each, thing in wanted.items() if each not in sys.stdlib_module_names}


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles only those attributes of the user's own modules that code refers to: not their locks, sessions, Spark."""

    def __init__(self, file: io.BytesIO, own: UserModules, referenced: References) -> None:
        super().__init__(file)
        self._own, self._names = own, referenced.names | _KEPT

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.ModuleType) and obj.__name__ in self._own:
            named = {name: value for name, value in vars(obj).items() if name in self._names}
            return types.ModuleType, (obj.__name__,), named
        if isinstance(obj, _LRU_CACHE) and (obj.__module__ == "__main__" or obj.__module__ in self._own):
            kept = obj.cache_parameters()
            return type(obj), (obj.__wrapped__, kept["maxsize"], kept["typed"], type(obj.cache_info())), vars(obj)
        return _of_numpy(obj) or super().reducer_override(obj)


def _of_numpy(value: Any) -> Any:
    """How arrays and `numpy.bool_` are pickled, so that NumPy 1 reads what NumPy 2 writes; None for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value) is numpy.ndarray:
        return value.__reduce__()
    return (getattr, (numpy, "bool_")) if value is numpy.bool_ else None


def _dumps(value: Any, own: UserModules, referenced: References) -> bytes:
    file = io.BytesIO()
    _Pickler(file, own, referenced).dump(value)
    return file.getvalue()


@contextmanager
def _by_value(own: UserModules) -> Iterator[None]:
    """Pickle the user's modules by value inside this block: the sealed environment does not hold them."""
    registered = cloudpickle.list_registry_pickle_by_value()
    # By name: a module may be loaded under two, and cloudpickle ends a registration once.
    modules = {module.__name__: module for module in own.loaded() if module.__name__ not in registered}
    for module in modules.values():
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules.values():
            cloudpickle.unregister_pickle_by_value(module)


def _culprit(function: Any, own: UserModules, above: tuple[Any, ...] = ()) -> str:
    """The variable of the function that cannot be pickled, and its type, if one of them cannot by itself."""
    for name, value in _variables(function):
        if isinstance(value, types.FunctionType) and not any(value is each for each in (function, *above)):
            if inner := _culprit(value, own, (function, *above)):
                return inner
        elif not isinstance(value, types.FunctionType) and not _travels(value, own):
            return f"{name} is a {type(value).__module__}.{type(value).__qualname__}, "
    return ""


def _travels(value: Any, own: UserModules) -> bool:
    try:
        with _by_value(own):
            _dumps(value, own, references(value, own))
    except Exception:  # noqa: BLE001 - as in by_value
        return False
    return True


def _variables(function: Any) -> Iterator[tuple[str, Any]]:
    while isinstance(function, functools.partial):
        yield from function.keywords.items()
        function = function.func
    function = getattr(function, "__func__", function)
    if isinstance(function, types.FunctionType):
        scope = inspect.getclosurevars(function)
        yield from {**scope.nonlocals, **scope.globals}.items()


def _globals(pickled: bytes) -> Iterator[tuple[str, str]]:
    """Modules and names that a pickle refers to; the name is "" for a whole module."""
    memo: list[Any] = []
    pushed: list[Any] = [None]  # texts, pairs of module and name, and None for anything else
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name == "MEMOIZE":
            memo.append(pushed[-1])
        elif operation.name == "STACK_GLOBAL":
            pushed.append((pushed[-2], pushed[-1]))
            yield pushed[-1]
        elif operation.name in _TEXTS or operation.name in _FROM_MEMO:
            text = argument if operation.name in _TEXTS else memo[int(argument or 0)]
            if pushed[-1] == _SUBIMPORT and isinstance(text, str):
                yield text, ""
            pushed.append(text)
        elif operation.name != "FRAME":
            pushed.append(None)
