"""A manager whose model_path is a URL: each host fetches the model once, before its servers start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from integration.spark import tiny_models
from server_utils import ServerStartError, TritonServerManager, model_url, save_model


@pytest.fixture
def root(spark, tmp_path, monkeypatch):
    """Where models belong, by a line of the session's conf."""
    monkeypatch.delenv("SPARK_SIDECAR_MODELS", raising=False)
    spark.conf.set("spark.sidecar.models", f"file://{tmp_path}/store")
    yield tmp_path / "store"
    spark.conf.unset("spark.sidecar.models")


@pytest.fixture
def saved(root, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "shift").write_text("1000")
    return save_model(tmp_path / "model", model_url("tiny"))


def test_the_servers_of_both_executors_load_the_model_that_was_saved(spark, saved, root):
    assert saved == str(root / "tiny")
    with TritonServerManager("tiny", model_url("tiny"), spark=spark) as servers:
        servers.start_servers(tiny_models.shifted)
        rows = spark.range(100).repartition(4).withColumn("shifted", servers.tensors("id")).collect()
        assert len(servers.status()) == 2
    assert all(row.shifted == row.id + 1000 for row in rows)


def test_a_model_that_is_not_there_is_one_error_of_the_start_that_names_the_host(spark, saved):
    servers = TritonServerManager("tiny", model_url("tini"), spark=spark)
    with pytest.raises(
        ServerStartError, match=r"could not fetch its model: there is no model at .*did you mean tiny\?"
    ) as caught:
        servers.start_servers(tiny_models.shifted)
    assert socket.gethostname() in str(caught.value)


@pytest.mark.parametrize("kind", ["~", "URL", "pathlib", "URL of a saved one"])
def test_a_folder_is_found_by_whatever_names_it(spark, tmp_path, monkeypatch, kind):
    """Characters that mean something in a URL or a pattern mean themselves."""
    folder = tmp_path / "tiny [1] 50%20"
    folder.mkdir()
    (folder / "shift").write_text("1000")
    monkeypatch.setenv("HOME", str(tmp_path))
    named = {"~": f"~/{folder.name}", "URL": folder.as_uri(), "pathlib": folder}
    given = named[kind] if kind in named else Path(save_model(folder, tmp_path / "saved [1] 50%20")).as_uri()
    with TritonServerManager("tiny", given, spark=spark) as servers:
        servers.start_servers(tiny_models.shifted)
        rows = spark.range(10).select("id", servers.tensors("id").alias("shifted")).collect()
    assert all(row.shifted == row.id + 1000 for row in rows)
