"""The embedded Spark of the demos, the folder for what they make, and the extras they need. Laptop.

A cluster of two executors on this machine; its log goes to a file.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.find_spark_home import _find_spark_home
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server_utils.demo.console import Screen

EXECUTORS = 2
# These JVMs live for a minute: they are done before the second compiler's work, on the model's cores, pays off.
_SHORT_LIFE = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_CONF = {
    # Two task slots each: while one task waits for its server, the other reads and writes.
    "spark.master": f"local-cluster[{EXECUTORS},2,1024]",
    "spark.app.name": "spark-sidecar demo",
    "spark.driver.extraJavaOptions": _SHORT_LIFE,
    "spark.executor.extraJavaOptions": _SHORT_LIFE,
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
_LAST_LINES = 8
_LOG = "spark.log"


def start(log: Path) -> SparkSession:
    """Start Spark; all that its JVM prints, the stack traces of every local-cluster's end included, goes to a file.

    Raises:
        EnvironmentMissingError: if Spark does not start; with the last lines of the file.
    """
    # Another Spark of the user, and its settings, are ignored.
    for name in ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS"):
        os.environ.pop(name, None)
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    conf = SparkConf(loadDefaults=False).setAll([*_CONF.items()])
    try:
        # A file for the JVM's own output: the driver's Python can still say on stderr what went wrong with it.
        with log.open("w") as file:
            gateway = launch_gateway(conf, {"stdout": file, "stderr": file})  # type: ignore[no-untyped-call]
        SparkContext(gateway=gateway, conf=conf)
        return SparkSession.builder.getOrCreate()
    except (PySparkRuntimeError, Py4JError) as err:
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        msg = f"Spark does not start; the last lines of {log}:\n" + "\n".join(lines)
        raise EnvironmentMissingError(msg) from err


def stop(spark: SparkSession) -> None:
    """Stop Spark, and remove what its workers leave in pyspark's own folder."""
    folder = Path(_find_spark_home()) / "work" / spark.sparkContext.applicationId
    spark.stop()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def extras() -> Iterator[None]:
    """Imports in this block may be missing: clusters have the wheel without its extras, and their own Spark.

    Raises:
        EnvironmentMissingError: says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        msg = f"The demo needs {err.name}, which is not installed: pip install 'spark-sidecar[cli,plot,spark]'."
        raise EnvironmentMissingError(msg) from err


def output_folder(chosen: Path | None, name: str) -> Path:
    """The folder for what a demo makes: the chosen one, or one of this name in the package's home.

    Raises:
        ConfigurationError: it cannot be written.
    """
    folder = (chosen or platform.home() / name).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _LOG).touch()
    except OSError as err:
        msg = f"{folder} cannot be written: {err}. Choose another folder with --output."
        raise ConfigurationError(msg) from err
    return folder


@contextmanager
def spark_session(screen: Screen, output: Path) -> Iterator[SparkSession]:
    """A Spark with two executors; its noise goes into a file of the output folder."""
    starting = functools.partial(start, output / _LOG)
    spark, _ = screen.step("Starting Spark", starting, lambda spark: f"Spark {spark.version} and its executors are up")
    try:
        yield spark
    finally:
        stop(spark)
