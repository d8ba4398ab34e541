"""Graphs whose rows depend on the batch, and batch sizes frozen at export."""

import warnings

import numpy as np
import pytest

from skltransfer import testing
from skltransfer._engine import stream
from skltransfer.errors import ModelWarning, ProbeError
from skltransfer.testing import save_backbone
from tests import graphs
from tests.graphs import mates, means, save_images
from tests.stream.support import PICTURES, ROWS, embed, plan_of


def test_rows_that_depend_on_their_mates_are_run_alone_with_a_warning(form, tmp_path):
    plan = plan_of(save_images(tmp_path, mates()))
    with pytest.warns(ModelWarning, match="Model 'tiny': a row alone differs .*It is run one sample at a time"):
        rows = embed(PICTURES, plan, workers=2).rows
    np.testing.assert_allclose(rows, means(PICTURES), rtol=1e-5)


def test_dynamic_quantisation_is_named(tmp_path):
    plan = plan_of(save_backbone(graphs.quantized(), tmp_path))
    with pytest.warns(ModelWarning, match="it quantizes its activations dynamically: DynamicQuantizeLinear"):
        stream.open_backbone(plan, [np.ones(4, np.float32)])


@pytest.mark.parametrize("batch", [1, 4])
def test_frozen_batch_is_freed_where_that_is_sound(form, tmp_path, batch):
    plan = plan_of(save_images(tmp_path, testing.image_backbone(batch=batch)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = embed(PICTURES[:10], plan).rows
    np.testing.assert_allclose(rows, ROWS[:10], rtol=1e-5)
    assert stream.open_backbone(plan).batch_size is None


def test_frozen_batch_is_filled_up_where_it_cannot_be_freed(form, tmp_path):
    plan = plan_of(save_backbone(graphs.frozen("fails", 4), tmp_path))
    samples = np.arange(40, dtype=np.float32).reshape(10, 4)
    np.testing.assert_allclose(embed(samples, plan, batch_size=3).rows, 2 * samples)
    assert stream.open_backbone(plan).batch_size == 4


def test_frozen_batch_whose_rows_depend_on_each_other_holds_copies_of_one(form, tmp_path):
    plan = plan_of(save_images(tmp_path, mates(4)))
    with pytest.warns(ModelWarning, match="It is run one sample at a time"):
        rows = embed(PICTURES[:10], plan).rows
    np.testing.assert_allclose(rows, means(PICTURES[:10]), rtol=1e-5)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (graphs.not_finite(), "12 of 12 numbers are not finite; is the model damaged"),
        (graphs.random_rows(), "other rows at every run; was the graph exported in training mode"),
        (graphs.constant(), "gave the same row; is this layer dead, or the model damaged"),
    ],
)
def test_graph_without_embeddings_is_refused(tmp_path, graph, message):
    plan = plan_of(save_backbone(graph, tmp_path))
    with pytest.raises(ProbeError, match=message):
        embed(np.ones((2, 4), np.float32), plan)
