"""Teachers: ONNX backbones whose last feature map is the target."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

POOLING_OPS = {"AveragePool", "GlobalAveragePool", "ReduceMean"}


class Teacher:
    """An ONNX backbone that returns its last feature map and, if it has a classifier, its logits.

    Parameters
    ----------
    path : Path
        ONNX file. The JSON file of the same name beside it holds the name of the embedding tensor, mean, standard
        deviation and the order of the colors.
    size : int
        Side of the square input in pixels. Larger is slower and the map finer.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.card = json.loads(path.with_suffix(".json").read_text(encoding="utf8"))
        self.size = size
        model = onnx.load(path)
        self.outputs = promote_map(model.graph, self.card["embedding"]["tensor"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # see run_teacher
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the map (n, cells, channels) and the logits (n, classes) of uint8 images."""
        pixels = resize_batch(images, self.size)
        if self.card["input"]["colour_order"] == "BGR":
            pixels = pixels[:, ::-1]
        shape = (1, 3, 1, 1)
        mean, std = (np.reshape(self.card["input"][key], shape) for key in ("mean", "std"))
        pixels = ((pixels - mean) / std).astype(np.float32)
        features, *logits = self.session.run(self.outputs, {self.session.get_inputs()[0].name: pixels})
        cells = features.reshape(*features.shape[:2], -1).transpose(0, 2, 1)
        return cells, logits[0] if logits else None


def promote_map(graph: onnx.GraphProto, embedding: str) -> list[str]:
    """Add the map that is pooled into `embedding` to the outputs, and free the spatial size.

    Return the names of the map and, if the graph has them, of the logits.
    """
    producers = {output: node for node in graph.node for output in node.output}
    node = producers[embedding]
    while node.op_type not in POOLING_OPS:
        node = producers[node.input[0]]
    names = [node.input[0], *(out.name for out in graph.output if out.name == "logits")]
    del graph.value_info[:]  # they hold the shapes of the original size
    for dim in graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()
    graph.output.append(helper.make_tensor_value_info(names[0], TensorProto.FLOAT, None))
    return names


def resize_batch(images: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 NHWC images to float32 NCHW in 0..255."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    if pixels.shape[-1] != size:
        pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    return pixels.contiguous().numpy()


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices of at most `size` rows."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def run_teacher(
    teacher: Teacher, images: np.ndarray, threads: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
    """Yield rows, map and logits of each batch.

    Each thread runs whole batches on one core. On a busy machine that is faster than sharing every operation among
    cores, which waits for the slowest core.
    """

    def work(rows: slice) -> tuple[slice, np.ndarray, np.ndarray | None]:
        return rows, *teacher.run(images[rows])

    with ThreadPoolExecutor(threads) as pool:
        for group in batches(len(images), 32 * threads):
            parts = range(group.start, group.stop, 32)
            yield from pool.map(work, [slice(i, min(i + 32, group.stop)) for i in parts])
