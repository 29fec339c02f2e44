"""What a notebook finds on Databricks before its first cell: `spark`, `sc`, `dbutils` and `display`.

Executed in the kernel by notebook_program.py; all of its own names go into one function, so that a notebook sees none.
"""

from __future__ import annotations


def _platform():  # the kernel's own variables are the platform's
    import json
    import os
    from types import SimpleNamespace

    from IPython.display import display
    from pyspark.sql import DataFrame, SparkSession

    class NotebookExit(Exception):  # noqa: N818  # it ends a notebook that succeeded
        """Ends the notebook; its text is the result of the run."""

    parameters = json.loads(os.environ.pop("NOTEBOOK_PARAMETERS"))
    defaults = {}

    def get(name):
        if name not in parameters and name not in defaults:
            raise ValueError(f"InputWidgetNotDefined: No input widget named {name} is defined")
        return parameters.get(name, defaults.get(name))

    def text(name, default_value="", label=None):
        defaults[name] = default_value

    def dropdown(name, default_value, choices, label=None):
        defaults[name] = default_value

    def leave(value=""):
        raise NotebookExit(value)

    def show(value, *_, **__):
        display(value.limit(1000).toPandas() if isinstance(value, DataFrame) else value)

    builder = SparkSession.builder.appName("Databricks Shell")
    for key, value in json.loads(os.environ.pop("NOTEBOOK_SPARK_CONF")).items():
        builder = builder.config(key, value)
    widgets = SimpleNamespace(
        get=get, text=text, dropdown=dropdown, getAll=lambda: defaults | parameters, removeAll=defaults.clear
    )
    return builder.getOrCreate(), SimpleNamespace(widgets=widgets, notebook=SimpleNamespace(exit=leave)), show


spark, dbutils, display = _platform()
sc = spark.sparkContext
del _platform, annotations
