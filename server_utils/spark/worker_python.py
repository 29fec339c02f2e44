"""Which Python Spark's workers run, and what it lacks. Driver; `refuse_another` runs on executors.

The commonest first mistake is that it is another Python than the driver's: one without this package, which cannot say
so itself. So it is asked by a function that travels by value and imports nothing of ours.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from server_utils.errors import PlacementError
from server_utils.spark import session

_DISTRIBUTION, _PACKAGE = "spark-sidecar", "server_utils"
# The dependencies in pyproject.toml, as they are imported.
NEEDED = (*("cloudpickle", "jsonschema", "numpy", "pandas", "psutil", "pyarrow", "tritonclient.http", "urllib3"),)
_CANNOT_RUN = re.compile(r'Cannot run program "([^"]+)"[^:]*: (.+)')
_OTHER_MINOR = re.compile(r"PYTHON_VERSION_MISMATCH\D*(\d+)\D+(\d+)\D+(\d+)\D+(\d+)")
_NO_WORKER = re.compile(r"pyspark[./]daemon|Error from python worker|Python worker (failed|exited)")
# The last line of a Python traceback; Java's exceptions have a domain in front of them.
_RAISED = re.compile(r"^(?!(?:org|java|com)\.)[\w.]*(?:Error|Exception|Exit|Interrupt)\b(?::.*)?$", re.MULTILINE)
_LINES = 8


@dataclass(frozen=True)
class Driver:
    """The driver's side of the comparison. package: its version, None where it lies on the path but is not installed.

    connect: whether the driver is a Spark Connect client, which does not choose the workers' Python.
    """

    python: str
    minor: str
    package: str | None
    connect: bool


def driver(spark: Any) -> Driver:
    """What this driver has."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Driver(sys.executable, minor, _installed(), session.is_connect(spark))


def refuse_another(expected: Driver) -> None:
    """On an executor: raise PlacementError if its Python lacks something that the package needs. Imports nothing."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    lacks = [name for name in NEEDED if not _is_there(name)]
    report = {"python": sys.executable, "version": version, "installed": _installed(), "lacks": lacks}
    if wrong := _sentence(report, expected):
        raise PlacementError(wrong)


def why_not(spark: Any, error: Exception) -> str:
    """Why Spark could not run a task of ours: in one sentence if the workers' Python is to blame."""
    said, expected = str(error), driver(spark)
    if reason := _not_run(spark, said, expected):
        return reason
    report = _asked(spark)
    if report is None and _NO_WORKER.search(said):
        reason = f" ({_raised(said)})" if _raised(said) else ""
        return f"Spark's workers run {_named(spark)}, which cannot run Spark's own worker{reason}: {_set_it(expected)}"
    wrong = _sentence(report, expected) if report else ""
    return wrong or f"Spark could not run a task on every executor: {_gist(said) or type(error).__name__}"


def _not_run(spark: Any, said: str, expected: Driver) -> str:
    """Where no worker could begin, by Spark's own words; "" where one could, or they do not say."""
    if found := _CANNOT_RUN.search(said):
        return f"Spark's workers are to run {found[1]}, which does not start there ({found[2]}): {_set_it(expected)}"
    if found := _OTHER_MINOR.search(said):
        return (
            f"Spark's workers run {_named(spark)}, which is Python {found[1]}.{found[2]}, and the driver is Python "
            f"{found[3]}.{found[4]}; functions travel between Pythons of one minor version only: {_set_it(expected)}"
        )
    return ""


def _sentence(report: dict[str, Any], expected: Driver) -> str:
    """What is wrong with the Python of a report; "" where nothing is."""
    there, wanted = report["installed"], expected.package
    if report["lacks"]:
        wrong = f"lacks {', '.join(report['lacks'])}"
    elif there and wanted and there != wanted:
        wrong = f"has {_DISTRIBUTION} {there} where the driver has {wanted}"
    else:
        return ""
    requirement = f"{_DISTRIBUTION}=={wanted}" if wanted else _DISTRIBUTION
    return (
        f"Spark's workers run {report['python']} (Python {report['version']}), which {wrong}: {_set_it(expected)}; or "
        f"install what it lacks, on every node: {report['python']} -m pip install '{requirement}'"
    )


def _set_it(expected: Driver) -> str:
    if expected.connect:
        return (
            f"set PYSPARK_PYTHON to a Python {expected.minor} that has {_DISTRIBUTION}, where the Spark Connect server "
            "is started"
        )
    return (
        f"set PYSPARK_PYTHON (spark-submit: spark.pyspark.python) to a Python that has {_DISTRIBUTION}, such as the "
        f"driver's, {expected.python}, before the session is made"
    )


def _named(spark: Any) -> str:
    """What the workers are to run, with its path where that is known here."""
    if session.is_connect(spark):
        return "another Python"
    chosen = str(spark.sparkContext.pythonExec)
    return (shutil.which(chosen) if session.on_this_host(spark) else None) or chosen


def _raised(said: str) -> str:
    """The last line of the last Python traceback in a text; "" where there is none."""
    found = _RAISED.findall(said)
    return str(found[-1]) if found else ""


def _gist(said: str) -> str:
    """The beginning of what Spark said, and what a Python worker raised: it stands under a screen of frames."""
    first, raised = said.strip().splitlines()[:_LINES], _raised(said)
    return "\n".join([*first, *([raised] if raised and raised not in first else [])])


def _installed() -> str | None:
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # of the package above it; ValueError: a module that was put there by hand
        return name in sys.modules


def _asked(spark: Any) -> dict[str, Any] | None:
    """What a worker says of its Python; None where not even this runs."""
    from pyspark.sql.functions import udf

    try:
        # Not by Arrow: the workers' Python may lack it.
        ask = udf(_probe((_PACKAGE, *NEEDED), _DISTRIBUTION), "string", useArrow=False)
        (row,) = spark.range(1).select(ask("id").alias("report")).collect()
    except Exception:  # noqa: BLE001 - Spark names no common class; what went wrong first is told
        return None
    report: dict[str, Any] = json.loads(row.report)
    return report


def _probe(modules: Sequence[str], distribution: str) -> Callable[[int], str]:
    """A function for the workers. Made in here: what no module has under a name travels by value."""

    def report(_: int) -> str:
        import importlib.metadata
        import json
        import sys

        lacks = []
        for name in modules:
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001 - what a broken package raises may be anything
                missing = isinstance(error, ModuleNotFoundError) and name.startswith(str(error.name))
                lacks.append(name if missing else f"{name} ({' '.join(f'{type(error).__name__}: {error}'.split())})")
        try:
            installed = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        version = ".".join(str(part) for part in sys.version_info[:3])
        return json.dumps({"python": sys.executable, "version": version, "installed": installed, "lacks": lacks})

    return report
