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
    ((data,),) = arrays.ArrayPreparer(ArraySpec()).prepare([arrays.read(form)])
    assert (data.dtype, data.dtype.isnative, data.flags.c_contiguous) == (np.float32, True, True)
    np.testing.assert_array_equal(data, ROW)


@pytest.mark.parametrize("form", [ROW.astype(">f4"), ROW.astype(np.float64), np.repeat(ROW, 2)[::2]])
def test_fingerprint_is_that_of_the_numbers(form):
    assert arrays.read(form).digest() == arrays.read(ROW).digest()


def test_fingerprints_of_other_numbers_or_shapes_differ():
    rows = [ROW, ROW[::-1], ROW[:3], ROW.reshape(2, 2), ROW.reshape(4, 1), ROW.reshape(1, 4), -ROW, ROW[:0]]
    assert len({arrays.read(row).digest() for row in rows}) == len(rows)


def test_fingerprints_of_one_number_in_many_do_not_collide():
    rows = np.zeros((1000, 4), np.float32)
    rows[:, 2] = np.arange(1000)
    assert len({arrays.read(row).digest() for row in rows}) == 1000


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5)])
def test_probe_rows_are_three_of_the_shape_of_a_sample_and_differ(shape):
    three = arrays.ArrayPreparer(ArraySpec()).probe(np.zeros(shape, np.float32))
    assert (three.shape, three.dtype) == ((3, *shape), np.float32)
    assert len({row.tobytes() for row in three}) == 3
    np.testing.assert_array_equal(three, arrays.ArrayPreparer(ArraySpec()).probe(np.ones(shape, np.float32)))
