"""A Spark Connect server on a port that is free, in a process of its own: prints the port, ends with its input.

`SparkSession.builder.remote("local-cluster[…]")` starts one too, but always on port 15002, which another run of the
tests on this host may have; and then classic session and client share a process, which no user's do.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession
from support import spark_jvms

SETTINGS = {
    "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
    "spark.connect.grpc.binding.address": "127.0.0.1",
    "spark.connect.grpc.binding.port": "0",
    "spark.task.maxFailures": "1",
}


def main(master):
    builder = SparkSession.builder.master(master)
    for key, value in (SETTINGS | spark_jvms.settings()).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    service = getattr(spark._jvm, "org.apache.spark.sql.connect.service.SparkConnectService$")
    print(getattr(service, "MODULE$").localPort(), flush=True)  # noqa: T201 - read by the test
    sys.stdin.read()
    application = spark.sparkContext.applicationId
    spark.stop()
    # The executors of a local cluster keep their jars and logs in the installation.
    shutil.rmtree(Path(pyspark.__file__).parent / "work" / application, ignore_errors=True)
