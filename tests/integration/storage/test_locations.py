"""Where models and data belong: by environment or by platform; Spark's conf is in tests/integration/spark."""

from __future__ import annotations

import pytest

from server_utils import ConfigurationError, data_url, model_url
from server_utils.storage.urls import parse


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("MODELS", "DATA"):
        monkeypatch.delenv(f"SPARK_SIDECAR_{name}", raising=False)
    for name in ("DATABRICKS_RUNTIME_VERSION", "DATAPROC_VERSION"):
        monkeypatch.delenv(name, raising=False)


def test_on_a_laptop_both_are_below_the_home_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    assert model_url("org/qwen") == f"{tmp_path}/models/org/qwen"
    assert data_url("reviews") == f"{tmp_path}/data/reviews"


def test_the_environment_says_where(monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_MODELS", "s3://bucket/models/")
    monkeypatch.setenv("SPARK_SIDECAR_DATA", "gs://bucket/data")
    assert (model_url("qwen"), data_url("x/y")) == ("s3://bucket/models/qwen", "gs://bucket/data/x/y")


@pytest.mark.parametrize(
    ("variable", "example"),
    [("DATABRICKS_RUNTIME_VERSION", "/Volumes/main/default/models"), ("DATAPROC_VERSION", "gs://my-bucket/models")],
)
def test_on_a_cluster_without_a_root_the_error_says_what_to_set(monkeypatch, variable, example):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigurationError, match=rf"set SPARK_SIDECAR_MODELS in .* such as {example}"):
        model_url("qwen")


def test_a_root_may_be_in_the_home_or_a_file_url_and_names_are_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for root in ("~/a b", "a b", "./a b", (tmp_path / "a b").as_uri()):
        monkeypatch.setenv("SPARK_SIDECAR_MODELS", root)
        assert str(parse(model_url("org/50%25 [x] é"))) == str(tmp_path / "a b/org/50%25 [x] é")
    monkeypatch.setenv("SPARK_SIDECAR_DATA", "~/a b")
    assert data_url("50%25") == f"{tmp_path}/a b/50%25"
    monkeypatch.setenv("SPARK_SIDECAR_DATA", "file:///a b")
    assert data_url("50%25") == "file:///a b/50%25", "Spark takes every character as it is"


@pytest.mark.parametrize("name", ["", "../x", "a/../../b", "/"])
def test_a_name_that_leads_elsewhere_is_refused(monkeypatch, name):
    monkeypatch.setenv("SPARK_SIDECAR_MODELS", "s3://bucket/models")
    with pytest.raises(ConfigurationError):
        model_url(name)
