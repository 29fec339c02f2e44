"""The demo with a language model, without Spark and servers: its sample, its scores, its picture and its words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from server_utils.demo import llm_report, report
from server_utils.demo.llm_plot import draw, stacked
from server_utils.demo.llm_report import LLMReport, Person
from server_utils.demo.reviews import Review
from server_utils.demo.sentiment import (
    CHOICES,
    NEGATIVE,
    POSITIVE,
    Cell,
    Judged,
    accuracy,
    balanced,
    clearest,
    confusion,
    few_shots,
    human_label,
    prompt_parts,
)

PNG = b"\x89PNG\r\n\x1a\n"
# Scores from -4 to 4, in an order of their own; each third text is too long for an example.
SOME = [Review(n, (n * 37 % 81 - 40) / 10, f"review {n} " + "long " * 30 * (n % 3 == 0)) for n in range(400)]


def judged(number, score, model, text="a text"):
    return Judged(number, score, text, human_label(score), model)


FOUR = [
    judged(1, 2.0, POSITIVE),
    judged(2, 1.5, NEGATIVE, "a [bold]  film"),
    judged(3, -3.0, NEGATIVE, "no $sense$"),
    judged(4, 3.5, POSITIVE),
]
DONE = LLMReport(
    rows=4,
    rows_per_s=18.25,
    tokens_in=1_600,
    tokens_out=8,
    tokens_in_per_s=7_300.0,
    tokens_out_per_s=36.5,
    prefix_hits=0.86,
    accuracy=0.75,
    servers=2,
    restarts=0,
    start_s=24.5,
    seconds=90.0,
    parquet=Path("/a/opinions.parquet"),
    plot=Path("/a/opinions.png"),
    confusion=confusion(FOUR),
    right=clearest(FOUR, 1),
    wrong=FOUR[1:2],
    people=[Person("Maria, 42.", "Maria", 42, None, right=False)],
)


@pytest.mark.parametrize("rows", [1, 2, 9, 60])
def test_the_sample_is_balanced_of_clear_opinion_and_holds_nothing_twice(rows):
    sample = balanced(SOME, rows)
    labels = [human_label(review.score) for review in sample]
    assert labels.count(POSITIVE) == labels.count(NEGATIVE) == max(rows // 2, 1)
    assert min(abs(review.score) for review in sample) >= 1
    assert len({review.id for review in sample}) == len(sample)


def test_more_rows_than_there_are_is_all_of_the_smaller_half_twice():
    sample = balanced(SOME, 10_000)
    assert 0 < len(sample) < len(SOME)
    assert len([review for review in sample if review.score > 0]) * 2 == len(sample)


def test_no_example_of_the_prompt_is_ever_asked():
    shown = few_shots(SOME)
    assert not {review.id for review in shown} & {review.id for review in balanced(SOME, 10_000)}
    assert [human_label(review.score) for review in shown] == [POSITIVE, NEGATIVE] * 6
    assert max(len(review.text) for review in shown) < 120


def test_the_prompt_shows_examples_with_their_labels_and_ends_where_the_answer_begins():
    before, behind = prompt_parts([Review(1, 3.0, "good"), Review(2, -3.0, "bad")])
    prompt = f"{before}fine{behind}"
    assert prompt.endswith(
        "Review: good\nSentiment: positive\n\nReview: bad\nSentiment: negative\n\nReview: fine\nSentiment:"
    )
    assert [choice.strip() for choice in CHOICES] == [POSITIVE, NEGATIVE]
    assert f"{prompt}{CHOICES[0]}".endswith("Sentiment: positive")  # exactly as in the examples


def test_the_confusion_table_has_all_four_cells():
    assert confusion(FOUR) == [
        Cell(POSITIVE, POSITIVE, 2),
        Cell(POSITIVE, NEGATIVE, 1),
        Cell(NEGATIVE, POSITIVE, 0),
        Cell(NEGATIVE, NEGATIVE, 1),
    ]
    assert accuracy(FOUR) == 0.75


def test_the_clearest_cases_come_from_both_sides_by_turns():
    assert [each.id for each in clearest(FOUR, 3)] == [4, 3, 1]
    assert [each.id for each in clearest(FOUR, 99)] == [4, 3, 1, 2]


def test_dots_stand_on_one_another_upwards_if_right_and_downwards_if_wrong():
    same = [judged(1, 2.1, POSITIVE), judged(2, 2.1, POSITIVE), judged(3, 2.1, NEGATIVE), judged(4, -2.1, NEGATIVE)]
    places = stacked(same)
    assert [height for _, height in places.values()] == [1, 2, -1, 1]
    assert [score for score, _ in places.values()] == pytest.approx([2.1, 2.1, 2.1, -2.1])


def test_a_dot_is_never_further_than_half_a_column_from_its_score():
    some = [judged(review.id, review.score, POSITIVE) for review in SOME if review.score]
    assert max(abs(stacked(some)[each.id][0] - each.score) for each in some) <= 0.1 + 1e-9


@pytest.mark.parametrize("count", [1, 2, 4, 400])
def test_the_picture_is_a_png_however_few_the_reviews(count, tmp_path):
    many = [*FOUR, *(judged(100 + review.id, review.score, POSITIVE) for review in SOME)]
    draw(many[:count], DONE, tmp_path / "opinions.png")
    assert (tmp_path / "opinions.png").read_bytes().startswith(PNG)


def test_json_is_one_object_and_every_fact_is_in_it(capsys):
    report.print_json(DONE)
    said = json.loads(capsys.readouterr().out)
    assert said["parquet"] == "/a/opinions.parquet"
    assert said["confusion"][1] == {"human": "positive", "model": "negative", "rows": 1}
    assert said["right"][0] == {"id": 4, "score": 3.5, "text": "a text", "human": "positive", "model": "positive"}
    assert said["people"] == [{"text": "Maria, 42.", "name": "Maria", "age": 42, "city": None, "right": False}]
    assert {"rows", "tokens_in", "tokens_out_per_s", "prefix_hits", "accuracy", "start_s", "plot"} <= set(said)


def test_the_tables_show_speed_scores_examples_and_files(capsys):
    llm_report.print_tables(DONE)
    said = capsys.readouterr().out
    assert all(word in said for word in ("18.2", "7,300.0", "86%", "75%", "24.5 s", "/a/opinions.png"))
    assert "a [bold] film" in said
    assert "Maria" in said
    assert "None" not in said


def test_restarts_are_shown(capsys):
    llm_report.print_tables(replace(DONE, restarts=7))
    assert "7" in capsys.readouterr().out


def test_what_was_not_built_yet_is_one_line_that_names_the_command(tmp_path):
    environ = os.environ | {"SPARK_SIDECAR_HOME": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("spark-sidecar")), "demo", "--llm", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "spark-sidecar env build vllm" in done.stderr
    assert done.stderr.count("\n") == 1
