"""The address space that Spark allows its Python workers, which whatever they start inherits. Supervisor; no Spark.

`spark.executor.pyspark.memory` is for the rows that Python holds. A server reserves many times what it uses (threads,
arenas, CUDA), and dies of such a limit with all kinds of errors.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

_SETTING = "spark.executor.pyspark.memory"
_MARK = "PYSPARK_EXECUTOR_MEMORY_MB"  # Spark's, in the environment of a worker that has this limit


def lift() -> None:
    """Take from this process the limit that Spark gave its parent, where that is allowed: to root, as a rule.

    Spark lowers the hard limit too. One that another gave, such as a batch system, is none of ours to lift.
    """
    if _MARK in os.environ:
        with suppress(ValueError, OSError):  # the hard limit can be raised by root only; it is told by `hint`
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def hint() -> str:
    """What to add to the reason of a server that did not start; "" where no such limit is in force."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return ""
    whose = _SETTING if _MARK in os.environ else "the limit on virtual memory (ulimit -v) of Spark's worker"
    return (
        f"; it has {limit / 2**30:.1f} GiB of address space, by {whose}, which servers inherit: unset that, and give "
        "servers memory by spark.executor.memoryOverhead"
    )
