"""Functions that travel: what arrives in an interpreter that has never seen the module they stand in."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
import threading

import cloudpickle
import pytest

from server_utils.errors import ConfigurationError
from server_utils.shipping import by_value

DECORATED = """
import functools
def twice(f):
    @functools.wraps(f)
    def g(*a, **k): return 2 * f(*a, **k)
    return g
@twice
def f(x): return x
"""

# -I: the other interpreter does not see the folder the modules of these tests are in.
CALL = "import cloudpickle, sys; f, a = cloudpickle.loads(sys.stdin.buffer.read()); print(f(**a))"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Imports a module of this text, which the other interpreter cannot import."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, **files):
        for file, text in files.items():
            path = tmp_path / (file.replace("__", "/") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        names.append(name.partition(".")[0])
        return importlib.import_module(name)

    names = []
    yield make
    for known in list(sys.modules):
        if known.partition(".")[0] in names:
            del sys.modules[known]


def arrived(function, **arguments):
    shipped = by_value((function, arguments), what="triton_server")
    answer = subprocess.run([sys.executable, "-I", "-c", CALL], input=shipped, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr.decode()
    return answer.stdout.decode().strip()


def test_a_function_arrives_with_its_arguments_and_globals(module):
    mine = module("mine", mine="FACTOR = 6\ndef f(x): return helper(x)\ndef helper(x): return FACTOR * x")
    assert arrived(mine.f, x=7) == "42"


def test_a_function_of_a_package_arrives_with_the_modules_of_the_package(module):
    inner = module(
        "package.inner",
        package__inner="from package import other\ndef f(): return other.value()",
        package__other="def value(): return 'from the other module'",
    )
    assert arrived(inner.f) == "from the other module"


def test_a_lambda_and_a_closure_arrive():
    word = "hello"
    assert arrived(lambda: word) == "hello"


def test_a_partial_arrives(module):
    mine = module("mine_partial", mine_partial="def f(x, y): return x + y")
    assert arrived(functools.partial(mine.f, y=2), x=1) == "3"


def test_a_callable_object_arrives(module):
    mine = module("mine_object", mine_object="class F:\n    def __call__(self, x): return x * 2")
    assert arrived(mine.F(), x=4) == "8"


def test_a_decorated_function_arrives_with_its_decorator(module):
    mine = module("mine_decorated", mine_decorated=DECORATED)
    assert arrived(mine.f, x=4) == "8"


def test_nothing_stays_registered_afterwards(module):
    mine = module("mine_once", mine_once="def f(): pass")
    by_value((mine.f, {}), what="f")
    assert "mine_once" not in cloudpickle.list_registry_pickle_by_value()


def test_what_the_user_registered_stays_registered(module):
    mine = module("mine_kept", mine_kept="def f(): pass")
    cloudpickle.register_pickle_by_value(mine)
    try:
        by_value((mine.f, {}), what="f")
        assert "mine_kept" in cloudpickle.list_registry_pickle_by_value()
    finally:
        cloudpickle.unregister_pickle_by_value(mine)


class OnlyOnTheDriver:
    """As pyspark's SparkContext, which refuses with a RuntimeError."""

    def __getnewargs__(self):
        raise RuntimeError("it only works on the driver")


@pytest.mark.parametrize("unpicklable", [threading.Lock(), sys.stdout, (n for n in ()), OnlyOnTheDriver()])
def test_an_unpicklable_function_is_refused_with_what_to_do(unpicklable):
    with pytest.raises(ConfigurationError, match=r"triton_server cannot be sent.*inside the function"):
        by_value((lambda: unpicklable, {}), what="triton_server")
    assert by_value((lambda: None, {}), what="triton_server")
