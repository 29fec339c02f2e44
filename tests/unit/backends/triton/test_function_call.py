"""How functions of every shape are called, and which are refused."""

from __future__ import annotations

import functools

import pytest

from server_utils.backends.triton.function_call import call_of
from server_utils.errors import ConfigurationError

DEFAULT = object()


def plain(ports):
    return ports, None


def with_path(ports, model_path):
    return ports, model_path


def with_default(ports, model_path=DEFAULT):
    return ports, model_path


def other_defaults(ports, model_path=DEFAULT, batch_size=64, *, device="cpu"):
    return ports, model_path


def only_by_name(*, ports, model_path=DEFAULT):
    return ports, model_path


def only_by_position(numbers, path=DEFAULT, /):
    return numbers, path


def ports_by_position(numbers, /, model_path=DEFAULT):
    return numbers, model_path


def any_names(ports, **more):
    return ports, more.get("model_path", DEFAULT)


def anything(*args, **kwargs):
    return with_default(*args, **kwargs)


def any_positions(*args):
    return with_default(*args)


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Server:
    def __call__(self, ports, model_path=DEFAULT):
        return ports, model_path

    def method(self, ports, model_path=DEFAULT):
        return ports, model_path

    @classmethod
    def of_class(cls, ports, model_path=DEFAULT):
        return ports, model_path

    @staticmethod
    def of_nobody(ports, model_path=DEFAULT):
        return ports, model_path


WITH_DEFAULT = [
    *(with_default, other_defaults, only_by_name, only_by_position, ports_by_position, any_names, anything),
    *(any_positions, decorated(with_default), Server(), Server().method, Server.of_class, Server.of_nobody),
    lambda ports, model_path=DEFAULT: (ports, model_path),
    functools.partial(other_defaults, batch_size=8),
    functools.partial(with_path, model_path=DEFAULT),
]


def called(function, model_path):
    """What it is handed, as the server's program does it."""
    call, values = call_of(function, model_path), {"ports": [1, 2, 3], "model_path": model_path}
    return function(*(values[name] for name in call.by_position), **{name: values[name] for name in call.by_name})


@pytest.mark.parametrize("function", WITH_DEFAULT)
def test_a_default_is_left_alone_by_a_manager_without_a_path_and_replaced_by_one_that_has_one(function):
    assert called(function, None) == ([1, 2, 3], DEFAULT)
    assert called(function, "/models/x") == ([1, 2, 3], "/models/x")


@pytest.mark.parametrize("function", [plain, decorated(plain), lambda ports: (ports, None)])
def test_a_function_without_a_model_path_is_given_none(function):
    assert called(function, None) == called(function, "/models/x") == ([1, 2, 3], None)


@pytest.mark.parametrize("function", [with_path, decorated(with_path), lambda ports, *, model_path: None])
def test_a_path_that_a_function_must_have_and_the_manager_has_not_is_refused(function):
    assert call_of(function, "/models/x")
    with pytest.raises(ConfigurationError, match=r"takes a model_path but the manager has none; say TritonServerM"):
        call_of(function, None)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("triton_server", "must be a function f.ports. or"),
        (None, "must be a function"),
        (lambda: None, "must be callable as f.ports. or"),
        (lambda numbers: None, "must be callable as"),
        (lambda ports, model_path=None, *, device: None, "missing a required argument: 'device'"),
        (type, "what type takes is unknown"),
    ],
)
def test_a_function_that_cannot_be_called_so_is_refused(function, words):
    with pytest.raises(ConfigurationError, match=words):
        call_of(function, None)
