"""Columns as old Sparks hand them out, made Arrow's again. No Spark."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from server_utils.errors import ConfigurationError
from server_utils.inference.pandas_compat import INVALID, NULL, to_arrow
from server_utils.inference.triton.model import Tensor
from server_utils.inference.triton.tensors import Rows
from server_utils.inference.utf8 import PROBLEM

TEXT = Tensor("x", np.dtype(object), (-1,))


def objects(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return pd.Series(array)


def states(*values):
    return pd.Series(np.array(values, np.int32))


def test_texts_that_pandas_cannot_have_are_wrong_again_and_the_others_what_they_were():
    column = to_arrow(objects("é", None, None, ""), states(0, INVALID, NULL, 0), TEXT)
    rows = Rows(column, TEXT)
    assert rows.errors == {1: PROBLEM}
    assert rows.null.tolist() == [False, False, True, False]
    assert rows.take(np.array([0, 3]))[:, 0].tolist() == ["é".encode(), b""]


def test_so_are_texts_in_arrays():
    column = to_arrow(objects(np.array(["é", None], object), None, None), states(0, INVALID, NULL), TEXT)
    assert column.slice(2).to_pylist() == [None]
    assert Rows(column, TEXT).errors[1] == PROBLEM
    assert "null inside" in Rows(column, TEXT).errors[0]


def test_a_column_of_nothing_but_texts_that_are_wrong_needs_no_other():
    column = to_arrow(objects(None, None), states(INVALID, INVALID), TEXT)
    assert set(Rows(column, TEXT).errors.values()) == {PROBLEM}


def test_structs_are_refused_for_their_type():
    with pytest.raises(ConfigurationError, match="a column of structs cannot be sent"):
        to_arrow(pd.DataFrame({"a": ["x"], "b": [1]}), states(0), TEXT)


def test_whole_numbers_beside_nulls_are_whole_again():
    numbers = Tensor("x", np.dtype(np.int64), (1,))
    assert to_arrow(pd.Series([1.0, np.nan]), states(0, NULL), numbers).to_pylist() == [1, None]
    with pytest.raises(ConfigurationError, match="fill the nulls in Spark first"):
        to_arrow(pd.Series([2.0**53, np.nan]), states(0, NULL), numbers)
