"""The command `export`: the student as an ONNX file, the same bytes for the same checkpoint."""

from __future__ import annotations

import argparse
import copy
import hashlib
from pathlib import Path

import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from distill_vision.student import EMBEDDED, Block, Student, embedding_of


def fold(pair: nn.Sequential) -> nn.Conv2d:
    """Return one convolution equal to a convolution and its batch normalisation, rounded to float16.

    The weights are rounded here, before the comparison with ONNX Runtime, so that the rounded network is compared.
    """
    conv, norm = pair
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    folded.weight.data = (conv.weight * scale[:, None, None, None]).half().float()
    folded.bias.data = (norm.bias - norm.running_mean * scale).half().float()
    return folded.requires_grad_(False)


def fold_student(student: Student) -> Student:
    """Return a copy of the student without batch normalisation."""
    student = copy.deepcopy(student).eval().requires_grad_(False)
    student.stem = fold(student.stem)
    for block in student.blocks:
        block.first, block.second = fold(block.first), fold(block.second)
        if not isinstance(block.shortcut, nn.Identity):
            block.shortcut = fold(block.shortcut)
    return student


class GraphWriter:
    """Nodes and float16 initializers of an ONNX graph, in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add a node and return the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, tensor: Tensor, name: str) -> str:
        """Add a tensor in float16, half the size; runtimes fold the cast when they load the graph."""
        self.weights.append(numpy_helper.from_array(tensor.half().numpy(), f"{name}_float16"))
        return self.add("Cast", [f"{name}_float16"], name, to=TensorProto.FLOAT)

    def conv(self, conv: nn.Conv2d, x: str, name: str) -> str:
        """Add a convolution."""
        weight = self.weight(conv.weight, f"{name}_weight")
        bias = self.weight(conv.bias, f"{name}_bias")
        return self.add(
            "Conv",
            [x, weight, bias],
            name,
            kernel_shape=conv.kernel_size,
            strides=conv.stride,
            pads=conv.padding * 2,
        )

    def block(self, block: Block, x: str, name: str) -> str:
        """Add a residual block; its output has the block's name."""
        first = self.add("Relu", [self.conv(block.first, x, f"{name}_first")], f"{name}_inner")
        second = self.conv(block.second, first, f"{name}_second")
        if not isinstance(block.shortcut, nn.Identity):
            x = self.conv(block.shortcut, x, f"{name}_shortcut")
        return self.add("Relu", [self.add("Add", [second, x], f"{name}_sum")], name)


def build_onnx(student: Student, size: int) -> onnx.ModelProto:
    """Build the graph of a folded student: `pixel_values` in, `embedding`, `block_1`, and so on out."""
    writer = GraphWriter()
    x = writer.add("Relu", [writer.conv(student.stem, "pixel_values", "stem_conv")], "stem")
    shapes = {}
    maps = student.maps(torch.zeros(1, 3, size, size))
    for number, (block, sample) in enumerate(zip(student.blocks, maps, strict=True), 1):
        x = writer.block(block, x, f"block_{number}")
        shapes[x] = ["batch", *sample.shape[1:]]
    pooled = [writer.add("GlobalAveragePool", [name], f"{name}_pooled") for name in list(shapes)[-EMBEDDED:]]
    writer.add("Flatten", [writer.add("Concat", pooled, "pooled", axis=1)], "embedding")
    shapes = {"embedding": ["batch", embedding_of(maps).shape[1]], **shapes}
    graph = helper.make_graph(
        writer.nodes,
        "backbone",
        [helper.make_tensor_value_info("pixel_values", 1, ["batch", 3, size, size])],
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()],
        writer.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def check_export(model: onnx.ModelProto, student: Student, size: int) -> float:
    """Return the largest difference of ONNX Runtime and torch, relative to the largest value."""
    onnx.checker.check_model(model, full_check=True)
    pixels = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"pixel_values": pixels.numpy()})
    maps = student.maps(pixels)
    expected = [embedding_of(maps), *maps]
    pairs = zip(outputs, expected, strict=True)
    return max(float(abs(a - b.numpy()).max() / b.abs().max()) for a, b in pairs)


def load_student(state: dict) -> Student:
    """Return the averaged student of a checkpoint, without its projector."""
    student, prefix = Student(), "student."
    weights = {k[len(prefix) :]: v for k, v in state["average"].items() if k.startswith(prefix)}
    student.load_state_dict(weights)
    return student


def export(args: argparse.Namespace) -> None:
    """Write the averaged student of a checkpoint as ONNX, and print size, hash and outputs of the file."""
    state = torch.load(args.checkpoint, weights_only=True, map_location="cpu")
    student = fold_student(load_student(state))
    model = build_onnx(student, args.size)
    difference = check_export(model, student, args.size)
    if difference > 1e-4:
        raise SystemExit(f"ONNX Runtime and torch differ by {difference:.1e}, above 1e-4")
    data = model.SerializeToString(deterministic=True)
    args.output.write_bytes(data)
    print(f"{args.output.name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    views = state["samples"] if "samples" in state else state["views"]  # as older checkpoints call them
    print(f"after {views} views; largest relative difference {difference:.1e}")
    for output in model.graph.output:
        dims = output.type.tensor_type.shape.dim
        print(f"  {output.name}: {[d.dim_value or d.dim_param for d in dims]}")


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command `export`."""
    parser = commands.add_parser("export", help="write the student as ONNX")
    parser.add_argument("--checkpoint", type=Path, required=True, help="last.pt of a run")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--size", type=int, default=96, help="side of the input")
    parser.set_defaults(command=export)
