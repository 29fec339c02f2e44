"""The demo without Spark and servers: its text, its arithmetic, its picture and its words."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from server_utils.demo import report, triton_report
from server_utils.demo.reviews import Review, evenly, read, top_hits, widest_plane
from server_utils.demo.triton import main
from server_utils.demo.triton_plot import Pin, draw
from server_utils.demo.triton_report import Answer, Report, Search
from server_utils.errors import ConfigurationError, EnvironmentMissingError

PNG = b"\x89PNG\r\n\x1a\n"
SOME = [Review(number, number / 10, f"review {number}") for number in range(1, 11)]
DONE = Report(
    rows=5,
    total=10,
    rows_per_s=2.5,
    servers=2,
    restarts=0,
    start_s=7.25,
    seconds=30.5,
    parquet=Path("/a/reviews.parquet"),
    plot=Path("/a/reviews.png"),
    searches=[Search("café", [Answer(3, 0.75, -1.5, "a [bold]  film")])],
)


@pytest.fixture
def clouds():
    """Vectors that vary a lot along one axis of five, some along another, and hardly along the others."""
    random = np.random.default_rng(0)
    return (random.normal(size=(500, 5)) * [0.01, 3, 0.01, 1, 0.01] + 7).astype(np.float32)


def test_the_file_is_read_as_it_is_quotes_and_odd_separators_included(tmp_path):
    file = tmp_path / "reviews.txt"
    file.write_bytes('1\t2.5\tsay "no"\u2028or\x85yes\tnow\r\n2\t-0.5\tcafé\r\n3\t0\tthe last line has no end'.encode())
    assert read(file) == [
        Review(1, 2.5, 'say "no"\u2028or\x85yes\tnow'),
        Review(2, -0.5, "café"),
        Review(3, 0.0, "the last line has no end"),
    ]


@pytest.mark.parametrize("content", [b"1\t2.5\r\n", b"one\t2.5\ttext", b"1\t\ttext", b"1\t2.5\t\xff"])
def test_a_file_that_is_no_such_file_is_an_error_that_says_what_to_do(tmp_path, content):
    file = tmp_path / "reviews.txt"
    file.write_bytes(content)
    with pytest.raises(EnvironmentMissingError, match="spark-sidecar assets fetch"):
        read(file)


@pytest.mark.parametrize("rows", [1, 3, 7, 10])
def test_a_part_is_spread_evenly_and_holds_nothing_twice(rows):
    ids = [review.id for review in evenly(SOME, rows)]
    assert len(ids) == rows
    assert max(np.diff(ids), default=0) - min(np.diff(ids), default=0) <= 1
    assert ids == sorted(set(ids))


def test_more_rows_than_there_are_is_all_of_them():
    assert evenly(SOME, 99) == SOME


def test_top_hits_are_the_smallest_angles_whatever_the_lengths():
    vectors = np.array([[1, 0], [100, 100], [0, 0.1], [-1, 0]], dtype=np.float32)
    hits = top_hits(vectors, np.array([0, 5], dtype=np.float32))
    assert [hit.row for hit in hits] == [2, 1, 0]
    assert [hit.similarity for hit in hits] == pytest.approx([1, np.sqrt(0.5), 0], abs=1e-6)


def test_a_vector_of_length_zero_is_similar_to_nothing():
    hits = top_hits(np.zeros((1, 2), dtype=np.float32), np.ones(2, dtype=np.float32))
    assert [hit.similarity for hit in hits] == [0]


def test_there_are_no_more_hits_than_rows():
    assert len(top_hits(np.ones((2, 4)), np.ones(4), count=3)) == 2


def test_the_map_shows_the_axes_of_most_variance(clouds):
    plane = widest_plane(clouds)
    assert np.abs(plane.axes).argmax(axis=1).tolist() == [1, 3]
    assert sum(plane.shares) == pytest.approx(1, abs=0.01)
    assert plane.shares[0] == pytest.approx(0.9, abs=0.03)


def test_the_map_is_what_a_singular_value_decomposition_gives(clouds):
    plane = widest_plane(clouds)
    _, _, rows = np.linalg.svd(clouds - clouds.mean(axis=0), full_matrices=False)
    assert np.abs(plane.axes) == pytest.approx(np.abs(rows[:2]), abs=1e-3)
    assert plane.place(clouds).mean(axis=0) == pytest.approx(0, abs=1e-4)


def test_the_map_is_the_same_whatever_the_order_of_the_rows(clouds):
    assert widest_plane(clouds[::-1]).axes == pytest.approx(widest_plane(clouds).axes, abs=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 500])
def test_the_picture_is_a_png_however_few_the_rows(clouds, rows, tmp_path):
    target = tmp_path / "map.png"
    pins = [Pin(query, clouds[number], [0, rows - 1], "[an] $answer$ " * 40) for number, query in enumerate("ab")]
    draw(clouds[:rows], np.linspace(-4, 4, rows), pins, target)
    assert target.read_bytes().startswith(PNG)


def test_json_is_one_object_and_every_fact_is_in_it(capsys):
    report.print_json(DONE)
    said = json.loads(capsys.readouterr().out)
    assert said["parquet"] == "/a/reviews.parquet"
    assert said["searches"] == [
        {"query": "café", "answers": [{"id": 3, "similarity": 0.75, "score": -1.5, "text": "a [bold]  film"}]}
    ]
    assert {"rows", "rows_per_s", "servers", "start_s", "seconds", "plot"} <= set(said)


def test_the_tables_say_which_part_was_done_and_how_to_do_all(capsys):
    triton_report.print_tables(DONE)
    said = capsys.readouterr().out
    assert "5 of 10 (50%)" in said
    assert "a [bold] film" in said
    assert "--rows 10" in said
    assert "/a/reviews.png" in said


def test_a_folder_that_cannot_be_written_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="--output"):
        main(1, tmp_path / "file" / "below", as_json=True)


def test_what_was_not_built_yet_is_one_line_that_names_the_command(tmp_path):
    environ = os.environ | {"SPARK_SIDECAR_HOME": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("spark-sidecar")), "demo", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "spark-sidecar env build triton" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_the_extras_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith(("matplotlib.", "server_utils.demo."))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(EnvironmentMissingError, match=r"matplotlib.* pip install 'spark-sidecar\[cli,plot,spark\]'"):
        importlib.import_module("server_utils.demo.triton")
