"""Containers of every kind give their samples in order; what could mean two things is refused."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from skltransfer._engine.samples import of_path, unpack

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
        (io.BytesIO(b"x"), r"X is a single file, a BytesIO; give several, such as \[X\]"),
        ({"bytes": b"x", "path": None}, r"X is a single image of Hugging Face, a dictionary"),
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


def test_masked_array_is_refused_with_the_way_out():
    masked = np.ma.masked_array(np.zeros((2, 4, 4, 3), np.uint8), mask=False)
    with pytest.raises(ValueError, match=r"X is a masked array of shape \(2, 4, 4, 3\).*X\.filled\(value\), or"):
        unpack(masked)


def test_long_value_is_cut_in_the_message():
    with pytest.raises(TypeError, match="a single sample") as caught:
        unpack("a" * 10**6)
    assert len(str(caught.value)) < 800


DICTIONARIES = [{"bytes": b"a\0", "path": None}, {"bytes": None, "path": "b.jpg"}]


@pytest.mark.parametrize(
    "X",
    [
        DICTIONARIES,
        np.array(DICTIONARIES),
        pd.Series(DICTIONARIES),
        pd.DataFrame({"image": DICTIONARIES}),
        pl.Series(DICTIONARIES),
        pl.DataFrame({"image": DICTIONARIES}),
        pa.array(DICTIONARIES),
        pa.table({"image": DICTIONARIES}),
        pa.table({"image": DICTIONARIES})["image"],
    ],
    ids=lambda X: f"{type(X).__module__}.{type(X).__name__}",
)
def test_dictionaries_of_hugging_face_come_out_of_every_column(X):
    assert list(unpack(X).items) == DICTIONARIES


@pytest.mark.parametrize(
    ("X", "name"),
    [
        (pd.Series(PATHS, name="photo"), "photo"),
        (pd.DataFrame({"photo": PATHS}), "photo"),
        (pl.Series("photo", PATHS), "photo"),
        (pl.DataFrame({"photo": PATHS}), "photo"),
        (pa.table({"photo": PATHS}), "photo"),
        (pd.Series(PATHS), None),
        (pd.Series(PATHS, name=3), None),
        (pd.DataFrame({0: PATHS}), None),
        (pl.Series(PATHS), None),
        (PATHS, None),
        (np.array(PATHS), None),
    ],
    ids=repr,
)
def test_name_of_a_column_is_kept(X, name):
    assert unpack(X).name == name


@pytest.mark.parametrize("kind", [str, Path])
def test_folder_and_table_are_refused_with_their_reader(tmp_path, kind):
    (tmp_path / "labels.csv").touch()
    with pytest.raises(TypeError, match=r"It is a folder: data = skltransfer\.datasets\.load_folder\('.*'\) lists"):
        unpack(kind(tmp_path))
    with pytest.raises(TypeError, match=r"It is a table: skltransfer\.datasets\.load_table\('.*labels\.csv', column="):
        unpack(kind(tmp_path / "labels.csv"))


def test_folder_of_a_command_lists_no_file_that_systems_leave(tmp_path):
    for name in ("b.jpg", "a.txt", ".DS_Store", "Thumbs.db", "._b.jpg", "c/d.png", ".ipynb_checkpoints/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert of_path(tmp_path) == [str(tmp_path / name) for name in ("a.txt", "b.jpg", "c/d.png")]
