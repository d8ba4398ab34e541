"""A backbone of images: means of colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skltransfer.testing._graph import make_graph

if TYPE_CHECKING:
    import onnx

#: Height and width of the images that the backbone takes, in pixels.
SIDE = 8
#: Weights of the 1 x 1 convolution of `image_backbone`: its maps are red, green, blue and their sum.
MIX = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float32)


def image_backbone(
    side: int | str = SIDE, *, dtype: npt.DTypeLike = np.float32, batch: int | str = "n"
) -> onnx.ModelProto:
    """Build a backbone of images: a convolution, global average pooling, and a head.

    Its layers are ``map``, float32 (n, 4, side, side), whose channels are red, green, blue and their sum (`MIX`);
    ``embedding``, float32 (n, 4), the means of the maps; and ``logits``, the output, float32 (n, 4), twice the means.

    Parameters
    ----------
    side : int or str
        Height and width of the images; a str leaves both free.
    dtype : dtype-like
        Of the input, the weights and the layers.
    batch : int or str
        Number of images per run; a str leaves it free.

    Returns
    -------
    onnx.ModelProto
        With the input ``x`` (batch, 3, side, side): RGB, 0 to 255 once `save_backbone` has written its card.
    """
    from onnx import helper

    nodes = [
        helper.make_node("Conv", ["x", "mix"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Mul", ["embedding", "two"], ["logits"]),
    ]
    weights: dict[str, Any] = {"mix": MIX.reshape(4, 3, 1, 1).astype(dtype), "two": np.array(2, dtype)}
    return make_graph(nodes, {"x": (dtype, [batch, 3, side, side])}, "logits", dtype=dtype, **weights)


def noise_images(n: int, seed: int = 0) -> list[npt.NDArray[np.uint8]]:
    """Return n images of noise, different from each other, of the size that `image_backbone` takes.

    Parameters
    ----------
    n : int
        How many.
    seed : int
        Of the noise.

    Returns
    -------
    list of ndarray of uint8, shape (8, 8, 3)
        RGB.
    """
    return list(np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8))


def image_rows(images: Sequence[npt.NDArray[Any]], layer: str = "embedding") -> npt.NDArray[np.float32]:
    """Compute by hand what `image_backbone` makes of images.

    Parameters
    ----------
    images : sequence of ndarray of uint8, shape (height, width, 3)
        RGB, of the size that the backbone takes.
    layer : {"embedding", "logits"}
        Which layer.

    Returns
    -------
    ndarray of float32, shape (n, 4)
        Means of red, green, blue and their sum; twice that for ``"logits"``.
    """
    means = np.array([image.reshape(-1, 3).mean(axis=0) for image in images], np.float32).reshape(-1, 3)
    return means @ MIX.T * np.float32({"embedding": 1, "logits": 2}[layer])
