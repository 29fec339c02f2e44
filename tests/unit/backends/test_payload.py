"""Functions that travel: what arrives in an interpreter that has never seen the module they stand in."""

from __future__ import annotations

import functools
import importlib.util
import io
import shutil
import subprocess
import sys
import tempfile
import threading
import types
import zipfile
from pathlib import Path

import cloudpickle
import pytest

from server_utils.backends.payload import by_reference, by_value, imported_modules
from server_utils.environments import builder
from server_utils.errors import ConfigurationError, EnvironmentMissingError

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
IMPORT = "import sys; sys.path.insert(0, sys.argv[1])\n" + CALL


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Imports a module of this text, which the other interpreter cannot import."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, **files):
        for file, text in files.items():
            path = tmp_path / (file.replace("__", "/").replace("INIT", "__init__") + ".py")
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
            names.append(file.partition("__")[0])
        return importlib.import_module(name)

    names = []
    yield make
    for known in list(sys.modules):
        if known.partition(".")[0] in names:
            del sys.modules[known]


def arrived(function, *, python=sys.executable, **arguments):
    """What it answers there."""
    shipped = by_value((function, arguments), what="triton_server")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(io.BytesIO(imported_modules(function))).extractall(folder)
        command = [python, "-I", "-c", IMPORT, folder]
        answer = subprocess.run(command, input=shipped, capture_output=True, check=False)
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


def in_a_notebook(text, **more):
    """The function f of a notebook's cell: its module is __main__, and no file holds it."""
    scope = {"__name__": "__main__"} | more
    exec(text, scope)  # noqa: S102 - as a notebook does
    return scope["f"]


@pytest.mark.parametrize(
    "cell",
    [
        "import tools\ndef f(): return tools.work()",
        "import tools\ndef f(): return tools.kept()",
        "import tools as t\ndef f(): return t.work()",
        "from tools import work\ndef f(): return work()",
        "def f():\n    import tools\n    return tools.work()",
        "def f():\n    from tools import work as w\n    return w()",
        "def f():\n    from tools import Worker\n    return Worker().work()",
        "from tools import Worker\ndef f(): return Worker().work()",
        "from tools import Worker\nworker = Worker()\ndef f(): return worker.work()",
        "def f():\n    import importlib\n    return importlib.import_module('tools').work()",
        "import tools\ndef f(): return getattr(tools, 'work')()",
        "import tools\ndef f():\n    def inner(): return [tools.work() for _ in range(1)][0]\n    return inner()",
        "import tools\nclass C:\n    def __call__(self): return tools.work()\nf = C()",
        "import tools\nclass C:\n    @staticmethod\n    def g(): return tools.work()\nf = C.g",
        "import tools\nclass C:\n    @classmethod\n    def g(cls): return tools.work()\nf = C().g",
        "import functools, tools\nf = functools.partial(tools.work_with, helper=tools.helper)",
        "import functools, tools\n@functools.lru_cache\ndef f(): return tools.work()",
        "import tools\nways = {'x': [tools.work]}\ndef f(): return ways['x'][0]()",
        "import tools\ndef f(work=tools.work): return work()",
        "import tools\nf = lambda: tools.work()",
        "import tools\ndef g():\n    return f and tools.work()\ndef f(): return g()",
        "def f():\n    try:\n        import tools\n    except ImportError:\n        return\n    return tools.work()",
    ],
)
def test_a_module_beside_the_notebook_travels_with_what_it_uses_however_it_is_used(module, cell):
    module(
        "tools",
        tools="import threading\nfrom pyspark.sql import functions\nfrom more.deeper import VALUE\n"
        "lock = threading.Lock()\n"
        "def helper(): return VALUE\ndef work(): return helper()\ndef work_with(helper): return helper()\n"
        "import functools\n@functools.lru_cache(maxsize=3)\ndef kept(n=2): return 42 if n == 0 else kept(n - 1)\n"
        "class Base:\n    def work(self): return work()\nclass Worker(Base): pass",
        more__INIT="",
        more__deeper="from . import deepest\nVALUE = deepest.value()",
        more__deepest="def value(): return 42",
    )
    assert arrived(in_a_notebook(cell)) == "42"


def test_what_a_module_holds_besides_stays_behind(module):
    module(
        "tools",
        tools="import pyspark, threading\nlock = threading.Lock()\ndef work(): return 42\nX = pyspark.SparkConf",
    )
    shipped = by_value((in_a_notebook("import tools\ndef f(): return tools.work()"), {}), what="f")
    assert set(by_reference(shipped)) == set()


@pytest.mark.parametrize(
    "start",
    [
        "from parts import first",
        "from parts.first import value",
        "import parts.first",
        "import importlib\n    name = 'parts.first'\n    first = importlib.import_module(name)",
        "from top import first",
        "from far.away import first",
    ],
)
def test_what_a_function_imports_when_it_runs_travels_with_what_that_imports(module, start):
    """Packages whole, folders without an __init__, relative imports, imports in functions of the modules; data too."""
    cell = f"def f():\n    {start}\n    import parts.first as p\n    return p.value()"
    parts = module(
        "parts",
        parts__INIT="",
        parts__first="from . import second\nfrom .inner import deep\ndef value():\n    from lone import ONE\n"
        "    from pathlib import Path\n    data = (Path(__file__).parent / 'data.txt').read_text()\n"
        "    return second.TWO + deep.THREE + ONE + int(data)",
        parts__second="import far.away.it as it\nTWO = it.TWO",
        parts__inner__INIT="",
        parts__inner__deep="from ..third import THREE",
        parts__third="THREE = 3",
        far__away__it="TWO = 2",
        far__away__first="import lone",
        lone="ONE = 1",
        top="from parts import first",
    )
    (Path(parts.__file__).parent / "data.txt").write_text("36")
    assert arrived(in_a_notebook(cell)) == "42"


def test_relative_imports_in_a_function_of_a_package_find_their_package(module):
    inner = module(
        "package.sub.inner",
        package__INIT="",
        package__sub__INIT="",
        package__sub__inner="def f():\n    from . import near\n    from ..other import far\n    return near.A + far()",
        package__sub__near="A = 40",
        package__other="def far(): return 2",
    )
    assert arrived(inner.f) == "42"


def test_modules_in_a_zip_file_such_as_add_py_file_takes_arrive(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "job.zip", "w") as packed:
        packed.writestr("zipped/__init__.py", "")
        packed.writestr("zipped/steps.py", "from .more import VALUE\ndef work(): return VALUE")
        packed.writestr("zipped/more.py", "VALUE = 42")
    monkeypatch.syspath_prepend(tmp_path / "job.zip")
    assert arrived(in_a_notebook("def f():\n    from zipped.steps import work\n    return work()")) == "42"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("np.arange(3)", "[0 1 2]"),
        ("np.array(['a', 'b'])", "['a' 'b']"),
        ("np.array(['a', None], dtype=object)", "['a' None]"),
        ("np.asfortranarray(np.zeros((1, 2), bool))", "[[False False]]"),
        ("np.float32(2)", "2.0"),
        ("np.bool_", "<class 'numpy.bool_'>"),
        ("{'x': np.ones(1, np.float16)}['x']", "[1.]"),
    ],
)
def test_arrays_of_the_drivers_numpy_arrive_in_that_of_the_engine(value, expected):
    try:
        python = builder.find("triton").python
    except EnvironmentMissingError as missing:
        pytest.skip(str(missing))
    assert arrived(in_a_notebook(f"import numpy as np\nX = {value}\ndef f(): return X"), python=python) == expected


def test_what_was_changed_in_a_loaded_module_arrives_changed(module):
    tools = module("tools", tools="FACTOR = 1\ndef work(): return FACTOR")
    tools.FACTOR = 42
    assert arrived(in_a_notebook("import tools\ndef f(): return tools.work()")) == "42"


def test_modules_that_need_one_another_arrive(module):
    module(
        "one",
        one="import two\ndef even(n): return n == 0 or two.odd(n - 1)",
        two="import one\ndef odd(n): return n != 0 and one.even(n - 1)",
    )
    assert arrived(in_a_notebook("import one\ndef f(): return one.even(10)")) == "True"


def test_a_module_that_comes_from_no_file_arrives(monkeypatch):
    made = types.ModuleType("made_by_hand")
    exec("def work(): return 42", vars(made))  # noqa: S102 - as notebooks make modules
    monkeypatch.setitem(sys.modules, "made_by_hand", made)
    assert arrived(in_a_notebook("import made_by_hand\ndef f(): return made_by_hand.work()")) == "42"


def test_a_module_without_a_spec_is_no_fault(monkeypatch):
    """A notebook's `%reset` takes `__spec__` from the module that its cells are."""
    made = types.ModuleType("made_by_hand")
    del made.__spec__
    exec("def work(): return 42", vars(made))  # noqa: S102 - as notebooks make modules
    monkeypatch.setitem(sys.modules, "made_by_hand", made)
    assert arrived(in_a_notebook("import made_by_hand\ndef f(): return made_by_hand.work()")) == "42"


def test_installed_modules_python_s_and_spark_s_go_by_name(module):
    text = "import json, numpy, psutil\nfrom pyspark.sql.types import LongType\n"
    text += "def f(): return json, numpy.array, psutil, LongType"
    shipped = by_value((in_a_notebook(text), {}), what="f")
    assert set(by_reference(shipped)) == {"numpy", "psutil", "pyspark"}
    nothing = imported_modules(in_a_notebook("def f():\n    import numpy, json"))
    assert zipfile.ZipFile(io.BytesIO(nothing)).namelist() == []


@pytest.mark.parametrize("files", [{"library": "x = 1"}, {"library__INIT": "x = 1", "library__inner": "y = 1"}])
def test_a_library_in_a_folder_that_pip_installed_into_goes_by_name(module, tmp_path, files):
    (tmp_path / "library-1.0.dist-info").mkdir()
    module("library", **files)
    shipped = by_value((in_a_notebook("import library\ndef f(): return library.x"), {}), what="f")
    assert set(by_reference(shipped)) == {"library"}


def test_a_module_that_is_loaded_under_two_names_arrives(module, monkeypatch):
    monkeypatch.setitem(sys.modules, "another_name", module("one", one="def work(): return 42"))
    assert arrived(in_a_notebook("import one\ndef f(): return one.work()")) == "42"


@pytest.mark.parametrize(
    "text",
    [
        "from pyspark import TaskContext\ndef f(): return TaskContext",
        "import pyspark\ndef f(): return pyspark.TaskContext",
        "import pyspark, json\nboth = pyspark, pyspark\ndef f(): return both, pyspark, json",
    ],
)
def test_the_context_of_the_task_is_there_where_functions_arrive(text):
    assert by_reference(by_value((in_a_notebook(text), {}), what="f")) == {}


@pytest.mark.parametrize(
    "cell",
    [
        "import _psutil_linux as fast\ndef f(): return fast.getpagesize()",
        "from _psutil_linux import getpagesize\ndef f(): return getpagesize()",
        "def f():\n    import _psutil_linux\n    return _psutil_linux.getpagesize()",
        "def f():\n    from uses import fast\n    return fast.getpagesize()",
        "import uses\ndef f(): return uses.fast.getpagesize()",
    ],
)
def test_a_compiled_module_of_the_users_is_named_before_the_start(tmp_path, module, monkeypatch, cell):
    shutil.copy(importlib.util.find_spec("psutil._psutil_linux").origin, tmp_path)
    monkeypatch.delitem(sys.modules, "_psutil_linux", raising=False)
    module("uses", uses="import _psutil_linux as fast")
    function = in_a_notebook(cell)

    with pytest.raises(ConfigurationError, match=r"triton_server .*_psutil_linux.* is compiled"):
        (by_value((function, {}), what="triton_server"), imported_modules(function))


def test_a_compiled_module_that_a_function_can_do_without_is_no_hindrance(tmp_path, module):
    shutil.copy(importlib.util.find_spec("psutil._psutil_linux").origin, tmp_path)
    module(
        "uses",
        uses="try:\n    import _psutil_linux\nexcept ImportError:\n    _psutil_linux = None\ndef work(): return 42",
    )
    assert arrived(in_a_notebook("def f():\n    from uses import work\n    return work()")) == "42"


class OnlyOnTheDriver:
    """As pyspark's SparkContext, which refuses with a RuntimeError."""

    def __getnewargs__(self):
        raise RuntimeError("it only works on the driver")


@pytest.mark.parametrize("unpicklable", [threading.Lock(), sys.stdout, (n for n in ()), OnlyOnTheDriver()])
def test_an_unpicklable_function_is_refused_with_what_to_do(unpicklable):
    kind = type(unpicklable).__name__.lower()
    with pytest.raises(
        ConfigurationError, match=rf"triton_server cannot be sent.*unpicklable is a .*(?i:{kind}), .*inside the"
    ):
        by_value((lambda: unpicklable, {}), what="triton_server")
    assert by_value((lambda: None, {}), what="triton_server")
