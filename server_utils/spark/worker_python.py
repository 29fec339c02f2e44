"""Check the Python of Spark's workers. Driver; `check` runs on executors.

The most common first mistake is that it is another Python than the driver's, without this package. So the driver asks
it by a function that travels by value and imports nothing of this package.
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
# A session may have another daemon than `pyspark.daemon`; Spark then says what it could not read from it.
_NO_WORKER = re.compile(
    r"pyspark[./]daemon|(reading the|Invalid) port number|Error from python worker|Python worker (failed|exited)"
)
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


def check(expected: Driver) -> None:
    """On an executor: raise PlacementError if its Python lacks something that the package needs. Imports nothing."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    lacks = [name for name in NEEDED if not _is_importable(name)]
    report = {"python": sys.executable, "version": version, "installed": _installed(), "lacks": lacks}
    if problem := _problem(report, expected):
        raise PlacementError(problem)


def explain(spark: Any, error: Exception) -> str:
    """Why Spark could not run a task of ours: in one sentence if the workers' Python is to blame."""
    message, expected = str(error), driver(spark)
    if reason := _could_not_start(spark, message, expected):
        return reason
    report = _ask_worker(spark)
    if report is None and _NO_WORKER.search(message):
        reason = f" ({_last_error(message)})" if _last_error(message) else ""
        python = _workers_python(spark)
        return f"Spark's workers run {python}, which cannot run Spark's own worker{reason}: {_how_to_set(expected)}"
    problem = _problem(report, expected) if report else ""
    return problem or f"Spark could not run a task on every executor: {_summary(message) or type(error).__name__}"


def _could_not_start(spark: Any, message: str, expected: Driver) -> str:
    """Why no worker could start, from Spark's message; "" where workers did, or the message does not say."""
    fix = _how_to_set(expected)
    if match := _CANNOT_RUN.search(message):
        return f"Spark's workers are to run {match[1]}, which does not start there ({match[2]}): {fix}"
    if match := _OTHER_MINOR.search(message):
        return (
            f"Spark's workers run {_workers_python(spark)}, which is Python {match[1]}.{match[2]}, and the driver is "
            f"Python {match[3]}.{match[4]}; functions travel between Pythons of one minor version only: {fix}"
        )
    return ""


def _problem(report: dict[str, Any], expected: Driver) -> str:
    """What is wrong with the Python of a report; "" where nothing is."""
    installed, wanted = report["installed"], expected.package
    if report["lacks"]:
        problem = f"lacks {', '.join(report['lacks'])}"
    elif installed and wanted and installed != wanted:
        problem = f"has {_DISTRIBUTION} {installed} where the driver has {wanted}"
    else:
        return ""
    requirement = f"{_DISTRIBUTION}=={wanted}" if wanted else _DISTRIBUTION
    return (
        f"Spark's workers run {report['python']} (Python {report['version']}), which {problem}: "
        f"{_how_to_set(expected)}; or install what it lacks, on every node: {report['python']} -m pip install "
        f"'{requirement}'"
    )


def _how_to_set(expected: Driver) -> str:
    if expected.connect:
        return (
            f"set PYSPARK_PYTHON to a Python {expected.minor} that has {_DISTRIBUTION}, where the Spark Connect server "
            "is started"
        )
    return (
        f"set PYSPARK_PYTHON (spark-submit: spark.pyspark.python) to a Python that has {_DISTRIBUTION}, such as the "
        f"driver's, {expected.python}, before the session is made"
    )


def _workers_python(spark: Any) -> str:
    """The Python that the workers are to run, with its path where the driver can look it up."""
    if session.is_connect(spark):
        return "another Python"
    chosen = str(spark.sparkContext.pythonExec)
    return (shutil.which(chosen) if session.on_this_host(spark) else None) or chosen


def _last_error(message: str) -> str:
    """The last line of the last Python traceback in a message; "" where there is none."""
    errors = _RAISED.findall(message)
    return str(errors[-1]) if errors else ""


def _summary(message: str) -> str:
    """The first lines of Spark's message, and what a Python worker raised, which stands below a screen of frames."""
    first, raised = message.strip().splitlines()[:_LINES], _last_error(message)
    return "\n".join([*first, *([raised] if raised and raised not in first else [])])


def _installed() -> str | None:
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # of the package above it; ValueError: a module that was made by hand
        return name in sys.modules


def _ask_worker(spark: Any) -> dict[str, Any] | None:
    """A worker's report on its Python; None where not even this runs."""
    from pyspark.sql.functions import udf

    try:
        # Not by Arrow: the workers' Python may lack it.
        ask = udf(_probe((_PACKAGE, *NEEDED), _DISTRIBUTION), "string", useArrow=False)
        (row,) = spark.range(1).select(ask("id").alias("report")).collect()
    except Exception:  # noqa: BLE001 - Spark names no common class; the first error is reported instead
        return None
    report: dict[str, Any] = json.loads(row.report)
    return report


def _probe(modules: Sequence[str], distribution: str) -> Callable[[int], str]:
    """A function for the workers. It is made in here because nested functions travel by value."""

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
