"""Columns are named after the input column, so that two embedders of one table do not collide."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder, load_card, testing
from tests.graphs import save_images

IMAGES = testing.noise_images(4)
PHOTO = [f"photo_{i}" for i in range(4)]


@pytest.fixture
def embedder(tmp_path):
    return PretrainedEmbedder(save_images(tmp_path))


@pytest.fixture
def files(tmp_path):
    from PIL import Image

    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i}.png") for i in range(4)]


@pytest.mark.parametrize(
    "column",
    [
        lambda files: pd.Series(files, name="photo"),
        lambda files: pd.DataFrame({"photo": files}),
        lambda files: pl.Series("photo", files),
        lambda files: pl.DataFrame({"photo": files}),
        lambda files: pa.table({"photo": files}),
    ],
    ids=["Series", "DataFrame", "polars Series", "polars DataFrame", "pyarrow"],
)
def test_columns_are_named_after_the_input_column(embedder, files, column):
    assert list(embedder.fit(column(files)).get_feature_names_out()) == PHOTO


def test_columns_of_an_estimator_that_is_not_fitted_are_named_so_too(embedder, files):
    frame = embedder.set_output(transform="pandas").transform(pd.Series(files, name="photo"))
    assert list(frame.columns) == PHOTO
    assert list(embedder.transform(files).columns) == [f"pretrainedembedder{i}" for i in range(4)]


def test_names_are_those_of_fit(embedder, files):
    embedder.set_output(transform="pandas").fit(pd.Series(files, name="photo"))
    assert list(embedder.transform(pd.Series(files, name="other")).columns) == PHOTO
    assert list(embedder.set_params(layer=["map", "logits"]).transform(files).columns)[:4] == PHOTO


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("verbose", [True, False])
def test_two_embedders_of_one_table_do_not_collide(embedder, files, library, verbose):
    table = {"pandas": pd, "polars": pl}[library].DataFrame({"front": files, "back": files[::-1], "price": range(4)})
    columns = [("a", embedder, "front"), ("b", embedder, ["back"]), ("rest", "passthrough", ["price"])]
    transformer = ColumnTransformer(columns, verbose_feature_names_out=verbose).set_output(transform=library)
    frame = transformer.fit_transform(table)
    a, b, rest = ("a__", "b__", "rest__") if verbose else ("", "", "")
    wanted = [*(f"{a}front_{i}" for i in range(4)), *(f"{b}back_{i}" for i in range(4)), f"{rest}price"]
    assert list(frame.columns) == list(transformer.get_feature_names_out()) == wanted


def test_names_go_through_a_pipeline(embedder, files):
    pipe = make_pipeline(embedder, StandardScaler()).fit(pd.DataFrame({"photo": files}))
    assert list(pipe.get_feature_names_out()) == PHOTO


def test_numbers_are_named_after_the_class_as_before(tmp_path):
    numbers = PretrainedEmbedder(testing.save_backbone(testing.array_backbone(), tmp_path))
    rows = pd.DataFrame(np.zeros((3, 4)), columns=list("abcd"))
    numbers.fit(rows)
    assert list(numbers.get_feature_names_out()) == [f"pretrainedembedder{i}" for i in range(4)]


def test_numbers_of_an_estimator_that_is_not_fitted_have_names(tmp_path):
    card = load_card(testing.save_backbone(testing.array_backbone(), tmp_path))
    frame = PretrainedEmbedder(card).set_output(transform="pandas").transform(np.zeros((3, 4)))
    assert list(frame.columns) == [f"pretrainedembedder{i}" for i in range(4)]


def test_masked_numbers_are_refused(tmp_path):
    numbers = PretrainedEmbedder(testing.save_backbone(testing.array_backbone(), tmp_path))
    with pytest.raises(ValueError, match=r"X is a masked array of shape \(3, 4\)"):
        numbers.fit_transform(np.ma.masked_array(np.zeros((3, 4)), mask=np.eye(3, 4)))
