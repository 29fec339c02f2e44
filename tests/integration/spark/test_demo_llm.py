"""The demo with a language model as a user types it: real Spark, real vLLM servers, a real model and real text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pyspark
import pytest

from server_utils.demo import assets
from server_utils.demo.reviews import read
from server_utils.demo.sentiment import balanced, human_label
from server_utils.environments import builder
from server_utils.errors import EnvironmentMissingError

ROWS = 40
DEMO = [str(Path(sys.executable).with_name("spark-sidecar")), "demo", "--llm", "--rows", str(ROWS), "--json"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(pyspark.__version__ < "4", reason="once is enough: the columns are tested on every Spark"),
]


@pytest.fixture(scope="module")
def demo(state_root, tmp_path_factory):
    """One run."""
    try:
        builder.find("vllm"), assets.smollm2_path(), assets.movie_reviews_path()
    except EnvironmentMissingError as err:
        pytest.skip(str(err))
    command = [*DEMO, "--output", str(tmp_path_factory.mktemp("demo"))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def said(demo):
    """The object it printed, and nothing else."""
    assert demo.returncode == 0, demo.stderr
    return json.loads(demo.stdout)


def test_every_review_is_labelled_once_by_one_of_the_two_words(said):
    rows = sorted(pq.read_table(said["parquet"]).to_pylist(), key=lambda row: row["id"])
    wanted = sorted(balanced(read(assets.movie_reviews_path()), ROWS), key=lambda review: review.id)
    assert [(row["id"], row["text"], row["human"]) for row in rows] == [
        (review.id, review.text, human_label(review.score)) for review in wanted
    ]
    assert {row["model"] for row in rows} == {"positive", "negative"}


def test_the_model_agrees_with_people_far_more_often_than_a_coin(said):
    assert said["accuracy"] >= 0.75  # it was 0.89 of 100 rows, and 0.86 of 600
    assert sum(cell["rows"] for cell in said["confusion"] if cell["human"] == cell["model"]) == said["accuracy"] * ROWS


def test_both_servers_worked_and_counted_their_tokens(said):
    assert (said["rows"], said["servers"], said["restarts"]) == (ROWS, 2, 0)
    assert said["tokens_in"] > 300 * ROWS  # each prompt holds twelve examples …
    assert said["prefix_hits"] > 0.5  # … which a server reads once
    assert ROWS <= said["tokens_out"] <= 4 * ROWS
    assert 0 < said["start_s"] < said["seconds"]


def test_facts_come_back_as_typed_columns(said):
    assert len(said["people"]) == 4
    assert all(isinstance(person["age"], int) for person in said["people"])
    assert sum(person["right"] for person in said["people"]) >= 3


def test_there_is_a_picture_and_no_noise_of_spark_on_the_console(said, demo):
    assert Path(said["plot"]).read_bytes().startswith(b"\x89PNG")
    lines = [line for line in demo.stderr.splitlines() if line.strip()]
    assert len(lines) == 4, demo.stderr
