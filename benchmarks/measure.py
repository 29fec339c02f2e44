"""What the benchmarks share: a Spark session, the time of a job, arms that alternate, and a table of their figures.

Progress goes to standard error.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from pyspark.sql import SparkSession


def session(master: str) -> SparkSession:
    """A quiet Spark with this Python on its workers."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(master).appName("benchmarks")
    for key, value in {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}.items():
        builder = builder.config(key, value)
    spark = builder.config("spark.log.level", "OFF").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    return spark


def seconds(frame) -> float:
    """The time of a whole job; the answers are made and thrown away."""
    began = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    return time.perf_counter() - began


def alternate(arms: Mapping[str, Callable[[], float]], rounds: int, *, title: str, warm: int = 1) -> dict[str, float]:
    """Median seconds of each arm. Every round runs all arms, so that what changes on the machine changes for all.

    Args:
        arms: by name; each returns its seconds.
        rounds: that count.
        title: of the workload, for the progress.
        warm: rounds before, which do not count.
    """
    times: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(warm + rounds):
        which = f"warm-up {number + 1} of {warm}" if number < warm else f"round {number - warm + 1} of {rounds}"
        for name, arm in arms.items():
            times[name].append(arm())
            progress(f"{title}, {which}: {name} {times[name][-1]:.1f} s")
    return {name: statistics.median(took[warm:]) for name, took in times.items()}


def progress(text: str) -> None:
    """Say what has just been done, or begins. Standard output is for the report."""
    print(text, file=sys.stderr, flush=True)


def table(title: str, figures: Mapping[str, Sequence[float]], *columns: str) -> list[str]:
    """The figures of each arm below the title of their workload and the names of the columns, which hold the units."""
    width = max(map(len, (title, *figures))) + 2
    lines = [f"{title:<{width}}{''.join(f'{name:>10}' for name in columns)}"]
    lines += [f"  {name:<{width - 2}}{''.join(map(_figure, row))}" for name, row in figures.items()]
    return lines


def shares(figures: Mapping[str, float], base: str) -> dict[str, tuple[float, float]]:
    """Each figure, and its share of that of one arm."""
    return {name: (value, value / figures[base]) for name, value in figures.items()}


def _figure(value: float) -> str:
    return f"{value:10,.1f}" if value >= 10 else f"{value:10.2f}"  # noqa: PLR2004 - three digits at least
