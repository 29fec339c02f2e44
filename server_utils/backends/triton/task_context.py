"""What `TaskContext` says in a server's process: the task that started it. Laid beside `program.py`.

A function that was written to run inside Spark's Python imports `TaskContext` from pyspark. Where the sealed
environment has no pyspark, a stand-in is imported that has this and nothing else; where it has one, its own
`TaskContext` is told. It runs in the sealed environment, which does not hold this package: it imports nothing of it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import sys
import types
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib.abc import Loader, MetaPathFinder
from typing import Any, ClassVar, NoReturn

VARIABLE = "SPARK_SIDECAR_TASK"  # as `executors` calls it
_HERE = ("pyspark", "pyspark.taskcontext")


class ResourceInformation:
    """A resource of the task, such as its GPUs: name and addresses."""

    def __init__(self, name: str, addresses: Sequence[str]) -> None:
        """As pyspark has it."""
        self.name, self.addresses = name, list(addresses)


class BarrierTaskInfo:
    """A task of the same barrier stage: its address."""

    def __init__(self, address: str) -> None:
        """As pyspark has it."""
        self.address = address


class TaskContext:
    """The task that started this server: what it knew of itself then."""

    current: ClassVar[TaskContext | None] = None

    def __init__(self, known: Mapping[str, Any]) -> None:
        """known: what `executors` wrote down."""
        self._known = known

    @classmethod
    def get(cls) -> TaskContext | None:
        """The task; None for a server that no task has started."""
        return cls.current

    def partitionId(self) -> int:  # noqa: N802 - pyspark's name, as are the others
        """The partition that the task computed."""
        return int(self._known["partitionId"])

    def stageId(self) -> int:  # noqa: N802
        """The stage that the task belonged to."""
        return int(self._known["stageId"])

    def attemptNumber(self) -> int:  # noqa: N802
        """How often the task had been tried before."""
        return int(self._known["attemptNumber"])

    def taskAttemptId(self) -> int:  # noqa: N802
        """The number of this try, unique within the application."""
        return int(self._known["taskAttemptId"])

    def cpus(self) -> int:
        """The cores of the task."""
        return int(self._known["cpus"])

    def cpuAmount(self) -> Decimal:  # noqa: N802
        """The cores of the task, which may be a fraction (Spark 4.3)."""
        return Decimal(self._known["cpuAmount"])

    def resources(self) -> dict[str, ResourceInformation]:
        """The resources of the task by name."""
        return {name: ResourceInformation(name, each) for name, each in self._known["resources"].items()}

    def getLocalProperty(self, key: str) -> str | None:  # noqa: N802
        """A local property of the job, None where it has none of this name."""
        if key in self._known["leftOut"]:
            raise RuntimeError(f"the local property {key!r} is not handed on to servers: it is secret or too long")
        value = self._known["localProperties"].get(key)
        return None if value is None else str(value)


class BarrierTaskContext(TaskContext):
    """The task that started this server, if it was one of a barrier stage."""

    @classmethod
    def get(cls) -> BarrierTaskContext:
        """The task; an error where it belonged to no barrier stage."""
        if not isinstance(cls.current, BarrierTaskContext):
            raise RuntimeError("the task that started this server belonged to no barrier stage")  # noqa: TRY004
        return cls.current

    def getTaskInfos(self) -> list[BarrierTaskInfo]:  # noqa: N802
        """All tasks of the stage, in the order of their partitions."""
        addresses = self.getLocalProperty("addresses") or ""
        return [BarrierTaskInfo(each.strip()) for each in addresses.split(",")]

    def barrier(self) -> NoReturn:
        """Refuse: a server is no task."""
        raise RuntimeError("a server cannot wait for the other tasks of the stage: it outlives the one that started it")

    def allGather(self, message: str = "") -> NoReturn:  # noqa: ARG002, N802
        """Refuse: a server is no task."""
        self.barrier()


_PUBLIC = (TaskContext, BarrierTaskContext, BarrierTaskInfo, ResourceInformation)


class _StandIn(MetaPathFinder, Loader):
    """Imports pyspark where there is none, and refuses all of it but the context of the task."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The last finder: pyspark itself is not there. Raises ModuleNotFoundError for what the stand-in lacks."""
        del path, target
        if name in _HERE:
            return importlib.machinery.ModuleSpec(name, self, is_package=name == "pyspark")
        if name.startswith("pyspark.") and self._stands_in():
            # Under another name than the module's: import would take that for an attribute that is not there.
            raise ModuleNotFoundError(_lacks(name), name="pyspark")
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill the module."""
        vars(module).update({each.__name__: each for each in _PUBLIC}, __getattr__=_absent)

    def _stands_in(self) -> bool:
        loaded = sys.modules.get("pyspark")
        return loaded is not None and getattr(loaded.__spec__, "loader", None) is self


def _absent(name: str) -> NoReturn:
    raise AttributeError(_lacks(f"pyspark.{name}"))


def _lacks(name: str) -> str:
    return (
        f"{name} is not here: the sealed environment has no pyspark but its TaskContext, which tells of the task that "
        "started the server. What needs Spark belongs outside of the function that serves."
    )


class _Told(MetaPathFinder):
    """Imports the environment's own pyspark, and tells its TaskContext of the task."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The first finder: hands on what the others find."""
        if name != "pyspark.taskcontext":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def tell(module: types.ModuleType) -> None:
                execute(module)
                _tell(module, self._known)

            vars(spec.loader)["exec_module"] = tell
        return spec


def _tell(module: Any, known: Mapping[str, Any]) -> None:
    """Make pyspark's own context of the task, as its worker does."""
    kind = module.BarrierTaskContext if known["barrier"] else module.TaskContext
    context = object.__new__(kind)
    resources = {name: ResourceInformation(name, each) for name, each in known["resources"].items()}
    amount = Decimal(known["cpuAmount"]) if known["cpuAmount"] else None
    for name, value in {**known, "cpuAmount": amount, "resources": resources}.items():
        setattr(context, f"_{name}", value)
    module.TaskContext._taskContext = context  # noqa: SLF001 - where its worker puts it


def know_the_task() -> None:
    """Have `TaskContext.get()` tell of the task that started this server, whether pyspark is installed here or not."""
    known = json.loads(os.environ.get(VARIABLE) or "null")
    if importlib.util.find_spec("pyspark") is None:
        if known:
            TaskContext.current = (BarrierTaskContext if known["barrier"] else TaskContext)(known)
        sys.meta_path.append(_StandIn())
    elif known:
        sys.meta_path.insert(0, _Told(known))
