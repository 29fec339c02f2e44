from __future__ import annotations

import pytest

from server_utils.errors import ConfigurationError
from server_utils.inference.row_errors import check_on_error, column_type, row_error


@pytest.mark.parametrize("on_error", ["raise", "null", "struct"])
def test_the_three_policies_are_taken(on_error):
    check_on_error(on_error)


@pytest.mark.parametrize("on_error", ["skip", "", None])
def test_any_other_policy_is_refused_with_the_three(on_error):
    with pytest.raises(ConfigurationError, match=r'must be "raise", "null" or "struct"; it is'):
        check_on_error(on_error)


def test_a_column_has_room_for_errors_where_the_policy_wants_them():
    assert [column_type("int", policy) for policy in ("raise", "null", "struct")] == [
        "int",
        "int",
        "struct<value: int, error: string>",
    ]


def test_the_error_names_the_row_and_says_how_the_others_go_on():
    assert str(row_error(7, " has no text")) == (
        'row 7 of the input has no text. With on_error="null" or "struct" the other rows go on'
    )
