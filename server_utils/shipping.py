"""What travels to another interpreter: programs, and functions by value, whatever module they stand in. Driver."""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle

from server_utils.errors import ConfigurationError

_LIFE = Path(__file__).parent / "backends" / "life.py"


def program_files(program: Path, *modules: Path) -> dict[str, bytes]:
    """A backend's program, and the modules that it may import (`life` and its own), as they are laid out for it."""
    return {"program.py": program.read_bytes()} | {each.name: each.read_bytes() for each in (_LIFE, *modules)}


def by_value(function_and_arguments: tuple[Any, ...], *, what: str) -> bytes:
    """Pickle a function, its globals and the modules of its package that it uses.

    what: the argument's name in the error. Raises ConfigurationError when something in it cannot be pickled.
    """
    function, *_ = function_and_arguments
    try:
        with _package_by_value(function):
            return bytes(cloudpickle.dumps(function_and_arguments))
    except (TypeError, AttributeError, pickle.PicklingError, RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"{what} cannot be sent to the servers, because it holds something that cannot be pickled: {error}. "
            "Make such things (models, locks, sessions, open files) inside the function."
        ) from error


@contextmanager
def _package_by_value(function: Any) -> Iterator[None]:
    """The sealed environment does not hold the user's modules: pickle them by value for this once."""
    while isinstance(function, functools.partial):  # says that it is of the module functools
        function = function.func
    module = sys.modules.get((getattr(function, "__module__", None) or "__main__").partition(".")[0])
    if (
        module is None
        or module.__name__ == "__main__"
        or module.__name__ in cloudpickle.list_registry_pickle_by_value()
    ):
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)
