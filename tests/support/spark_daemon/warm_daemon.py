"""Spark's daemon of Python workers, with what each worker imports first. Spark starts it by this name.

The daemon forks a worker for each task slot and each Python function. Each one imports pandas and Arrow, which takes
0.4 s of a processor; here the daemon has them before it forks. It imports nothing of ours: tests look at that.
"""

from __future__ import annotations

import contextlib
import runpy

with contextlib.suppress(ImportError):  # a Python without them is what some tests are about
    import pandas  # noqa: F401, ICN001
    import pyarrow  # noqa: F401, ICN001

runpy.run_module("pyspark.daemon", run_name="__main__", alter_sys=True)
