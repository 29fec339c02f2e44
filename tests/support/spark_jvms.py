"""Settings for Spark in tests, which live for minutes: JVMs with one compiler, no checks, and classes from a file.

Java calls the latter class data sharing. The file is made once for a Python and a Java, in the virtual environment: a
short session says which classes it loads, and `java -Xshare:dump` keeps them. A JVM that the file does not fit ignores
it without a word. Where the file cannot be made, JVMs start as they do without it. On Spark 3.5, whose tests have few
sessions, making it would take longer than it saves. Python workers have pandas from their daemon.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psutil
import pyspark

from server_utils.host.files import exclusive_lock

# Without the second compiler these JVMs take half of the processor time, and without the check of Spark's own classes a
# fifth less than that (measured).
SHORT_LIFE = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
# Wherever a session of these settings runs, PYTHONPATH must have this folder: it holds the daemon of Python workers.
PYTHON_PATH = str(Path(__file__).with_name("spark_daemon"))
_DAEMON = "spark.python.daemon.module", "warm_daemon"
_FOLDER = Path(sys.prefix) / "shared-classes"
_MAKE_S = 400  # seen: 40 to 90 s, of which the session takes a third


def options() -> str:
    """The options for drivers and executors; makes the file where there is none."""
    return SHORT_LIFE if pyspark.__version__ < "4" else f"{SHORT_LIFE} {_shared_classes()}"


def settings() -> dict[str, str]:
    """The settings for a session."""
    java = dict.fromkeys(["spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions"], options())
    return java | dict([_DAEMON])


def options_of_drivers() -> str:
    """The options for drivers of other programs, such as demos: they are settings of their sessions, too."""
    return f"{options()} -D{'='.join(_DAEMON)}"


@functools.cache
def _shared_classes() -> str:
    archive = _FOLDER / f"spark-{pyspark.__version__}-{_java_id()}.jsa"
    _FOLDER.mkdir(exist_ok=True)
    with exclusive_lock(archive.with_suffix(".lock")):  # two runs of the tests may start at once
        if not archive.exists():
            _make(archive)
    return f"-XX:SharedArchiveFile={archive}" if archive.stat().st_size else ""


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else shutil.which("java") or "java"


def _java_id() -> str:
    """Another Java needs another file."""
    printed = subprocess.run([_java(), "-version"], capture_output=True, check=True).stderr
    return hashlib.sha256(printed).hexdigest()[:8]


def _make(archive: Path) -> None:
    """Leave an empty file where it fails, so that it is tried once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            environ = os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
            program = [sys.executable, __file__, folder]
            subprocess.run(program, check=True, capture_output=True, cwd=folder, env=environ, timeout=_MAKE_S)
            lists = [each.read_text().splitlines() for each in sorted(folder.glob("*.lst"))]
            (folder / "classes").write_text("\n".join(dict.fromkeys(line for lines in lists for line in lines)))
            options = [f"-XX:SharedClassListFile={folder}/classes", f"-XX:SharedArchiveFile={folder}/archive"]
            dump = [_java(), "-Xshare:dump", "-XX:+UseSerialGC", *options, "-cp", (folder / "path").read_text()]
            subprocess.run(dump, check=True, capture_output=True, timeout=_MAKE_S)
            shutil.move(folder / "archive", archive)
        except (subprocess.SubprocessError, OSError) as error:
            warnings.warn(f"JVMs start without shared classes: {error}", stacklevel=3)
            archive.touch()


def _list_classes(folder: str) -> None:
    """Run what tests run, in a session whose JVMs write down their classes, and the path that these came from."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    listed = f"{SHORT_LIFE} -XX:DumpLoadedClassList={folder}"
    builder = SparkSession.builder.master("local-cluster[1,2,1024]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    builder = builder.config("spark.driver.extraJavaOptions", f"{listed}/driver.lst")
    spark = builder.config("spark.executor.extraJavaOptions", f"{listed}/executor.lst").getOrCreate()
    Path(folder, "path").write_text(spark._jvm.java.lang.System.getProperty("java.class.path"))
    spark.sparkContext.parallelize(range(2), 2).barrier().mapPartitions(list).collect()

    @f.pandas_udf("bigint")
    def twice(numbers):
        return 2 * numbers

    doubled = spark.range(0, 40, 1, 4).withColumn("y", twice("id"))
    doubled.where("y > 9").groupBy("y").count().orderBy("y").collect()
    doubled.join(doubled.selectExpr("id k"), doubled.y == f.col("k")).collect()
    spark.createDataFrame([(1, "a", [1.0])], "id int, text string, x array<float>").repartition(2).collect()
    doubled.write.parquet(f"{folder}/rows")
    spark.read.parquet(f"{folder}/rows").selectExpr("max(y)", "count(*)").collect()
    _stop(spark)


def _stop(spark: Any) -> None:
    """Wait for the JVMs: they write the last of their lists when they end."""
    processes, gateway = psutil.Process().children(recursive=True), spark.sparkContext._gateway
    left = Path(pyspark.__file__).parent / "work" / spark.sparkContext.applicationId
    spark.stop()
    gateway.proc.stdin.close()
    psutil.wait_procs(processes, timeout=60)
    shutil.rmtree(left, ignore_errors=True)


if __name__ == "__main__":
    _list_classes(sys.argv[1])
