"""Pictures and their titles; tables and errors are seen in tests/integration/notebooks."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np

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
