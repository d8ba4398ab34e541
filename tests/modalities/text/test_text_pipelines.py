"""Texts in scikit-learn: columns of a frame, and searches over length and pool."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from tests.modalities.text.support import ROWS, TEXTS, rows_run

FRAME = {"review": [*TEXTS, *TEXTS], "stars": range(12)}
TARGET = [1, 0, 0, 1, 0, 0] * 2


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize("column", ["review", ["review"]], ids=["Series", "frame"])
def test_column_of_a_frame_beside_numbers(column, library, embedder):
    columns = [("text", embedder, column), ("number", "passthrough", ["stars"])]
    made = ColumnTransformer(columns).set_output(transform="pandas").fit_transform(library(FRAME))
    assert list(made.columns) == [*(f"text__review_{i}" for i in range(3)), "number__stars"]
    np.testing.assert_allclose(made.iloc[:6, :3], ROWS, rtol=1e-5)


def test_frame_comes_out_with_the_index_of_the_column(embedder):
    column = pd.Series(TEXTS, index=list("abcdef"))
    assert list(embedder.set_output(transform="pandas").fit_transform(column).index) == list("abcdef")


def test_grid_search_over_length_and_pool_runs_every_text_once_per_choice(embedder):
    pipeline = make_pipeline(embedder.set_params(layer="context", long_text="windows"), KNeighborsClassifier(1))
    grid = {
        "pretrainedembedder__max_length": np.array([4, 6]),
        "pretrainedembedder__pool": np.array(["mean", "cls", "last"]),
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(FRAME["review"], TARGET)
    assert len(search.cv_results_["params"]) == 6
    assert sorted(rows_run()) == [7, 7, 7, 10, 10, 10]  # windows of the six different texts, of 4 words or of 2
