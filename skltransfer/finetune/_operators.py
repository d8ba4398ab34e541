"""ONNX operators in torch: a function for each, that takes the node's attributes and its inputs.

Meaning and order of attributes and inputs are those of the operator's page in [1]_, for operator sets 9 to 24. An
input that is left out is None. Shapes, axes and indices are int64 tensors, as in a graph.

References
----------
.. [1] ONNX operators, https://onnx.ai/onnx/operators
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skltransfer.errors import need

if TYPE_CHECKING:
    import torch

Attributes = Mapping[str, Any]
Operator = Callable[..., Any]

#: ONNX's numbers of types, to torch's names.
TYPES = {1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64", 9: "bool"}
TYPES |= {10: "float16", 11: "float64"}


def table() -> dict[str, Operator]:
    """Return the function of each operator by its name."""
    return {**_elementwise(), **_SHAPES, **_REDUCTIONS, **_LAYERS}


def _elementwise() -> dict[str, Operator]:
    """Operators that torch has under a name of its own, without attributes."""
    torch = need("torch", extra="torch")
    plain = {
        **{"Abs": torch.abs, "Ceil": torch.ceil, "Cos": torch.cos, "Erf": torch.erf, "Exp": torch.exp},
        **{"Floor": torch.floor, "Log": torch.log, "Neg": torch.neg, "Not": torch.logical_not, "Relu": torch.relu},
        **{"Reciprocal": torch.reciprocal, "Round": torch.round, "Sigmoid": torch.sigmoid, "Sign": torch.sign},
        **{"Sin": torch.sin, "Softplus": torch.nn.functional.softplus, "Sqrt": torch.sqrt, "Tanh": torch.tanh},
        **{"Add": torch.add, "And": torch.logical_and, "Equal": torch.eq, "Greater": torch.gt, "Less": torch.lt},
        **{"GreaterOrEqual": torch.ge, "LessOrEqual": torch.le, "MatMul": torch.matmul, "Mul": torch.mul},
        **{"Or": torch.logical_or, "Sub": torch.sub, "HardSwish": torch.nn.functional.hardswish, "Where": torch.where},
        **{"Identity": lambda x: x, "Dropout": lambda x, *rest: x, "IsNaN": torch.isnan},
        **{"Max": lambda *xs: _folded(torch.maximum, xs), "Min": lambda *xs: _folded(torch.minimum, xs)},
        **{"Sum": lambda *xs: _folded(torch.add, xs), "Pow": lambda x, y: torch.pow(x, y).to(x.dtype)},
        **{"Mod": torch.remainder, "Size": lambda x: torch.tensor(x.numel())},
    }
    return {name: _without_attributes(function) for name, function in plain.items()}


def _without_attributes(function: Callable[..., Any]) -> Operator:
    return lambda attributes, *inputs: function(*inputs)


def _folded(function: Callable[[Any, Any], Any], values: Sequence[Any]) -> Any:
    first, *rest = values
    for value in rest:
        first = function(first, value)
    return first


# ---------------------------------------------------------------------------------------------------------------------
# Shapes


def _ints(value: Any) -> list[int]:
    return [int(number) for number in value.reshape(-1).tolist()]


def _axes(attributes: Attributes, given: Any = None) -> list[int]:
    """Return axes, an attribute of older operator sets and an input of newer ones."""
    return list(attributes["axes"]) if given is None and "axes" in attributes else [] if given is None else _ints(given)


def _reshape(attributes: Attributes, x: Any, shape: torch.Tensor) -> Any:
    wanted = _ints(shape)
    if not attributes.get("allowzero"):
        wanted = [x.shape[axis] if length == 0 else length for axis, length in enumerate(wanted)]
    return x.reshape(tuple(wanted))


def _transpose(attributes: Attributes, x: Any) -> Any:
    return x.permute(attributes.get("perm", tuple(reversed(range(x.ndim)))))


def _flatten(attributes: Attributes, x: Any) -> Any:
    return x.reshape(math.prod(x.shape[: attributes.get("axis", 1)]), -1)


def _squeeze(attributes: Attributes, x: Any, axes: Any = None) -> Any:
    chosen = _axes(attributes, axes)
    return x.squeeze(chosen) if chosen else x.squeeze()


def _unsqueeze(attributes: Attributes, x: Any, axes: Any = None) -> Any:
    chosen = _axes(attributes, axes)
    for axis in sorted(axis % (x.ndim + len(chosen)) for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def _concat(attributes: Attributes, *parts: torch.Tensor) -> Any:
    return need("torch", extra="torch").cat(parts, attributes["axis"])


def _split(attributes: Attributes, x: Any, lengths: Any = None) -> Any:
    axis = attributes.get("axis", 0)
    given = attributes.get("split") if lengths is None else _ints(lengths)
    if given is None:
        return x.split(-(-x.shape[axis] // attributes["outputs"]), axis)
    return x.split(list(given), axis)


def _slice(attributes: Attributes, x: Any, *given: Any) -> Any:
    starts, ends, axes, steps = [*(None if one is None else _ints(one) for one in given), None, None, None, None][:4]
    starts, ends = starts or list(attributes["starts"]), ends or list(attributes["ends"])
    axes = axes or list(attributes.get("axes", range(len(starts))))
    for start, end, axis, step in zip(starts, ends, axes, steps or [1] * len(axes), strict=True):
        chosen = range(x.shape[axis])[slice(start, end if end >= -x.shape[axis] else None, step)]
        x = x.index_select(axis, need("torch", extra="torch").tensor(list(chosen), dtype=_int64(), device=x.device))
    return x


def _int64() -> Any:
    return need("torch", extra="torch").int64


def _gather(attributes: Attributes, x: Any, indices: torch.Tensor) -> Any:
    axis = attributes.get("axis", 0) % x.ndim
    places = indices.long() % x.shape[axis]
    taken = x.index_select(axis, places.reshape(-1))
    return taken.reshape((*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]))


def _gather_nd(attributes: Attributes, x: Any, indices: torch.Tensor) -> Any:
    torch = need("torch", extra="torch")
    shared = attributes.get("batch_dims", 0)
    lengths, places = x.shape[:shared], indices.long()
    grid = [
        torch.arange(length).reshape(-1, *[1] * (places.ndim - 2 - axis)).expand(places.shape[:-1])
        for axis, length in enumerate(lengths)
    ]
    return x[(*grid, *places.unbind(-1))]


def _shape(attributes: Attributes, x: Any) -> Any:
    part = slice(attributes.get("start", 0), attributes.get("end"))
    return need("torch", extra="torch").tensor(tuple(x.shape)[part], dtype=_int64())


def _cast(attributes: Attributes, x: Any) -> Any:
    return x.to(getattr(need("torch", extra="torch"), TYPES[attributes["to"]]))


def _filled(attributes: Attributes, shape: torch.Tensor) -> Any:
    torch = need("torch", extra="torch")
    value = attributes.get("value", torch.zeros(1))
    return torch.full(_ints(shape), value.reshape(-1)[0].item(), dtype=value.dtype)


def _expand(attributes: Attributes, x: Any, shape: torch.Tensor) -> Any:
    return x.expand(need("torch", extra="torch").broadcast_shapes(x.shape, _ints(shape)))


def _range(attributes: Attributes, start: torch.Tensor, end: torch.Tensor, step: torch.Tensor) -> Any:
    return need("torch", extra="torch").arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def _tile(attributes: Attributes, x: Any, repeats: torch.Tensor) -> Any:
    return x.repeat(tuple(_ints(repeats)))


def _pad(attributes: Attributes, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    torch = need("torch", extra="torch")
    wanted = list(attributes["pads"]) if pads is None else _ints(pads)
    chosen = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in _ints(axes)]
    both = {axis: (wanted[i], wanted[i + len(chosen)]) for i, axis in enumerate(chosen)}
    flat = [length for axis in reversed(range(x.ndim)) for length in both.get(axis, (0, 0))]
    mode = {"edge": "replicate"}.get(attributes.get("mode", "constant"), attributes.get("mode", "constant"))
    filling = {"value": attributes.get("value", 0.0) if value is None else value.item()} if mode == "constant" else {}
    while len(flat) > 2 and mode != "constant" and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    return torch.nn.functional.pad(x, flat, mode, **filling)


def _trilu(attributes: Attributes, x: Any, k: Any = None) -> Any:
    torch = need("torch", extra="torch")
    return (torch.triu if attributes.get("upper", 1) else torch.tril)(x, 0 if k is None else int(k))


def _cumsum(attributes: Attributes, x: Any, axis: torch.Tensor) -> Any:
    return x.cumsum(int(axis))


def _einsum(attributes: Attributes, *inputs: torch.Tensor) -> Any:
    return need("torch", extra="torch").einsum(attributes["equation"], *inputs)


_SHAPES: dict[str, Operator] = {
    **{"Reshape": _reshape, "Transpose": _transpose, "Flatten": _flatten, "Squeeze": _squeeze, "Split": _split},
    **{"Unsqueeze": _unsqueeze, "Concat": _concat, "Slice": _slice, "Gather": _gather, "Shape": _shape, "Cast": _cast},
    "GatherND": _gather_nd,
    **{"ConstantOfShape": _filled, "Expand": _expand, "Range": _range, "Tile": _tile, "Pad": _pad, "Trilu": _trilu},
    **{"CumSum": _cumsum, "Einsum": _einsum, "Constant": lambda attributes: attributes["value"]},
    "CastLike": lambda attributes, x, like: x.to(like.dtype),
}


# ---------------------------------------------------------------------------------------------------------------------
# Reductions


def _reduction(reduce: Callable[[Any, list[int], bool], Any]) -> Operator:
    def reduced(attributes: Attributes, x: Any, axes: Any = None) -> Any:
        chosen = _axes(attributes, axes)
        if not chosen and attributes.get("noop_with_empty_axes"):
            return x
        return reduce(x, chosen or list(range(x.ndim)), bool(attributes.get("keepdims", 1)))

    return reduced


_REDUCTIONS: dict[str, Operator] = {
    "ReduceMean": _reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "GlobalAveragePool": lambda attributes, x: x.mean(list(range(2, x.ndim)), keepdim=True),
    "GlobalMaxPool": lambda attributes, x: x.amax(list(range(2, x.ndim)), keepdim=True),
}


# ---------------------------------------------------------------------------------------------------------------------
# Layers


def _padding(attributes: Attributes, x: Any, kernel: Sequence[int], value: float = 0.0) -> Any:
    """Pad as a convolution or a pooling says, in numbers or in words."""
    count = len(kernel)
    strides, wide = attributes.get("strides", [1] * count), attributes.get("dilations", [1] * count)
    pads = list(attributes.get("pads", [0] * 2 * count))
    if (how := attributes.get("auto_pad", "NOTSET")) in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max(0, (-(-length // step) - 1) * step + (size - 1) * gap + 1 - length)
            for length, step, size, gap in zip(x.shape[2:], strides, kernel, wide, strict=True)
        ]
        first = [total // 2 if how == "SAME_UPPER" else total - total // 2 for total in totals]
        pads = first + [total - one for total, one in zip(totals, first, strict=True)]
    if not any(pads):
        return x
    flat = [pads[axis + end * count] for axis in reversed(range(count)) for end in (0, 1)]
    return need("torch", extra="torch").nn.functional.pad(x, flat, value=value)


def _conv(attributes: Attributes, x: Any, w: torch.Tensor, b: Any = None) -> Any:
    functional = need("torch", extra="torch").nn.functional
    convolve = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[x.ndim]
    count = x.ndim - 2
    pads = list(attributes.get("pads", [0] * 2 * count))
    if pads[:count] == pads[count:] and attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"):
        padding, padded = pads[:count], x
    else:
        padding, padded = [0] * count, _padding(attributes, x, w.shape[2:])
    strides, wide = attributes.get("strides", [1] * count), attributes.get("dilations", [1] * count)
    return convolve(padded, w, b, tuple(strides), tuple(padding), tuple(wide), attributes.get("group", 1))


def _max_pool(attributes: Attributes, x: Any) -> Any:
    functional = need("torch", extra="torch").nn.functional
    kernel = attributes["kernel_shape"]
    pool = {3: functional.max_pool1d, 4: functional.max_pool2d, 5: functional.max_pool3d}[x.ndim]
    padded = _padding(attributes, x, kernel, -math.inf)
    strides, wide = attributes.get("strides", [1] * len(kernel)), attributes.get("dilations", [1] * len(kernel))
    return pool(padded, tuple(kernel), tuple(strides), 0, tuple(wide), bool(attributes.get("ceil_mode", 0)))


def _average_pool(attributes: Attributes, x: Any) -> Any:
    torch = need("torch", extra="torch")
    kernel = attributes["kernel_shape"]
    functional = torch.nn.functional
    pool = {3: functional.avg_pool1d, 4: functional.avg_pool2d, 5: functional.avg_pool3d}[x.ndim]
    strides = tuple(attributes.get("strides", [1] * len(kernel)))
    up = bool(attributes.get("ceil_mode", 0))
    rows = pool(_padding(attributes, x, kernel), tuple(kernel), strides, 0, up)
    if attributes.get("count_include_pad"):
        return rows
    share = pool(_padding(attributes, torch.ones_like(x[:1, :1]), kernel), tuple(kernel), strides, 0, up)
    return rows / share


def _gemm(attributes: Attributes, a: torch.Tensor, b: torch.Tensor, c: Any = None) -> Any:
    a, b = (a.T if attributes.get("transA") else a), (b.T if attributes.get("transB") else b)
    product = attributes.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def _batch_norm(attributes: Attributes, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    functional = need("torch", extra="torch").nn.functional
    return functional.batch_norm(x, mean, var, scale, bias, eps=attributes.get("epsilon", 1e-5))


def _layer_norm(attributes: Attributes, x: Any, scale: Any, bias: Any = None) -> Any:
    functional = need("torch", extra="torch").nn.functional
    shape = x.shape[attributes.get("axis", -1) % x.ndim :]
    return functional.layer_norm(x, shape, scale, bias, attributes.get("epsilon", 1e-5))


def _instance_norm(attributes: Attributes, x: Any, scale: Any, bias: Any) -> Any:
    functional = need("torch", extra="torch").nn.functional
    return functional.instance_norm(x, weight=scale, bias=bias, eps=attributes.get("epsilon", 1e-5))


def _group_norm(attributes: Attributes, x: Any, scale: Any, bias: Any) -> Any:
    functional = need("torch", extra="torch").nn.functional
    return functional.group_norm(x, attributes["num_groups"], scale, bias, attributes.get("epsilon", 1e-5))


def _clip(attributes: Attributes, x: Any, low: Any = None, high: Any = None) -> Any:
    low = attributes.get("min") if low is None else low.item()
    high = attributes.get("max") if high is None else high.item()
    return x if low is None and high is None else x.clamp(low, high)


def _softmax(attributes: Attributes, x: Any) -> Any:
    return x.softmax(attributes.get("axis", -1))


def _gelu(attributes: Attributes, x: Any) -> Any:
    return need("torch", extra="torch").nn.functional.gelu(x, approximate=attributes.get("approximate", "none"))


def _hard_sigmoid(attributes: Attributes, x: Any) -> Any:
    return (attributes.get("alpha", 0.2) * x + attributes.get("beta", 0.5)).clamp(0, 1)


def _leaky_relu(attributes: Attributes, x: Any) -> Any:
    return need("torch", extra="torch").nn.functional.leaky_relu(x, attributes.get("alpha", 0.01))


def _elu(attributes: Attributes, x: Any) -> Any:
    return need("torch", extra="torch").nn.functional.elu(x, attributes.get("alpha", 1.0))


def _prelu(attributes: Attributes, x: Any, slope: torch.Tensor) -> Any:
    return x.clamp(min=0) + slope * x.clamp(max=0)


def _div(attributes: Attributes, x: Any, y: torch.Tensor) -> Any:
    torch = need("torch", extra="torch")
    return torch.div(x, y) if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


_LAYERS: dict[str, Operator] = {
    **{"Conv": _conv, "MaxPool": _max_pool, "AveragePool": _average_pool, "Gemm": _gemm, "Clip": _clip, "Div": _div},
    **{"BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm, "GroupNormalization": _group_norm},
    **{"InstanceNormalization": _instance_norm, "Softmax": _softmax, "Gelu": _gelu, "HardSigmoid": _hard_sigmoid},
    **{"LeakyRelu": _leaky_relu, "Elu": _elu, "PRelu": _prelu},
}
