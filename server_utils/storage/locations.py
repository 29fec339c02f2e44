"""Where models and data belong on this platform, so that notebooks need no ifs. Driver; in a task only by environment.

Set once per cluster: an environment variable, or a line in Spark's conf. A laptop needs neither.
"""

from __future__ import annotations

import os
import sys

from server_utils.errors import ConfigurationError
from server_utils.host import platform
from server_utils.host.platform import Platform
from server_utils.storage.urls import absolute, expanded, join, join_model

_EXAMPLES = {Platform.DATABRICKS: "/Volumes/main/default/{0}", Platform.DATAPROC: "gs://my-bucket/{0}"}


def model_url(name: str) -> str:
    """The URL of a model by its name, such as "qwen" or "org/name": for save_model, local_model and managers.

    `SPARK_SIDECAR_MODELS`, or `spark.sidecar.models` in Spark's conf, is the root; on a laptop a folder of this user.

    Raises ConfigurationError where no root is set on a cluster, and for a name that leads elsewhere.
    """
    return join_model(models_root(), name)


def models_root() -> str:
    """The URL below which models belong. Raises ConfigurationError where none is set on a cluster."""
    return absolute(_root("models"))


def data_url(name: str) -> str:
    """The URL of a data set by its name, for Spark to read and write.

    `SPARK_SIDECAR_DATA`, or `spark.sidecar.data` in Spark's conf, is the root; on a laptop a folder of this user. Spark
    takes every character as it is: %20 is no space to it.

    Raises as `model_url` does.
    """
    return join(_root("data"), name)


def _root(kind: str) -> str:
    variable, key = f"SPARK_SIDECAR_{kind.upper()}", f"spark.sidecar.{kind}"
    if chosen := os.environ.get(variable) or _conf(key):
        return expanded(chosen)
    here = platform.current()
    if here is Platform.LOCAL:
        return str(platform.home() / kind)
    raise ConfigurationError(
        f"nobody has said where {kind} belong on {here.value}: set {variable} in the cluster's environment variables, "
        f"or {key} in its Spark conf, such as {_EXAMPLES[here].format(kind)}"
    )


def _conf(key: str) -> str | None:
    """A line of the active session's conf; None without a session, and without Spark, which is not loaded for this."""
    if "pyspark.sql" not in sys.modules:
        return None
    from server_utils.spark import session

    spark = session.active()
    return None if spark is None or session.is_stopped(spark) else spark.conf.get(key, None)
