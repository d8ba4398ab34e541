"""Preparation of pixels as nodes of the graph."""

import numpy as np
import pytest
from onnx import TensorProto

from skltransfer import testing
from skltransfer.cards import ArraySpec, ImageSpec
from skltransfer.errors import CardError
from skltransfer.testing import SIDE
from tests import graphs
from tests.graph.support import NUMBERS, PICTURES, RAW, built_graph, rows


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize(
    ("range_", "mean", "std"),
    [
        (255.0, (0, 0, 0), (1, 1, 1)),
        (1.0, (0, 0, 0), (1, 1, 1)),
        (255.0, (104, 117, 123), (1, 1, 1)),
        (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (255.0, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    ],
)
def test_pixels_reach_the_graph_as_the_card_says(layout, color, range_, mean, std):
    spec = ImageSpec((SIDE, SIDE), "squash", color=color, range=range_, mean=mean, std=std, layout=layout)
    got = rows(graphs.raw_pixels(layout=layout), PICTURES, ["map"], spec, pool="flatten")
    pixels = PICTURES[..., ::-1] if color == "BGR" else PICTURES
    want = (range_ * pixels.astype(np.float64) / 255 - mean) / std
    want = want.transpose(0, 3, 1, 2) if layout == "NCHW" else want
    np.testing.assert_allclose(got, want.reshape(len(got), -1), rtol=1e-5, atol=1e-5)


def test_images_may_be_wider_than_high():
    spec = ImageSpec((4, 6), "squash")
    model = graphs.model([graphs.node("Flatten", ["x"], ["rows"])], ["n", 3, 4, 6], "rows")
    pictures = np.arange(72, dtype=np.uint8).reshape(1, 4, 6, 3)
    np.testing.assert_array_equal(rows(model, pictures, ["rows"], spec)[0], pictures[0].transpose(2, 0, 1).ravel())


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8])
def test_pixels_are_cast_to_the_type_of_the_graph(dtype):
    model = graphs.model(
        [graphs.node("Cast", ["x"], ["map"], to=TensorProto.FLOAT)], ["n", 3, SIDE, SIDE], "map", dtype=dtype
    )
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    got = rows(model, PICTURES, ["map"], pool="mean")
    np.testing.assert_allclose(got, PICTURES.mean(axis=(1, 2)), rtol=1e-3)


def test_card_that_contradicts_its_graph_is_refused():
    spec = ImageSpec((SIDE, SIDE), "squash", layout="NHWC")
    with pytest.raises(CardError, match=r"layout 'NHWC' needs 3 channels at axis 3"):
        built_graph(testing.image_backbone(), spec, ["embedding"])


def test_images_for_a_graph_of_numbers_are_refused():
    with pytest.raises(CardError, match=r"input 'x' has the shape \(None, 4\); images need four axes"):
        built_graph(testing.array_backbone(), RAW, ["rows"], pool="", normalize=False)


def test_numbers_reach_the_graph_as_they_are():
    np.testing.assert_allclose(rows(testing.array_backbone(), NUMBERS, ["rows"], ArraySpec()), 2 * NUMBERS)
