"""Containers of every kind give their samples in order; what could mean two things is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from skltransfer._engine.samples import unpack

PATHS = ["b.jpg", "a.jpg", "c.jpg"]
INDEX = [7, 3, 9]


@pytest.mark.parametrize(
    "X",
    [
        PATHS,
        tuple(PATHS),
        dict(enumerate(PATHS)).values(),
        np.array(PATHS),
        np.array(PATHS, dtype=object),
        np.array(PATHS, dtype=np.dtypes.StringDType()),
        np.array(PATHS).reshape(3, 1),
        pd.Series(PATHS, index=INDEX),
        pd.Series(PATHS, index=INDEX, dtype="category"),
        pd.Index(PATHS),
        pd.DataFrame({"photo": PATHS}, index=INDEX),
        pd.DataFrame({0: PATHS}),
        pl.Series(PATHS),
        pl.DataFrame({"photo": PATHS}),
        pa.array(PATHS),
        pa.chunked_array([PATHS[:1], PATHS[1:]]),
        pa.table({"photo": PATHS}),
    ],
    ids=lambda X: f"{type(X).__module__}.{type(X).__name__}",
)
def test_samples_come_out_in_order_and_are_counted(X):
    samples = unpack(X)
    assert (list(samples.items), samples.n) == (PATHS, 3)


def test_generator_is_not_counted_and_not_read_ahead():
    samples = unpack(path for path in PATHS)
    assert (samples.n, next(iter(samples.items)), list(samples.items)) == (None, "b.jpg", PATHS[1:])


@pytest.mark.parametrize("X", [[], np.array([]), np.array([], dtype=object), pd.Series([], dtype=object), pa.array([])])
def test_nothing_is_no_samples(X):
    samples = unpack(X)
    assert (list(samples.items), samples.n) == ([], 0)


def test_stack_of_pictures_gives_its_pictures():
    stack = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    samples = unpack(stack)
    assert (samples.n, [item.shape for item in samples.items]) == (2, [(4, 4, 3)] * 2)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a.jpg", r"X is 'a.jpg', a single sample; give several, such as \['a.jpg'\]"),
        (Path("a.jpg"), r"a single sample; give several, such as \["),
        (b"\xff\xd8", r"a single sample"),
        (b"\xff" * 999, r"X is a bytes, a single sample; give several, such as \[a bytes\]"),
        (bytearray(b"a"), r"a single sample"),
        (memoryview(b"a"), r"a single sample"),
        (np.array("a.jpg"), r"X is a single sample, 'a.jpg'; give several"),
        (Image.new("RGB", (2, 2)), r"X is a single image; give several, such as \[image\]"),
        ({"a": 1}, r"X is a dict, whose samples have no order; give a list"),
        ({"a.jpg"}, r"X is a set, whose samples have no order"),
        (7, r"X is a int; give a list, array, Series or generator of samples"),
        (None, r"X is a NoneType; give a list"),
    ],
)
def test_what_is_no_container_of_samples_is_refused(X, message):
    with pytest.raises(TypeError, match=message):
        unpack(X)


TWO = {"photo": PATHS, "price": [1, 2, 3]}


@pytest.mark.parametrize(
    "X", [pd.DataFrame(TWO), pl.DataFrame(TWO), pa.table(TWO)], ids=["pandas", "polars", "pyarrow"]
)
def test_frame_of_several_columns_is_refused_with_the_way_to_choose_one(X):
    with pytest.raises(ValueError, match=r"X has 2 columns \(photo, price\).*ColumnTransformer"):
        unpack(X)


def test_frame_of_many_columns_names_the_first_five():
    with pytest.raises(ValueError, match=r"X has 9 columns \(0, 1, 2, 3, 4, \.\.\.\)"):
        unpack(pd.DataFrame(np.zeros((2, 9))))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            np.zeros((8, 8, 3), np.uint8),
            r"uint8 array of shape \(8, 8, 3\): one image or many\? Give X\[None\] for one",
        ),
        (np.zeros((8, 8)), r"float64 array of shape \(8, 8\): one image or many"),
        (np.array([["a", "b"]]), r"X has the shape \(1, 2\); samples are one column, of shape \(n,\) or \(n, 1\)"),
        (np.empty((2, 2, 2), object), r"X has the shape \(2, 2, 2\)"),
    ],
)
def test_array_that_could_mean_two_things_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        unpack(X)
