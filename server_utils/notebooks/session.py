"""`open_notebook`: the first two lines of every notebook, on a laptop and on clusters. Driver only.

It takes the Spark that is there and leaves it running. Where there is none it starts one: on a laptop a small cluster
of two executors, which ends with the notebook. It chooses the scale, and puts the model where every node finds it.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from server_utils.demo import assets, spark_cluster
from server_utils.errors import ConfigurationError, ModelExistsError
from server_utils.host import gpus, platform
from server_utils.host.platform import Platform
from server_utils.notebooks import catalogue, datasets, display, sealed_call
from server_utils.notebooks.catalogue import Facts, Model, Scale
from server_utils.spark import java, partitioning, session
from server_utils.storage.locations import model_url
from server_utils.storage.save import save_model
from server_utils.storage.verify import is_saved
from server_utils.validation import did_you_mean

T = TypeVar("T")

_VARIABLE, _KEY = "SPARK_SIDECAR_SCALE", "spark.sidecar.scale"
_GPUS_OF_A_SERVER = 4  # at most, of a language model in a notebook


def open_notebook(name: str) -> tuple[Any, Notebook]:
    """Spark, and what a notebook of this name needs. The Spark that is there is used, and never stopped.

    From here on an error of the package is shown as one sentence, without a stack trace.

    Raises:
        ConfigurationError: there is no notebook of this name, or the scale does not fit the machine.
        EnvironmentMissingError: Java, Spark or matplotlib is missing.
    """
    display.prepare()
    facts = catalogue.facts(name)
    spark = _existing_spark() or _start_spark()
    notebook = Notebook(spark, facts, _scale(spark, facts))
    display.show_line(notebook.summary)
    return spark, notebook


@dataclass(frozen=True)
class Notebook:
    """What a notebook needs besides Spark.

    Attributes:
        scale: `small` where there is no GPU, unless `SPARK_SIDECAR_SCALE` or `spark.sidecar.scale` says otherwise.
    """

    spark: Any
    facts: Facts
    scale: Scale

    @property
    def summary(self) -> str:
        """The scale, the model and Spark, in one line."""
        models = " and ".join(self.models) or "a model trained here"
        return f"{self.scale.value} scale: {models}, on Spark {self.spark.version}"

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models at this scale, mostly one; empty where the notebook trains its own."""
        return tuple(model.name for model in self._models)

    @property
    def gpus(self) -> int:
        """The GPUs that Spark assigns to each executor; 0 where it assigns none."""
        return session.gpus_per_executor(self.spark)

    @property
    def has_own_executors(self) -> bool:
        """Whether the executors are processes of this host that run for this notebook only, as on a laptop."""
        return (session.conf(self.spark, "spark.master") or "").startswith("local-cluster")

    def pick(self, *, small: T, full: T) -> T:
        """The one of two values that belongs to the scale."""
        return small if self.scale is Scale.SMALL else full

    def model(self, name: str | None = None) -> str:
        """The URL of the model at this scale. It is copied there first if it is not there yet, once for all nodes.

        A package's model that must be converted is saved from a task where only executors' machines can convert it.
        name: one of `models`; the first by default.

        Raises StorageError where its hub or the place for models cannot be reached, or wants a token,
        EnvironmentMissingError where no machine can fetch or convert it, and ConfigurationError for another name.
        """
        if not self._models:
            raise ConfigurationError(f"{self.facts.name} trains its own model: save it with save_model()")
        name = name or self.models[0]
        if name not in self.models:
            raise ConfigurationError(f"{self.facts.name} has no model {name!r}{did_you_mean(name, self.models)}")
        url = model_url(name)
        with suppress(ModelExistsError):
            self._save(self._models[self.models.index(name)], url)
        return url

    def _save(self, model: Model, url: str) -> None:
        if not model.is_asset:
            save_model(model.source, url)
        elif self._is_for_driver(assets.environment_of(model.source)):
            save_model(assets.get(model.source), url)
        elif not is_saved(url):
            sealed_call.in_task(self.spark, _save_asset, model.source, url)

    def _is_for_driver(self, environment: str | None) -> bool:
        """Whether what needs a sealed environment, or none, runs on the driver's machine."""
        return environment is None or sealed_call.is_here(environment) or session.on_this_host(self.spark)

    def table(self, name: str, rows: int | None = None) -> Any:
        """A frame of real data: all of it, or so many rows from all over it.

        At full scale it is the data set of a hub that this notebook has for the table; it is copied once to where
        data_url says. Else it is one of the tables in `datasets.py`.

        Raises StorageError where the hub or the place for data cannot be reached, and as `datasets.table` does.
        """
        data = self.facts.full_data
        if self.scale is Scale.FULL and data and data.table == name:
            return datasets.full_table(self.spark, data, rows)
        frame = datasets.table(self.spark, name, rows)
        return self.spread(frame) if self.scale is Scale.FULL else frame

    def spread(self, frame: Any) -> Any:
        """The rows of a frame in equal shares: two tasks for each task slot of the cluster, however large it is."""
        return partitioning.evenly(frame)

    def call(self, function: Callable[..., Any], *arguments: Any, environment: str) -> Any:
        """What a function answers in a sealed environment: to train where the framework is.

        It runs on the driver's machine, or in one task where only the nodes of the executors have the environment.
        Arguments and answer are plain values; what the function writes stays on the machine where it ran.

        Raises:
            EnvironmentMissingError: neither has the environment.
            ConfigurationError: the function failed there; with the last lines of what it printed.
        """
        if self._is_for_driver(environment):
            return sealed_call.call(function, *arguments, environment=environment)
        return sealed_call.call_in_task(self.spark, function, *arguments, environment=environment)

    def show(self, rows: Any, columns: Sequence[str] | None = None) -> None:
        """Display a frame of Spark or of pandas, or dictionaries, as a table; long texts are cut."""
        display.show_table(rows, columns)

    def show_pictures(
        self, pictures: Sequence[Any], titles: Sequence[str], right: Sequence[bool], *, columns: int = 6
    ) -> None:
        """Display pictures, which are arrays of pixels; right: whether the title, a model's answer, is right."""
        display.show_pictures(pictures, titles, right, columns=columns)

    def show_speed(self, rows: int, seconds: float, *, price_per_hour: float) -> None:
        """Display rows per second, and what a million rows would take and cost at a price of the whole cluster."""
        hours = 1e6 / max(rows / seconds, 1e-9) / 3600
        cost = {"rows": f"{rows:,}", "seconds": f"{seconds:.1f}", "rows/s": f"{rows / seconds:,.1f}"}
        million = {"hours per million rows": f"{hours:.1f}", "cost per million rows": f"{hours * price_per_hour:.2f}"}
        display.show_table([cost | million])

    def edits(self, found: Sequence[Any], wanted: Sequence[Any]) -> int:
        """How many words of a list, or characters of a text, must be changed, left out or put in to get another one."""
        items, steps = np.array(list(wanted)), np.arange(len(wanted) + 1)
        row = steps  # by dynamic programming: edits from what was found so far to each beginning of what is wanted
        for number, item in enumerate(found, 1):
            kept = np.append(number, np.minimum(row[1:] + 1, row[:-1] + (items != item)))
            row = np.minimum.accumulate(kept - steps) + steps
        return int(row[-1])

    def engine_options(self, **full: Any) -> dict[str, Any]:
        """Options of `start_servers` for a language model: these at full scale, those of two small servers at small.

        Two servers of a laptop share its memory and cores. On more than four GPUs an executor gets several servers: the
        heads of the full models divide by four at most (12 and 28 of them), and a server's GPUs must divide them.
        """
        threads = max(1, len(os.sched_getaffinity(0)) // spark_cluster.EXECUTORS)
        small = {"max_model_len": 1024, "kv_cache_memory_bytes": 512 << 20, "gpu_memory_utilization": 0.4}
        several = {"replicas": self.gpus // _GPUS_OF_A_SERVER} if self.gpus > _GPUS_OF_A_SERVER else {}
        return self.pick(small={**small, "env": {"OMP_NUM_THREADS": str(threads)}}, full=several | full)

    @property
    def _models(self) -> tuple[Model, ...]:
        return self.facts.models[self.scale] if self.facts.models else ()


def _save_asset(name: str, url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="spark-sidecar-") as folder:
        save_model(assets.make(name, Path(folder)), url)


def _existing_spark() -> Any:
    """The session that the notebook's user has: by its usual name, or the active one; None where none runs."""
    given = _user_variable("spark")
    spark = given if given is not None else session.active()
    return None if spark is None or session.is_stopped(spark) else spark


def _user_variable(name: str) -> Any:
    if "IPython" not in sys.modules:  # a kernel has imported it
        return None
    import IPython

    shell = IPython.get_ipython()
    return shell.user_ns.get(name) if shell else None


def _start_spark() -> Any:
    """On a cluster a session with the cluster's own settings; on a laptop one with two executors."""
    if platform.current() is not Platform.LOCAL:
        from pyspark.sql import SparkSession

        return SparkSession.builder.getOrCreate()
    java.require_java()
    log = spark_cluster.output_folder(None, "notebooks") / "spark.log"
    spark = spark_cluster.start(log)
    atexit.register(spark_cluster.stop, spark)
    return spark


def _scale(spark: Any, facts: Facts) -> Scale:
    """The scale that was asked for, else the one that fits. Raises ConfigurationError where it cannot run."""
    # In local mode one executor has the host's GPUs; the two of a laptop's cluster would both take all of them.
    is_local = (session.conf(spark, "spark.master") or "").startswith("local[")
    has_gpus = session.gpus_per_executor(spark) > 0 or (is_local and gpus.has_gpu())
    asked = os.environ.get(_VARIABLE) or session.conf(spark, _KEY)
    if not asked:
        return Scale.FULL if has_gpus else Scale.SMALL
    names = [scale.value for scale in Scale]
    if asked not in names:
        raise ConfigurationError(f"there is no scale {asked!r}{did_you_mean(asked, names)}")
    if asked == Scale.FULL.value and facts.needs_gpu and not has_gpus:
        raise ConfigurationError(
            f"the full scale of {facts.name} needs executors with a GPU, and Spark assigns none: use a cluster with "
            f"GPUs, or set {_VARIABLE}=small"
        )
    return Scale(asked)
