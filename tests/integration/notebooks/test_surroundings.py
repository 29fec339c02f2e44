"""Notebooks from the same bytes in surroundings like Databricks and like Dataproc.

`test_notebooks.py` is the laptop. It runs all but `ELSEWHERE`: their kinds have other notebooks there.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from support.fakes import can_mount

from integration.notebooks.conftest import ask, execute
from integration.storage.servers import fake_gcs, gcs_environ, make_gcs_bucket
from server_utils import errors
from server_utils.environments.lock_files import vllm_fits

pytestmark = pytest.mark.notebook
# A model in storage, one that a sealed environment trains, and, where vLLM runs, a language model: the cheapest of each
# kind, with what it saves.
SAVED = {"models_in_cloud_storage": "digits-in-storage", "keras_preprocessing": "diamond-prices"}
SAVED |= {"product_descriptions": "SmolLM2-135M-Instruct"} if vllm_fits() else {}
SETTINGS = {
    "spark.master": "local-cluster[1,2,1024]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.log.level": "OFF",
}


def conf_folder(tmp_path):
    """What spark-submit would read on a cluster."""
    lines = [f"{key} {value}" for key, value in SETTINGS.items()]
    (tmp_path / "spark-defaults.conf").write_text("\n".join(lines) + "\n")
    return str(tmp_path)


@pytest.fixture(autouse=True)
def nothing_is_written_into_the_packages():
    """A cluster's Python may not be written to. Root may here, so it is looked at afterwards; byte code is apart."""
    folders = (Path(sysconfig.get_path("purelib")), Path(errors.__file__).parent)

    def files():
        every = {path for folder in folders for path in folder.glob("*")} | {*folders[1].rglob("*")}
        return {path for path in every if "__pycache__" not in path.parts}

    before = files()
    yield
    assert files() == before


@pytest.mark.skipif(not can_mount(), reason="needs to be allowed to mount a folder as /Volumes")
def test_on_databricks_the_spark_that_is_there_is_used_and_left_running(start_kernel, tmp_path):
    volume = tmp_path / "volumes" / "main" / "default" / "models"
    volume.mkdir(parents=True)
    kernel = start_kernel(
        {
            "DATABRICKS_RUNTIME_VERSION": "16.4",
            "SPARK_CONF_DIR": conf_folder(tmp_path),
            "SPARK_SIDECAR_MODELS": "/Volumes/main/default/models",
        },
        volumes=tmp_path / "volumes",
    )
    there = "from pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n"
    status, application = ask(kernel, f"{there}print(spark.sparkContext.applicationId)")
    assert status == "ok", application
    for name in SAVED:
        execute(name, kernel, tmp_path, first=there)
    assert {path.name for path in volume.iterdir()} >= {*SAVED.values()}
    assert ask(kernel, "print(spark.sparkContext.applicationId, spark.range(9).count())") == (
        "ok",
        f"{application.strip()} 9\n",
    )


def test_on_dataproc_they_run_from_a_bucket_without_a_home(start_kernel, tmp_path):
    home = tmp_path / "file"
    home.touch()  # no folder: nobody, root included, can write below it
    with fake_gcs() as port:
        make_gcs_bucket(port, "models")
        variables = {"CONTAINER_ID": "container_1_0001_01_000001", "DATAPROC_VERSION": "2.3", "HOME": str(home)}
        variables["LOCAL_DIRS"] = str(tmp_path)  # where YARN lets Spark write
        places = {"SPARK_CONF_DIR": conf_folder(tmp_path), "SPARK_SIDECAR_MODELS": "gs://models/kept"}
        kernel = start_kernel(variables | places | gcs_environ(port))
        for name in SAVED:
            done = execute(name, kernel, tmp_path)
            if name == "models_in_cloud_storage":
                assert "saved to gs://…" in str(done)
