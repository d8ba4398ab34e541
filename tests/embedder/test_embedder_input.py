"""What `PretrainedEmbedder` takes as X, what it refuses and how, and what becomes of samples that cannot be read."""

import pickle
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError

from skltransfer import PretrainedEmbedder
from skltransfer.errors import BadSamplesWarning, SampleError
from skltransfer.testing import image_rows, noise_images, save_backbone
from tests.graphs import model, node, save_images, save_numbers

PICTURES = noise_images(6)
ROWS = image_rows(PICTURES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("model")


@pytest.fixture
def embedder(folder):
    return PretrainedEmbedder(save_images(folder))


@pytest.fixture
def numbers(folder):
    return PretrainedEmbedder(save_numbers(folder))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """The pictures as PNG files, which lose nothing."""
    folder = tmp_path_factory.mktemp("pictures")
    files = [folder / f"{i}.png" for i in range(len(PICTURES))]
    for file, picture in zip(files, PICTURES, strict=True):
        Image.fromarray(picture).save(file)
    return [str(file) for file in files]


# ---------------------------------------------------------------------------------------------------------------------
# Containers


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "list of Path": lambda paths: [Path(path) for path in paths],
    "array of strings": np.array,
    "array of objects": lambda paths: np.array(paths, dtype=object),
    "array with one column": lambda paths: np.array(paths)[:, None],
    "StringDType": lambda paths: np.array(paths, dtype=np.dtypes.StringDType()),
    "pandas Series": pd.Series,
    "pandas Series of objects": lambda paths: pd.Series(paths, dtype=object),
    "pandas Series backed by pyarrow": lambda paths: pd.Series(paths, dtype="string[pyarrow]"),
    "pandas Index": pd.Index,
    "pandas categories": lambda paths: pd.Series(paths, dtype="category"),
    "polars categories": lambda paths: pl.Series(paths, dtype=pl.Categorical),
    "pandas frame": lambda paths: pd.DataFrame({"photo": paths}),
    "polars Series": pl.Series,
    "pyarrow table": lambda paths: pa.table({"photo": paths}),
    "polars frame": lambda paths: pl.DataFrame({"photo": paths}),
    "pyarrow array": pa.array,
    "pyarrow chunks": lambda paths: pa.chunked_array([paths[:2], paths[2:]]),
    "generator": iter,
}


@pytest.mark.parametrize("method", ["transform", "fit_transform"])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_paths_are_taken_from(kind, method, embedder, paths):
    rows = getattr(embedder, method)(CONTAINERS[kind](paths))
    np.testing.assert_allclose(rows, ROWS, rtol=1e-6)


SAMPLES = {
    "encoded bytes": lambda paths: [Path(path).read_bytes() for path in paths],
    "PIL images": lambda paths: [Image.fromarray(picture) for picture in PICTURES],
    "arrays": lambda paths: PICTURES,
    "a 4-D array": lambda paths: np.stack(PICTURES),
    "a polars column of bytes": lambda paths: pl.Series([Path(path).read_bytes() for path in paths]),
    "a pandas column of arrays": lambda paths: pd.Series(PICTURES),
    "all kinds at once": lambda paths: [*paths[:2], Path(paths[2]).read_bytes(), Path(paths[3]), *PICTURES[4:]],
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_images_may_be(kind, embedder, paths):
    np.testing.assert_allclose(embedder.transform(SAMPLES[kind](paths)), ROWS, rtol=1e-6)


def test_image_opened_lazily_may_come_many_times(embedder, tmp_path):
    Image.fromarray(np.tile(PICTURES[0], (90, 90, 1))).save(tmp_path / "large.png")
    embedder.set_params(n_jobs=8, batch_size=1, cache=None)
    for _ in range(5):
        with Image.open(tmp_path / "large.png") as image:
            assert len(np.unique(embedder.transform([image] * 16), axis=0)) == 1


def test_numbers_may_have_more_axes(tmp_path):
    nodes = [node("ReduceMean", ["x"], ["rows"], axes=[2], keepdims=0)]
    embedder = PretrainedEmbedder(str(save_backbone(model(nodes, ["n", "channels", "time"], "rows"), tmp_path)))
    X = np.random.default_rng(0).random((5, 2, 7), np.float32)
    np.testing.assert_allclose(embedder.fit(X).transform(X), X.mean(axis=2), rtol=1e-5)
    assert (embedder.n_features_in_, embedder.embedding_dim_) == (2, 2)


def test_fit_does_not_consume_a_generator(embedder, paths):
    generator = (path for path in paths)
    np.testing.assert_allclose(embedder.fit(generator).transform(generator), ROWS, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# How the numbers lie in memory


LYING = {
    "big-endian": lambda x: x.astype(">f4"),
    "big-endian, double": lambda x: x.astype(">f8"),
    "in Fortran's order": np.asfortranarray,
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every second": lambda x: np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
}


@pytest.mark.parametrize("kind", LYING)
def test_numbers_may_lie(kind, numbers):
    X = make_classification(20, random_state=0)[0].astype(np.float32)
    numbers.set_params(cache=None)
    np.testing.assert_allclose(numbers.transform(LYING[kind](X)), 2 * X)


@pytest.mark.parametrize("kind", ["in Fortran's order", "backwards", "every second"])
def test_pixels_may_lie(kind, embedder):
    embedder.set_params(cache=None)
    np.testing.assert_allclose(embedder.transform(LYING[kind](np.stack(PICTURES))), ROWS, rtol=1e-6)


@pytest.mark.parametrize("kept", ["memory", None])
def test_read_only_memory_map_of_pixels_is_taken(embedder, kept, tmp_path):
    joblib.dump(np.stack(PICTURES), tmp_path / "pixels")
    mapped = joblib.load(tmp_path / "pixels", mmap_mode="r")
    np.testing.assert_allclose(embedder.set_params(cache=kept).transform(mapped), ROWS, rtol=1e-6)


def test_read_only_memory_map_of_numbers_is_taken(numbers, tmp_path):
    joblib.dump(np.ones((3, 4), np.float32), tmp_path / "numbers")
    mapped = joblib.load(tmp_path / "numbers", mmap_mode="r")
    np.testing.assert_allclose(numbers.transform(mapped), 2 * mapped)


# ---------------------------------------------------------------------------------------------------------------------
# Frames out


def test_pandas_output_keeps_index_and_names(embedder, paths):
    embedder.set_output(transform="pandas").fit(paths)
    frame = embedder.transform(pd.Series(paths, index=list("abcdef")))
    assert list(frame.index) == list("abcdef")
    assert list(frame.columns) == list(embedder.get_feature_names_out())
    np.testing.assert_allclose(frame, ROWS, rtol=1e-6)


def test_polars_output_has_names(embedder, paths):
    frame = embedder.set_output(transform="polars").fit_transform(pl.Series(paths))
    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == list(embedder.get_feature_names_out())
    np.testing.assert_allclose(frame, ROWS, rtol=1e-6)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_come_without_fit_as_well(embedder, paths, library):
    frame = embedder.set_output(transform=library).transform(paths)
    assert list(frame.columns) == [f"pretrainedembedder{i}" for i in range(4)]
    np.testing.assert_allclose(frame.to_numpy(), ROWS, rtol=1e-6)


def test_names_follow_parameters_that_changed_after_fit(embedder, paths):
    embedder.set_output(transform="pandas").fit(paths)
    assert embedder.set_params(layer=["map", "logits"]).transform(paths).shape == (6, 8)
    assert embedder.set_params(layer=None).transform(paths).shape == (6, 4)


def test_names_before_fit_are_refused(embedder):
    with pytest.raises(NotFittedError, match=r"This PretrainedEmbedder instance is not fitted yet. Call 'fit'"):
        embedder.get_feature_names_out()


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("column", ["photo", ["photo"]])
def test_column_transformer_hands_over_one_column(embedder, paths, library, column):
    frame = library.DataFrame({"photo": paths, "price": range(6)})
    transformer = ColumnTransformer([("embed", embedder, column)], remainder="passthrough")
    rows = transformer.fit_transform(frame)
    np.testing.assert_allclose(rows, np.column_stack([ROWS, range(6)]), rtol=1e-6)
    assert transformer.get_feature_names_out()[0] == "embed__photo_0"


def test_column_transformer_gives_a_frame_with_the_index(embedder, paths):
    frame = pd.DataFrame({"photo": paths, "price": range(6)}, index=list("abcdef"))
    transformer = ColumnTransformer([("embed", embedder, "photo")]).set_output(transform="pandas")
    assert list(transformer.fit_transform(frame).index) == list("abcdef")


# ---------------------------------------------------------------------------------------------------------------------
# What is refused


REFUSED = {
    "a bare string": ("cat.jpg", TypeError, r"X is 'cat.jpg', a single sample; give several, such as \['cat.jpg'\]"),
    "a path": (Path("cat.jpg"), TypeError, "a single sample; give several"),
    "bytes": (b"\xff\xd8" * 100, TypeError, r"X is a bytes, a single sample"),
    "one image": (Image.new("RGB", (8, 8)), TypeError, r"X is a single image; give several, such as \[image\]"),
    "one array": (PICTURES[0], ValueError, r"a uint8 array of shape \(8, 8, 3\): one image or many\? Give X\[None\]"),
    "an array without axes": (np.array("cat.jpg"), TypeError, "X is a single sample, 'cat.jpg'"),
    "a table of strings": (np.array([["a", "b"]]), ValueError, r"X has the shape \(1, 2\); samples are one column"),
    "a wider frame": (
        pd.DataFrame({"photo": ["a"], "price": [1]}),
        ValueError,
        r"X has 2 columns \(photo, price\).*ColumnTransformer\(\[\('embed', PretrainedEmbedder\(\), 'NAME'\)",
    ),
    "a wider polars frame": (pl.DataFrame({"a": ["x"], "b": ["y"]}), ValueError, r"2 columns \(a, b\).*ColumnTransf"),
    "a wider pyarrow table": (pa.table({"a": ["x"], "b": ["y"]}), ValueError, r"2 columns \(a, b\).*ColumnTransf"),
    "a dictionary": ({"a": 1}, TypeError, "X is a dict, whose samples have no order; give a list"),
    "a set": ({"a"}, TypeError, "X is a set, whose samples have no order"),
    "a number": (3, TypeError, "X is a int; give a list, array, Series or generator of samples"),
    "None": (None, TypeError, "X is a NoneType; give a list"),
}


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("method", ["fit", "transform", "fit_transform"])
@pytest.mark.parametrize("kind", REFUSED)
def test_x_is_refused_if_it_is(kind, method, verbose, embedder):
    X, error, message = REFUSED[kind]
    with pytest.raises(error, match=message):
        getattr(embedder.set_params(verbose=verbose), method)(X)


def test_numbers_that_are_not_finite_are_refused(numbers):
    with pytest.raises(ValueError, match="Input X contains NaN"):
        numbers.transform([[1.0, np.nan]])


def test_another_number_of_features_is_refused(numbers):
    with pytest.raises(ValueError, match="X has 3 features, but PretrainedEmbedder is expecting 2"):
        numbers.fit(np.ones((4, 2))).transform(np.ones((4, 3)))


# ---------------------------------------------------------------------------------------------------------------------
# Bad samples


MISSING = {
    "None in a list": lambda good: [*good, None],
    "nan in a list": lambda good: [*good, float("nan")],
    "pandas NA": lambda good: pd.Series([*good, pd.NA], dtype=object),
    "pandas NaT": lambda good: [*good, pd.NaT],
    "missing in a pandas column": lambda good: pd.Series([*good, None]),
    "missing in a pyarrow-backed column": lambda good: pd.Series([*good, None], dtype="string[pyarrow]"),
    "null in a polars column": lambda good: pl.Series([*good, None]),
    "null in a pyarrow array": lambda good: pa.array([*good, None]),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_sample_is_a_bad_sample(kind, embedder, paths):
    with pytest.raises(SampleError, match=r"sample 2: the sample is missing.*Fix or drop it, or pass on_error='nan'"):
        embedder.transform(MISSING[kind](paths[:2]))


def test_bad_sample_is_named_with_its_path_and_reason(embedder, paths):
    X = [*paths[:3], "no such\n.jpg", *paths[3:]]
    with pytest.raises(SampleError, match=r"sample 3 \('no such\\n.jpg'\): cannot be opened") as caught:
        embedder.transform(X)
    assert (caught.value.index, caught.value.path) == (3, "no such\n.jpg")
    assert caught.value.reason.startswith("cannot be opened")


def test_bad_samples_are_rows_of_nan_in_place_and_listed(embedder, paths):
    X = [paths[0], None, paths[1], b"no image", "nowhere.png", paths[2]]
    with pytest.warns(BadSamplesWarning, match="3 rows are NaN: sample 1: the sample is missing") as caught:
        rows = embedder.set_params(on_error="nan").transform(X)
    np.testing.assert_allclose(rows[[0, 2, 5]], ROWS[:3], rtol=1e-6)
    assert np.isnan(rows[[1, 3, 4]]).all()
    failures = caught[0].message.failures
    assert [(failure.index, failure.path) for failure in failures] == [(1, None), (3, None), (4, "nowhere.png")]
    assert "first bytes are b'no image'" in failures[1].reason


@pytest.mark.parametrize("method", ["transform", "fit_transform"])
def test_warning_points_at_the_line_of_the_caller(embedder, method):
    with pytest.warns(BadSamplesWarning, match="1 rows are NaN") as caught:
        getattr(embedder.set_params(on_error="nan"), method)([None])
    assert caught[0].filename == __file__


def test_rows_are_nan_of_the_right_width_even_if_every_sample_is_bad(embedder):
    with pytest.warns(BadSamplesWarning, match="40 rows are NaN.*; and 37 more"):
        rows = embedder.set_params(on_error="nan").transform([None] * 40)
    assert rows.shape == (40, 4)
    assert np.isnan(rows).all()


def test_failed_sample_is_never_kept_as_a_success(embedder, tmp_path):
    path = tmp_path / "late.png"
    path.write_bytes(b"")
    with pytest.warns(BadSamplesWarning, match="1 rows are NaN.*it is empty"):
        embedder.set_params(on_error="nan").transform([path])
    Image.fromarray(PICTURES[0]).save(path)
    np.testing.assert_allclose(embedder.transform([path]), ROWS[:1], rtol=1e-6)


def test_every_copy_of_a_bad_sample_is_nan(embedder, paths):
    X = [b"bad", paths[0], b"bad", *paths * 20, b"bad"]
    with pytest.warns(BadSamplesWarning, match="3 rows are NaN") as caught:
        rows = embedder.set_params(on_error="nan", batch_size=1).transform(X)
    assert [failure.index for failure in caught[0].message.failures] == [0, 2, len(X) - 1]
    assert np.flatnonzero(np.isnan(rows).any(axis=1)).tolist() == [0, 2, len(X) - 1]


def test_sample_error_survives_pickling(embedder, paths):
    with pytest.raises(SampleError, match="sample 1") as caught:
        embedder.transform([paths[0], "gone.png"])
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.index, again.path, again.reason) == (1, "gone.png", caught.value.reason)
    assert str(again) == str(caught.value)


def test_sample_error_comes_out_of_a_worker_of_joblib(embedder, paths):
    work = [joblib.delayed(embedder.transform)(X) for X in ([paths[0]], [paths[1], "gone.png"])]
    with pytest.raises(SampleError, match=r"sample 1 \('gone.png'\)") as caught:
        joblib.Parallel(n_jobs=2)(work)
    assert (caught.value.index, caught.value.path) == (1, "gone.png")


def test_bad_samples_warning_survives_pickling(embedder):
    with pytest.warns(BadSamplesWarning, match="1 rows") as caught:
        embedder.set_params(on_error="nan").transform([None])
    again = pickle.loads(pickle.dumps(caught[0].message))
    assert again.failures == caught[0].message.failures


def test_good_samples_warn_of_nothing(embedder, paths):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.set_params(on_error="nan").transform(paths)


def test_sample_that_panics_is_a_bad_sample(embedder, paths, monkeypatch):
    class Panic(BaseException):
        """As pyo3 raises them."""

    def panic(*args, **kwargs):
        raise Panic("a Rust library gave up")

    monkeypatch.setattr(Image, "open", panic)
    with pytest.raises(SampleError, match=r"sample 0 .*Panic: a Rust library gave up"):
        embedder.set_params(cache=None).transform(paths)
