"""The demo as a user types it: real Spark, real Triton servers, the real model and the real text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.fakes import processes_of

from server_utils.demo import assets
from server_utils.demo.reviews import QUERIES, evenly, read
from server_utils.errors import EnvironmentMissingError
from server_utils.host.processes import wait_until

ROWS = 64
DEMO = [str(Path(sys.executable).with_name("spark-sidecar")), "demo", "--rows", str(ROWS), "--json", "--output"]


@pytest.fixture(scope="module")
def demo(state_root, tmp_path_factory):
    """One run, and its output folder."""
    try:
        assets.minilm_path(), assets.movie_reviews_path()
    except EnvironmentMissingError as err:
        pytest.skip(str(err))
    folder = tmp_path_factory.mktemp("demo")
    return subprocess.run([*DEMO, str(folder)], capture_output=True, text=True, check=False), folder


@pytest.fixture(scope="module")
def said(demo):
    """The object it printed, and nothing else."""
    done, _ = demo
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def table(said):
    return pq.read_table(said["parquet"])


def test_it_says_what_it_did(said):
    assert (said["rows"], said["total"], said["servers"], said["restarts"]) == (ROWS, 10_605, 2, 0)
    assert 0 < said["start_s"] < said["seconds"]
    assert said["rows_per_s"] > 0


def test_every_row_is_in_the_parquet_once_with_its_score_and_text(table):
    wanted = evenly(read(assets.movie_reviews_path()), ROWS)
    found = sorted(table.select(["id", "score", "text"]).to_pylist(), key=lambda row: row["id"])
    assert found == [vars(review) for review in wanted]


def test_every_vector_has_the_length_one(table):
    vectors = np.stack(table["vector"].to_numpy())
    assert vectors.shape == (ROWS, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)


def test_every_query_has_three_answers_best_first(said):
    assert [search["query"] for search in said["searches"]] == list(QUERIES)
    for search in said["searches"]:
        similarities = [answer["similarity"] for answer in search["answers"]]
        assert len(similarities) == 3
        assert similarities == sorted(similarities, reverse=True)


def test_a_query_finds_a_review_of_its_topic(said):
    best = {search["query"]: search["answers"][0]["text"] for search in said["searches"]}
    assert "hip hop" in best["a documentary about musicians"]


def test_there_is_a_picture_and_a_log_of_spark(said, demo):
    _, folder = demo
    assert (folder / "reviews.png").read_bytes().startswith(b"\x89PNG")
    assert said["plot"] == str(folder / "reviews.png")
    assert "WARN" in (folder / "spark.log").read_text()


def test_the_noise_of_spark_is_not_on_the_console(demo):
    done, _ = demo
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert not [line for line in lines if any(word in line for word in ("WARN", "Traceback", "java", "\tat "))]
    assert len(lines) == 3, done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
def test_control_c_stops_everything_without_a_stack_trace(state_root, tmp_path):
    process = subprocess.Popen(
        [*DEMO, str(tmp_path)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert wait_until(lambda: processes_of(state_root), 120), "no server was started"
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert not processes_of(state_root)
