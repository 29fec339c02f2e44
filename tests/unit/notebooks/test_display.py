"""Pictures and their titles; tables and errors are seen in tests/integration/notebooks."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from server_utils.notebooks import display

mpl.use("Agg")


def test_pictures_stand_in_rows_and_the_color_of_a_title_says_whether_it_is_right():
    from matplotlib import pyplot as plt

    display.show_pictures(np.zeros((4, 8, 8)), ["a", "b", "c", "d"], [True, False, True, True], columns=3)
    areas = plt.gcf().axes
    plt.close("all")
    assert len(areas) == 6
    assert [area.get_title() for area in areas] == ["a", "b", "c", "d", "", ""]
    assert [len(area.images) for area in areas] == [1, 1, 1, 1, 0, 0]
    green, red = (areas[number].title.get_color() for number in (0, 1))
    assert green != red
    assert [area.title.get_color() for area in areas[:4]] == [green, red, green, green]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "An error occurred while calling o42.collect.\n: org.apache.SparkException: too large\n\tat org.X.y(X:1)\n",
            "too large",
        ),
        ("[UNRESOLVED_COLUMN] no such column\n'Project ['x]\n", "[UNRESOLVED_COLUMN] no such column"),
    ],
)
def test_an_error_of_sparks_without_a_traceback_is_shown_by_its_reason(text, sentence):
    assert display._sentence(RuntimeError(text)) == sentence
