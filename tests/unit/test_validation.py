"""What messages about unknown names end with."""

from __future__ import annotations

import pytest

from server_utils.validation import did_you_mean


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("frmat", "; did you mean format? choose one of format, Parts, path-of-run"),
        ("parts", "; did you mean Parts? choose one of format, Parts, path-of-run"),
        ("run", "; did you mean path-of-run? choose one of format, Parts, path-of-run"),
        ("", "; choose one of format, Parts, path-of-run"),
        ("xyz", "; choose one of format, Parts, path-of-run"),
        (None, "; choose one of format, Parts, path-of-run"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_there_are(name, end):
    assert did_you_mean(name, ["format", "Parts", "path-of-run"]) == end


@pytest.mark.parametrize(
    ("name", "end"), [("part", "; did you mean parts or part_no?"), ("xyz", "; `x --help` lists them")]
)
def test_of_a_long_list_the_nearest_are_shown_or_where_the_list_is(name, end):
    assert did_you_mean(name, ["parts", "part_no", "format"], otherwise="`x --help` lists them") == end
