"""Numbers: native, contiguous float32, whatever they were, and fingerprinted by content."""

import numpy as np
import pytest

from skltransfer._engine.modalities import array as arrays
from skltransfer.cards import ArraySpec

ROW = np.array([1.5, -2, 3e4, 0], np.float32)


@pytest.mark.parametrize(
    "form",
    [
        ROW.astype(">f4"),
        ROW.astype(np.float64),
        ROW.astype(">f8"),
        ROW.astype(np.float16),
        np.repeat(ROW, 2)[::2],
        ROW[::-1].copy()[::-1],
        ROW.tolist(),
    ],
    ids=["big-endian", "float64", "big-endian float64", "float16", "strided", "reversed", "list"],
)
def test_row_in_any_form_becomes_native_contiguous_float32(form):
    row = arrays.to_numbers(np.asarray(form), ArraySpec())
    ((data,),) = arrays.ArrayPreparer(ArraySpec()).prepare([arrays.read(row)])
    assert (data.dtype, data.dtype.isnative, data.flags.c_contiguous) == (np.float32, True, True)
    np.testing.assert_array_equal(data, ROW)


@pytest.mark.parametrize("form", [ROW.astype(">f4"), np.repeat(ROW, 2)[::2]])
def test_fingerprint_is_that_of_the_numbers(form):
    assert arrays.read(form).digest() == arrays.read(ROW).digest()


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [("float64", [1 + 1e-12, -2.5]), ("int64", [2**53 + 1, -(2**62)]), ("uint64", [2**64 - 1, 0]), ("uint8", [255, 0])],
)
def test_numbers_keep_the_type_the_graph_takes(dtype, numbers):
    X = np.array(numbers, dtype)
    got = arrays.to_numbers(X, ArraySpec(dtype=dtype))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, X)


@pytest.mark.parametrize(
    ("dtype", "X"),
    [
        ("int64", [[1.0, 2.5]]),
        ("uint8", [[1, 256]]),
        ("uint8", [[0, -1]]),
        ("int32", [[0, 2**31]]),
        ("int64", [[0.0, 1e19]]),
        ("int64", np.array([[0, 2**63]], np.uint64)),
        ("bool", [[0, 2]]),
    ],
)
def test_number_that_would_change_is_refused_with_its_place(dtype, X):
    with pytest.raises(ValueError, match=rf"The graph takes {dtype}, and X\[0, 1\] is .*, which is none"):
        arrays.to_numbers(np.array(X), ArraySpec(dtype=dtype))


def test_whole_numbers_in_floats_are_taken():
    got = arrays.to_numbers(np.array([[1.0, 7.0]]), ArraySpec(dtype="int32"))
    assert (got.dtype, got.tolist()) == (np.int32, [[1, 7]])


def test_fingerprints_of_other_numbers_or_shapes_differ():
    rows = [ROW, ROW[::-1], ROW[:3], ROW.reshape(2, 2), ROW.reshape(4, 1), ROW.reshape(1, 4), -ROW, ROW[:0]]
    assert len({arrays.read(row).digest() for row in rows}) == len(rows)


def test_fingerprints_of_one_number_in_many_do_not_collide():
    rows = np.zeros((1000, 4), np.float32)
    rows[:, 2] = np.arange(1000)
    assert len({arrays.read(row).digest() for row in rows}) == 1000


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5)])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_probe_rows_are_three_of_the_shape_of_a_sample_and_differ(shape, value):
    three = arrays.ArrayPreparer(ArraySpec()).probe([np.full(shape, value, np.float32)])
    assert (three.shape, three.dtype) == ((3, *shape), np.float32)
    assert len({row.tobytes() for row in three}) == 3


def test_probe_rows_are_those_at_hand():
    own = np.array([[3, 1], [3, 1], [2, 9], [4, 4]])
    np.testing.assert_array_equal(arrays.ArrayPreparer(ArraySpec(dtype="int64")).probe(own), own[[0, 2, 3]])


def test_probe_rows_of_whole_numbers_have_no_number_but_zero_that_is_not_at_hand():
    three = arrays.ArrayPreparer(ArraySpec(dtype="int64")).probe([np.array([5, 7, 9])])
    assert set(three.ravel().tolist()) <= {0, 5, 7, 9}
