"""The job of the live checks as a cluster runs it: a program of its own, by Spark, on driver and executor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from csp.live_checks import on_cluster
from csp.live_checks.questions import Question, Where

QUESTIONS = [
    Question("driver", ("dataproc",), "", Where.DRIVER, "echo $SPARK_HOME; exit 3", "", ""),
    Question("missing", ("dataproc",), "", Where.EXECUTOR, "no-such-program", "", ""),
    Question("where", ("dataproc",), "", Where.EXECUTOR_PYTHON, "import os; print(os.getpid())", "", ""),
    Question("here", ("dataproc",), "", Where.DRIVER_PYTHON, "import os; print(os.getpid())", "", ""),
]
GCLOUD = """#!/bin/bash
[[ "$*" == "dataproc jobs submit pyspark "*" --cluster=mine --region=r" ]] && exec "$PYSPARK_PYTHON" "$5"
"""


def test_the_job_answers_on_the_driver_and_on_an_executor(tmp_path, monkeypatch):
    (tmp_path / "gcloud").write_text(GCLOUD)
    (tmp_path / "gcloud").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[1] --conf spark.ui.enabled=false pyspark-shell")
    said = on_cluster.run_job(QUESTIONS, on_cluster.Target("dataproc", "mine", "r"))
    assert (said["driver"].code, said["missing"].code) == (3, 127), said
    assert said["here"].output.isdigit()
    assert said["where"].output.isdigit()
    assert said["here"] != said["where"]


def test_the_program_of_the_job_is_one_file_that_imports_nothing_of_ours():
    with on_cluster._program(QUESTIONS) as program:
        text = program.read_text()
        done = subprocess.run([sys.executable, "-I", "-m", "py_compile", Path(program)], check=False)
    assert done.returncode == 0
    assert text.startswith("# Databricks notebook source\n")
    assert "@QUESTIONS@" not in text
    assert "server_utils" not in text
    assert "csp" not in text
