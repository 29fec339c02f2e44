"""Provide pyspark's `TaskContext` in a server's process, with the task that started it. Laid beside `program.py`.

A function that was written to run inside Spark's Python imports `TaskContext` from pyspark. If the sealed environment
has no pyspark, a stand-in with nothing but this is imported. If it has one, the task is set in its own `TaskContext`.
This module runs in the sealed environment, which does not hold this package: it imports nothing of it.
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
_MODULES = ("pyspark", "pyspark.taskcontext")


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
    """The task that started this server, as it was then."""

    current: ClassVar[TaskContext | None] = None

    def __init__(self, task: Mapping[str, Any]) -> None:
        """task: as `spark.executors` describes it."""
        self._task = task

    @classmethod
    def get(cls) -> TaskContext | None:
        """The task; None for a server that no task started."""
        return cls.current

    def partitionId(self) -> int:  # noqa: N802 - pyspark's name, as are the others
        """The partition that the task computed."""
        return int(self._task["partitionId"])

    def stageId(self) -> int:  # noqa: N802
        """The stage that the task belonged to."""
        return int(self._task["stageId"])

    def attemptNumber(self) -> int:  # noqa: N802
        """How often the task had been tried before."""
        return int(self._task["attemptNumber"])

    def taskAttemptId(self) -> int:  # noqa: N802
        """The number of this try, unique within the application."""
        return int(self._task["taskAttemptId"])

    def cpus(self) -> int:
        """The cores of the task."""
        return int(self._task["cpus"])

    def cpuAmount(self) -> Decimal:  # noqa: N802
        """The cores of the task, which may be a fraction (Spark 4.3)."""
        return Decimal(self._task["cpuAmount"])

    def resources(self) -> dict[str, ResourceInformation]:
        """The resources of the task by name."""
        return {name: ResourceInformation(name, each) for name, each in self._task["resources"].items()}

    def getLocalProperty(self, key: str) -> str | None:  # noqa: N802
        """A local property of the job, None where it has none of this name."""
        if key in self._task["leftOut"]:
            raise RuntimeError(f"the local property {key!r} is not handed on to servers: it is secret or too long")
        value = self._task["localProperties"].get(key)
        return None if value is None else str(value)


class BarrierTaskContext(TaskContext):
    """The task that started this server, if it belonged to a barrier stage."""

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
        """Raise RuntimeError: a server is no task."""
        raise RuntimeError("a server cannot wait for the other tasks of the stage: it outlives the one that started it")

    def allGather(self, message: str = "") -> NoReturn:  # noqa: ARG002, N802
        """Raise RuntimeError: a server is no task."""
        self.barrier()


_PUBLIC = (TaskContext, BarrierTaskContext, BarrierTaskInfo, ResourceInformation)


class _StandIn(MetaPathFinder, Loader):
    """Imports a pyspark that has the task's context and nothing else, where none is installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The last finder, as no pyspark is installed. Raises ModuleNotFoundError for what the stand-in lacks."""
        del path, target
        if name in _MODULES:
            return importlib.machinery.ModuleSpec(name, self, is_package=name == "pyspark")
        if name.startswith("pyspark.") and self._stands_in():
            # With another name than the module's: import would take that for a missing attribute.
            raise ModuleNotFoundError(_missing(name), name="pyspark")
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill the module."""
        vars(module).update({each.__name__: each for each in _PUBLIC}, __getattr__=_refuse_attribute)

    def _stands_in(self) -> bool:
        loaded = sys.modules.get("pyspark")
        return loaded is not None and getattr(getattr(loaded, "__spec__", None), "loader", None) is self


def _refuse_attribute(name: str) -> NoReturn:
    raise AttributeError(_missing(f"pyspark.{name}"))


def _missing(name: str) -> str:
    return (
        f"{name} is not here: the sealed environment has no pyspark but its TaskContext, which tells of the task that "
        "started the server. What needs Spark belongs outside of the function that serves."
    )


class _WithTask(MetaPathFinder):
    """Imports the environment's own pyspark, and sets the task in its TaskContext."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The first finder: returns what the others find."""
        if name != "pyspark.taskcontext":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_with_task(module: types.ModuleType) -> None:
                execute(module)
                _set_context(module, self._task)

            vars(spec.loader)["exec_module"] = execute_with_task
        return spec


def _set_context(module: Any, task: Mapping[str, Any]) -> None:
    """Set pyspark's own context to the task, as its worker does."""
    kind = module.BarrierTaskContext if task["barrier"] else module.TaskContext
    context = object.__new__(kind)
    resources = {name: ResourceInformation(name, each) for name, each in task["resources"].items()}
    amount = Decimal(task["cpuAmount"]) if task["cpuAmount"] else None
    for name, value in {**task, "cpuAmount": amount, "resources": resources}.items():
        setattr(context, f"_{name}", value)
    module.TaskContext._taskContext = context  # noqa: SLF001 - where its worker puts it


def install() -> None:
    """Have `TaskContext.get()` return the task that started this server, whether pyspark is installed here or not."""
    task = json.loads(os.environ.get(VARIABLE) or "null")
    if importlib.util.find_spec("pyspark") is None:
        if task:
            TaskContext.current = (BarrierTaskContext if task["barrier"] else TaskContext)(task)
        sys.meta_path.append(_StandIn())
    elif task:
        sys.meta_path.insert(0, _WithTask(task))
