"""Which scale a notebook takes, and what it shows; the rest of a session is seen in tests/integration/notebooks."""

from __future__ import annotations

import numpy as np
import pytest

from server_utils.demo import assets
from server_utils.errors import ConfigurationError, EnvironmentMissingError, StorageError
from server_utils.host import gpus
from server_utils.notebooks import catalogue, datasets, display
from server_utils.notebooks.catalogue import Scale
from server_utils.notebooks.session import Notebook, _scale
from server_utils.storage.verify import is_saved
from unit.notebooks.test_sealed_call import OneTask

NEEDS_GPU, ANYWHERE = catalogue.facts("classification"), catalogue.facts("semantic_search")


class Cluster:
    """A session of a cluster, as far as the choice of a scale asks it."""

    version = "4.0.0"

    def __init__(self, **settings):
        self._settings = {"spark.master": "yarn"} | {key.replace("_", "."): value for key, value in settings.items()}
        self.sparkContext = self

    def getConf(self):  # noqa: N802 - Spark's name
        return self._settings


WITH_GPUS = Cluster(spark_executor_resource_gpu_amount="1")


@pytest.mark.parametrize(
    ("spark", "asked", "expected"),
    [
        (WITH_GPUS, None, Scale.FULL),
        (Cluster(), None, Scale.SMALL),
        (WITH_GPUS, "small", Scale.SMALL),
        (Cluster(spark_sidecar_scale="full"), None, Scale.FULL),
        (Cluster(spark_sidecar_scale="full"), "small", Scale.SMALL),
    ],
)
def test_executors_with_gpus_make_it_full_unless_somebody_says_otherwise(spark, asked, expected, monkeypatch):
    monkeypatch.delenv("SPARK_SIDECAR_SCALE", raising=False)
    if asked:
        monkeypatch.setenv("SPARK_SIDECAR_SCALE", asked)
    assert _scale(spark, ANYWHERE) is expected


def test_the_processors_of_a_laptop_make_it_small(monkeypatch):
    monkeypatch.delenv("SPARK_SIDECAR_SCALE", raising=False)
    expected = Scale.FULL if gpus.has_gpu() else Scale.SMALL
    assert _scale(Cluster(spark_master="local-cluster[2,2,1024]"), ANYWHERE) is expected


@pytest.mark.parametrize(
    ("asked", "facts", "said"),
    [
        ("large", ANYWHERE, "there is no scale 'large'; choose one of small, full"),
        ("full", NEEDS_GPU, "needs executors with a GPU, and Spark assigns none"),
    ],
)
def test_a_scale_that_cannot_be_is_refused(asked, facts, said, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_SCALE", asked)
    with pytest.raises(ConfigurationError, match=said):
        _scale(Cluster(), facts)


def test_a_notebook_picks_by_scale():
    small, full = (Notebook(Cluster(), NEEDS_GPU, scale) for scale in Scale)
    assert (small.pick(small=1, full=2), full.pick(small=1, full=2)) == (1, 2)
    assert full.engine_options(max_model_len=8192) == {"max_model_len": 8192}
    assert small.engine_options(max_model_len=8192)["max_model_len"] == 1024
    assert (small.gpus, Notebook(WITH_GPUS, NEEDS_GPU, Scale.FULL).gpus) == (0, 1)
    assert small.summary == "small scale: SmolLM2-135M-Instruct, on Spark 4.0.0"


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), (["it", "was"], ["it", "is", "was"], 1), ("a", "a", 0)],
)
def test_edits_lead_from_what_was_found_to_what_is_wanted(found, wanted, expected):
    assert Notebook(Cluster(), ANYWHERE, Scale.SMALL).edits(found, wanted) == expected


@pytest.mark.parametrize(
    ("master", "expected"),
    [("local-cluster[2,2,1024]", True), ("local[2]", False), ("yarn", False), ("spark://host:7077", False)],
)
def test_only_executors_that_nobody_else_uses_are_its_own(master, expected):
    assert Notebook(Cluster(spark_master=master), ANYWHERE, Scale.SMALL).has_own_executors is expected


def test_a_notebook_may_run_several_models_and_takes_no_other():
    full = Notebook(Cluster(), catalogue.facts("summarization"), Scale.FULL)
    assert full.models == ("Qwen2.5-7B-Instruct", "Qwen3.5-9B")
    assert full.summary == "full scale: Qwen2.5-7B-Instruct and Qwen3.5-9B, on Spark 4.0.0"
    with pytest.raises(ConfigurationError, match=r"summarization has no model 'Qwen3\.5-9'; did you mean Qwen3\.5-9B"):
        full.model("Qwen3.5-9")


class Workers(OneTask, Cluster):
    """A cluster whose tasks run in this process, with another home than the driver's."""

    def __init__(self, home):
        OneTask.__init__(self)
        Cluster.__init__(self)
        self.home = home

    def collect(self):
        with pytest.MonkeyPatch.context() as worker:
            worker.setenv("SPARK_SIDECAR_HOME", str(self.home))
            return super().collect()


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster whose driver has nothing, and whose workers have a model that is made in the environment `triton`."""
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "worker"))
    assets._OCR.path.mkdir(parents=True)
    (assets._OCR.path / "config.json").write_text("{}")
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "driver"))
    monkeypatch.setenv("SPARK_SIDECAR_MODELS", str(tmp_path / "models"))
    return Workers(tmp_path / "worker")


def test_a_model_that_only_workers_can_convert_is_saved_from_a_task_once(cluster):
    notebook = Notebook(cluster, catalogue.facts("scanned_pages"), Scale.SMALL)
    url = notebook.model()
    assert is_saved(url)
    assert notebook.model() == url
    assert cluster.tasks == 1


def test_a_model_that_no_machine_can_convert_is_one_sentence_of_what_is_missing(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    cluster.home = tmp_path / "neither"
    with pytest.raises(EnvironmentMissingError, match=r"(?s)^pip could not download rapidocr.*No matching dist"):
        Notebook(cluster, catalogue.facts("scanned_pages"), Scale.SMALL).model()


def test_full_data_whose_hub_cannot_be_reached_is_one_sentence_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("SPARK_SIDECAR_DATA", str(tmp_path))
    notebook = Notebook(Cluster(), catalogue.facts("summarization"), Scale.FULL)
    with pytest.raises(StorageError, match=r"^hf://datasets/abisee/cnn_dailymail@\w{40}/3.0.0/\S+ could not be copied"):
        notebook.table("documents")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("root", ["hdfs://namenode/data", "abfss://data@account.dfs.core.windows.net/data"])
def test_a_place_that_cannot_hold_full_data_is_refused_with_what_to_set(root, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_DATA", root)
    notebook = Notebook(Cluster(), catalogue.facts("summarization"), Scale.FULL)
    said = rf"^the data set cnn_dailymail cannot be copied to {root}/cnn_dailymail-96df5e68: set SPARK_SIDECAR_DATA to"
    with pytest.raises(ConfigurationError, match=said):
        notebook.table("documents")


def test_a_table_keeps_what_a_text_holds_as_text():
    shown = display._markdown(["a"], [[display._text("<b>|x|</b>\n_y_")]])
    assert shown == "| a |\n| --- |\n| &lt;b&gt;\\|x\\|&lt;/b&gt; \\_y\\_ |"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12345, "0.123"),
        (1234.5, "1,234.5"),
        (2.0, "2"),
        (np.float32(8840), "8,840"),
        (7, "7"),
        (2026, "2026"),
        (np.int64(22450), "22,450"),
        (True, "True"),
        (float("nan"), "nan"),
        ("a\n b", "a b"),
        ("x" * 161, "x" * 159 + "…"),
    ],
)
def test_a_cell_of_a_table_is_one_short_line(value, shown):
    assert display._text(value) == shown


IN_A_TASK = """
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "worker.py", line 7, in <module>
    yield from ask(rows)
           ^^^^^^^^^
{}
"""
OF_JAVA = (
    "\n\tat org.apache.spark.api.python.BasePythonRunner.handle(PythonRunner.scala:572)\n\tat java.lang.Thread.run"
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            IN_A_TASK.format("server_utils.errors.InferenceError: row 17 is bad;\n  mend it"),
            "row 17 is bad;\n  mend it",
        ),
        (IN_A_TASK.format("ValueError: no such layer"), "ValueError: no such layer"),
        (f"o7.collect: {IN_A_TASK.format('ValueError: no such layer')}{OF_JAVA}", "ValueError: no such layer"),
        (
            IN_A_TASK.format("KeyError: 1\n\nDuring handling:\n")
            + IN_A_TASK.format("server_utils.errors.OutputError: a"),
            "a",
        ),
        ("[PATH_NOT_FOUND] Path does not exist: /x. SQLSTATE: 42K03;\n'Project ['x]", "[PATH_NOT_FOUND] Path does not"),
        ("", "RuntimeError"),
    ],
    ids=["ours", "python", "java", "chained", "query", "empty"],
)
def test_an_error_of_spark_is_shown_by_what_python_said_last_in_its_task(said, shown):
    assert display._sentence(RuntimeError(said)).startswith(shown)
    assert "  File" not in display._sentence(RuntimeError(said))


def test_a_review_holds_no_marks_of_html(tmp_path, monkeypatch):
    (tmp_path / "reviews").write_bytes(b"1\t2.5\tLilo &amp; Stitch\r\n")
    monkeypatch.setattr(assets, "get", lambda name: tmp_path / "reviews")
    assert [*datasets._movie_reviews()] == [(1, 2.5, "Lilo & Stitch")]
