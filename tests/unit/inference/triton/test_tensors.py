from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest

from server_utils.errors import ConfigurationError, InferenceError
from server_utils.inference.triton.model import Tensor
from server_utils.inference.triton.tensors import Rows, to_arrow, wrong_answers
from server_utils.inference.utf8 import PROBLEM


def tensor(shape=(3,), dtype=np.float32):
    return Tensor("x", np.dtype(dtype), shape)


def taken(column, spec):
    rows = Rows(column, spec)
    return rows.take(np.flatnonzero(~rows.null))


def test_lists_of_floats_become_one_array_without_a_copy():
    column = pa.array([[1.0, 2, 3], [4, 5, 6]], pa.list_(pa.float32()))
    result = taken(column, tensor())
    assert result.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.shares_memory(result, column.flatten().to_numpy())


def test_a_slice_of_a_column_has_its_own_rows():
    column = pa.array([[0.0] * 3, [1, 2, 3], [4, 5, 6], None], pa.list_(pa.float32())).slice(1)
    assert taken(column, tensor()).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_rows_that_do_not_adjoin_are_gathered():
    column = pa.array([[1.0, 2], [9], [3, 4]], pa.list_(pa.float32()))
    assert Rows(column, tensor((-1,))).take(np.array([0, 2])).tolist() == [[1, 2], [3, 4]]


def test_null_rows_are_null_and_hidden_values_below_them_are_left_out():
    values = pa.array([1.0, 2, 3, 7, 7, 7, 4, 5, 6], pa.float32())
    column = pa.ListArray.from_arrays(pa.array([0, 3, 6, 9], pa.int32()), values, mask=pa.array([False, True, False]))
    rows = Rows(column, tensor())
    assert rows.null.tolist() == [False, True, False]
    assert rows.take(np.array([0, 2])).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_row_of_the_wrong_size_is_named_with_the_shape_that_is_wanted():
    rows = Rows(pa.array([[1.0, 2, 3], [1, 2]], pa.list_(pa.float32())), tensor())
    assert list(rows.errors) == [1]
    assert "2 elements" in rows.errors[1]
    assert "(3,)" in rows.errors[1]


def test_a_null_inside_a_row_is_an_error_of_that_row_and_nan_is_not():
    rows = Rows(pa.array([[1.0, None, 3], [float("nan"), 2, 3]], pa.list_(pa.float32())), tensor())
    assert list(rows.errors) == [0]
    assert "null inside" in rows.errors[0]
    assert np.isnan(rows.take(np.array([1]))[0, 0])


def test_a_shape_of_several_sizes_is_filled_in_row_major_order():
    result = taken(pa.array([[1, 2, 3, 4]], pa.list_(pa.int64())), tensor((2, 2), np.int64))
    assert result.tolist() == [[[1, 2], [3, 4]]]


def test_binary_columns_hold_little_endian_elements():
    raw = np.arange(6, dtype="<f4").reshape(2, 3)
    column = pa.array([raw[0].tobytes(), None, raw[1].tobytes()], pa.binary())
    assert taken(column, tensor()).tolist() == raw.tolist()


def test_binary_columns_are_viewed_without_a_copy_whatever_part_of_them_is_asked_for():
    column = pa.array([np.full(3, n, "<f4").tobytes() for n in range(4)], pa.binary()).slice(1, 2)
    result = taken(column, tensor())
    assert result.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert np.shares_memory(result, np.frombuffer(column.buffers()[2], np.uint8))


def test_large_binary_and_empty_columns_are_fine():
    assert taken(pa.array([np.ones(3, "<f4").tobytes()], pa.large_binary()), tensor()).tolist() == [[1, 1, 1]]
    assert Rows(pa.array([], pa.binary()), tensor()).widths.tolist() == []
    assert Rows(pa.array([None, b""], pa.binary()), tensor()).widths.tolist() == [0, 0]


def test_a_binary_row_of_a_broken_element_is_an_error_of_that_row():
    column = pa.array([b"\0" * 12, b"\0" * 7, b"\1" * 12], pa.binary())
    rows = Rows(column, tensor())
    assert list(rows.errors) == [1]
    assert "7 bytes" in rows.errors[1]
    assert rows.take(np.array([0, 2]))[1].tobytes() == b"\1" * 12


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_text_and_bytes_are_one_element_a_row(kind):
    column = pa.array(["a", None, "", "longer"], kind)
    rows = Rows(column, tensor((1,), np.object_))
    assert rows.null.tolist() == [False, True, False, False]
    result = rows.take(np.array([0, 2, 3]))
    assert result.shape == (3, 1)
    assert rows.sizes.tolist() == [1, 0, 0, 6]


def test_plain_numbers_are_one_element_a_row_and_are_widened():
    assert taken(pa.array([1, None, 3], pa.int32()), tensor((1,))).tolist() == [[1], [3]]


def test_a_column_of_nothing_but_nulls_needs_no_type():
    assert Rows(pa.nulls(3), tensor()).null.all()
    assert Rows(pa.nulls(3), tensor((1,), np.object_)).null.all()


@pytest.mark.parametrize(
    ("kind", "numbers", "wrong"),
    [
        (np.int32, [[1, 2**31 - 1], [2**31, 0], None, [0, -(2**31)], [0, -(2**31) - 1]], [1, 4]),
        (np.uint8, [[0, 255], None, [0, 256], [-1, 3], [7, 7]], [2, 3]),
        (np.int64, [[2**63 - 1, -(2**63)]], []),
        (np.float32, [[2**40 + 7, 1]], []),
    ],
)
def test_a_whole_number_that_the_models_type_cannot_hold_is_an_error_of_its_row(kind, numbers, wrong):
    rows = Rows(pa.array(numbers, pa.list_(pa.int64())), tensor((2,), kind))
    assert list(rows.errors) == wrong
    assert all("too large or too small" in problem and kind.__name__ in problem for problem in rows.errors.values())
    sound = [row for row, number in enumerate(numbers) if number and row not in wrong]
    assert rows.take(np.array(sound)).tolist() == [[kind(each) for each in numbers[row]] for row in sound]


@pytest.mark.parametrize(
    ("kind", "numbers", "wrong"),
    [
        (np.float16, pa.array([[1.0, 65504], [65520, 0], None, [float("inf"), float("nan")], [0, -1e300]]), [1, 4]),
        (np.float16, pa.array([[65519, 1], [65520, 1], [-100_000, 2]]), [1, 2]),
        (np.float16, pa.array([[1.0, 2], [1e30, 0]], pa.list_(pa.float32())), [1]),
        (np.float32, pa.array([[1e38, 1e-60], [1e39, 0], [-float("inf"), 0]]), [1]),
        (np.float64, pa.array([[1e300, 2.5]]), []),
    ],
)
def test_a_finite_number_that_becomes_infinite_in_the_models_type_is_an_error_of_its_row(kind, numbers, wrong):
    rows = Rows(numbers, tensor((2,), kind))
    assert list(rows.errors) == wrong
    for row, given in enumerate(numbers.to_pylist()):
        if given and row not in wrong:
            np.testing.assert_array_equal(rows.take(np.array([row]))[0], np.array(given, kind))


def test_numbers_that_the_model_takes_as_they_are_are_not_copied_to_be_looked_at():
    column = pa.array([[1.0, 2, 3]], pa.list_(pa.float64()))
    assert np.shares_memory(taken(column, tensor((3,), np.float64)), column.flatten().to_numpy())


def not_utf8(*rows):
    """Texts, some of them not UTF-8, as Spark hands them out."""
    return pa.array(rows, pa.binary()).view(pa.string())


def test_a_text_that_is_not_utf8_is_an_error_of_its_row_and_the_others_are_sent_as_they_are():
    column = not_utf8(b"a", b"caf\xe9", None, b"\0", "é".encode(), b"\xed\xa0\x80", b"")
    rows = Rows(column, tensor((1,), np.object_))
    assert rows.errors == {1: PROBLEM, 5: PROBLEM}
    assert rows.take(np.array([0, 3, 4, 6]))[:, 0].tolist() == [b"a", b"\0", "é".encode(), b""]


def test_texts_in_arrays_that_are_not_utf8_are_errors_of_their_rows():
    texts = not_utf8(b"a", b"\xff", b"b", b"c", b"\xfe", b"\xfd")
    rows = Rows(pa.ListArray.from_arrays(pa.array([0, 2, 4, 6], pa.int32()), texts), tensor((2,), np.object_))
    assert rows.errors == {0: PROBLEM, 2: PROBLEM}
    assert rows.take(np.array([1])).tolist() == [[b"b", b"c"]]


def test_bytes_need_not_be_text():
    assert taken(pa.array([b"\xff\0"]), tensor((1,), np.object_)).tolist() == [[b"\xff\0"]]


@pytest.mark.parametrize("kind", [np.float32, np.object_])
def test_an_empty_row_is_an_error_where_the_model_cannot_have_one(kind):
    column = pa.array([[], None, ["a"] if kind is np.object_ else [1.5]])
    assert list(Rows(column, tensor((-1,), kind), empty=False).errors) == [0]
    assert not Rows(column, tensor((-1,), kind)).errors


def test_arrays_of_nothing_but_nulls_need_no_type():
    assert list(Rows(pa.array([[None], [], None]), tensor((-1,))).errors) == [0]


@pytest.mark.parametrize(
    ("column", "spec", "says"),
    [
        (pa.array([[1.5]], pa.list_(pa.float64())), tensor((1,), np.int64), "cast it"),
        (pa.array(["a"]), tensor((1,)), "cast it"),
        (pa.array([1.5]), tensor((1,), np.uint8), "cast it"),
        (pa.array([1.5]), tensor((1,), np.object_), "cast it"),
        (pa.array([[[1.0]]], pa.list_(pa.list_(pa.float32()))), tensor((1,)), "flatten"),
        (pa.array([{"a": 1}]), tensor((1,)), "use an array"),
        (pa.array([decimal.Decimal("1.5")]), tensor((1,)), "cast it"),
        (pa.array([[decimal.Decimal("1.5")]]), tensor((1,), np.object_), "cast it"),
        (pa.array([dt.date(2024, 1, 1)]), tensor((1,), np.int64), "cast it"),
        (pa.array([dt.timedelta(1)]), tensor((1,), np.int64), "cast it"),
        (pa.array([True]), tensor((1,), np.object_), "cast it"),
        (pa.array([1]), tensor((1,), np.bool_), "cast it"),
        (pa.array([[["a"]]]), tensor((1,), np.object_), "flatten"),
    ],
)
def test_a_column_that_cannot_be_sent_is_refused_with_what_to_do(column, spec, says):
    with pytest.raises(ConfigurationError, match=says):
        Rows(column, spec)


def test_answers_become_a_column_with_nulls_where_nothing_was_asked():
    parts = [
        (np.array([0, 1]), np.array([[1, 2], [3, 4]], np.float32)),
        (np.array([3]), np.array([[5, 6]], np.float32)),
    ]
    assert to_arrow(parts, 5, tensor((2,))).to_pylist() == [[1, 2], [3, 4], None, [5, 6], None]


def test_answers_of_one_element_become_a_plain_column():
    result = to_arrow([(np.array([1]), np.array([[7]], np.uint8))], 3, tensor((1,), np.uint8))
    assert result.to_pylist() == [None, 7, None]
    assert result.type == pa.int16()


def test_an_unsigned_answer_that_spark_has_no_type_for_is_refused_rather_than_wrapped():
    spec = tensor((1,), np.uint64)
    assert to_arrow([(np.array([0]), np.array([[2**63 - 1]], np.uint64))], 1, spec).to_pylist() == [2**63 - 1]
    with pytest.raises(
        InferenceError, match=r"uint64 holds a number that Spark's bigint cannot: .*9223372036854775808"
    ):
        to_arrow([(np.array([0]), np.array([[2**63]], np.uint64))], 1, spec)


def test_no_answers_at_all_are_a_column_of_nulls():
    assert to_arrow([], 2, tensor((2,))).to_pylist() == [None, None]
    assert to_arrow([], 2, tensor((1,), np.object_)).to_pylist() == [None, None]


def test_answers_of_different_widths_keep_their_rows():
    parts = [(np.array([0]), np.ones((1, 1), np.float32)), (np.array([1]), np.zeros((1, 3), np.float32))]
    assert to_arrow(parts, 2, tensor((-1,))).to_pylist() == [[1], [0, 0, 0]]


def test_texts_come_back_as_text():
    answers = np.array([["é".encode()], [b""]], dtype=object)
    assert to_arrow([(np.array([0, 1]), answers)], 2, tensor((1,), np.object_)).to_pylist() == ["é", ""]


def test_answers_that_are_no_text_are_told_by_row_and_may_be_had_as_they_are():
    answers = np.array([[b"a", b"b"], [b"a", b"\xff"], ["é".encode(), b"\0"]], dtype=object)
    spec = tensor((2,), np.object_)
    assert list(wrong_answers(answers, spec)) == [1]
    assert 'as_type="binary"' in wrong_answers(answers, spec)[1]
    assert not wrong_answers(answers, spec.as_type("binary"))
    result = to_arrow([(np.array([0, 1, 2]), answers)], 3, spec.as_type("binary"))
    assert result.type == pa.list_(pa.binary())
    assert result.to_pylist() == answers.tolist()


@pytest.mark.parametrize("kind", [np.bool_, np.int8, np.uint8, np.uint32, np.float16, np.float64])
def test_answers_of_types_that_spark_has_room_for_are_never_wrong(kind):
    assert not wrong_answers(np.array([[0], [1]], kind), tensor((1,), kind))


def test_answers_that_spark_has_no_room_for_are_told_by_row():
    answers = np.array([[1, 2**63], [2**63 - 1, 3]], np.uint64)
    assert list(wrong_answers(answers, tensor((2,), np.uint64))) == [0]
    assert not wrong_answers(np.empty((2, 0), np.uint64), tensor((-1,), np.uint64))
