"""Operators and axes: which they hand on, and what they say of them. One row of a table for each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from skltransfer._engine.graph._axes import CHANNELS, PLACES, RULE, SHAPE, WEIGHTS, Network

if TYPE_CHECKING:
    import onnx

Rule = Callable[[Network, Any], None]


def follow(net: Network, node: onnx.NodeProto) -> None:
    """Tie the axes of a node's tensors, and note what the operator says of them; unknown operators say nothing."""
    rule = RULES.get(node.op_type)
    if rule is not None:
        rule(net, node)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of an attribute of a node."""
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def axes_of(net: Network, node: onnx.NodeProto, rank: int) -> list[int] | None:
    """Return the axes a node is given as attribute or as its second input; None if they are not known."""
    given = attribute(node, "axes")
    if given is None and len(node.input) > 1 and node.input[1]:
        given = net.values.get(node.input[1])
        if given is None:
            return None
    return None if given is None else [int(axis) % rank for axis in given]


def _same(net: Network, node: Any) -> None:
    """Tie the axes of the first input and the first output, which has as many."""
    source, target = node.input[0], node.output[0]
    if net.rank(source) == net.rank(target) is not None:
        for axis in range(net.rank(target) or 0):
            net.tie((source, axis), (target, axis))


def _broadcast(net: Network, node: Any) -> None:
    """Tie axes from the last one on, but those of length one that others are stretched along."""
    (target, *_) = node.output
    if (rank := net.rank(target)) is None:
        return
    for source in filter(None, node.input):
        if source in net.fixed:
            _by_weights(net, net.fixed[source], target, rank)
        elif (own := net.rank(source)) is not None:
            for axis in range(own):
                out = axis + rank - own
                if net.shapes[source][axis] != 1 or net.shapes[target][out] == 1:
                    net.tie((source, axis), (target, out))


def _stretch(net: Network, node: Any) -> None:
    """Tie axes of a tensor that is stretched to the shape its second input holds."""
    source, target = node.input[0], node.output[0]
    if (own := net.rank(source)) is not None and (rank := net.rank(target)) is not None:
        for axis in range(own):
            if net.shapes[source][axis] != 1:
                net.tie((source, axis), (target, axis + rank - own))


def _by_weights(net: Network, lengths: Sequence[int], target: str, rank: int) -> None:
    """Note channels on the one axis along which a weight differs: a bias, a scale."""
    long = [axis + rank - len(lengths) for axis, n in enumerate(lengths) if n > 1]
    if len(long) == 1 and long[0] > 0 and rank > 2:
        net.sign((target, long[0]), CHANNELS, SHAPE)


def _channels_second(net: Network, node: Any) -> None:
    """Tie samples, note channels second and places behind: Conv and what comes with it."""
    for tensor in (node.input[0], node.output[0]):
        if (rank := net.rank(tensor)) is None or rank < 2:
            continue
        net.sign((tensor, 1), CHANNELS, RULE)
        for axis in range(2, rank):
            net.sign((tensor, axis), PLACES, RULE)
    if net.rank(node.input[0]) and net.rank(node.output[0]):
        net.tie((node.input[0], 0), (node.output[0], 0))


def _convolution(net: Network, node: Any) -> None:
    _channels_second(net, node)
    weights = net.fixed.get(node.input[1], ())
    if len(weights) > 2 and net.rank(node.input[0]):
        net.expected.append(((node.input[0], 1), weights[1] * attribute(node, "group", 1)))


def _pooling(net: Network, node: Any) -> None:
    _channels_second(net, node)
    _same(net, node)


def _channels_last(net: Network, node: Any) -> None:
    """Tie all axes and note channels last, unless a norm is taken over several axes."""
    _same(net, node)
    rank = net.rank(node.input[0])
    if rank and attribute(node, "axis", -1) in (-1, rank - 1):
        for tensor in (node.input[0], node.output[0]):
            if net.rank(tensor) == rank:
                net.sign((tensor, rank - 1), CHANNELS, RULE)


def _transpose(net: Network, node: Any) -> None:
    rank = net.rank(node.input[0])
    if rank is not None and net.rank(node.output[0]) == rank:
        for axis, source in enumerate(attribute(node, "perm", range(rank)[::-1])):
            net.tie((node.input[0], source), (node.output[0], axis))


def _squeeze(net: Network, node: Any) -> None:
    """Tie what is left: axes are inserted into the one shape or the other."""
    grown = node.op_type == "Unsqueeze"
    small, large = (node.input[0], node.output[0])[:: 1 if grown else -1]
    rank = net.rank(large)
    axes = None if rank is None else axes_of(net, node, rank)
    if axes is None or net.rank(small) != (rank or 0) - len(axes):
        _reshape(net, node)
        return
    kept = [axis for axis in range(rank or 0) if axis not in axes]
    for axis, other in enumerate(kept):
        net.tie((small, axis), (large, other))


def _reshape(net: Network, node: Any) -> None:
    """Tie equal lengths from both ends; what is between is joined or split, by the products of lengths."""
    source, target = node.input[0], node.output[0]
    if net.rank(source) is None or net.rank(target) is None:
        return
    before, after = list(net.shapes[source]), list(net.shapes[target])
    copied = net.values.get(node.input[1], ()) if node.op_type == "Reshape" and len(node.input) > 1 else ()
    start = 0
    while start < min(len(before), len(after)) and (
        _equal(before[start], after[start]) or (start < len(copied) and copied[start] == 0)
    ):
        net.tie((source, start), (target, start))
        start += 1
    x, y = len(before), len(after)
    while x > start and y > start and (group := _group(before[start:x], after[start:y])):
        a, b = group
        net.join([(source, axis) for axis in range(x - a, x)], [(target, axis) for axis in range(y - b, y)])
        x, y = x - a, y - b
    net.join([(source, axis) for axis in range(start, x)], [(target, axis) for axis in range(start, y)])


def _equal(one: Any, other: Any) -> bool:
    return one is not None and one == other


def _group(before: Sequence[Any], after: Sequence[Any]) -> tuple[int, int] | None:
    """Return how many of the last axes have the same product of lengths; None if that cannot be known."""
    if _equal(before[-1], after[-1]):
        return 1, 1
    counts, products, shapes = [0, 0], [1, 1], (before, after)
    while counts == [0, 0] or products[0] != products[1]:
        side = 0 if products[0] <= products[1] and (counts[0] == 0 or products[0] < products[1]) else 1
        side = 1 if counts[0] and not counts[1] else side
        if counts[side] == len(shapes[side]):
            return None
        counts[side] += 1
        length = shapes[side][-counts[side]]
        if not isinstance(length, int):
            return None
        products[side] *= length
    return counts[0], counts[1]


def _flatten(net: Network, node: Any) -> None:
    source, target = node.input[0], node.output[0]
    rank = net.rank(source)
    if rank is None or net.rank(target) != 2:
        return
    at = attribute(node, "axis", 1) % (rank + 1)
    net.join([(source, axis) for axis in range(at)], [(target, 0)])
    net.join([(source, axis) for axis in range(at, rank)], [(target, 1)])


def _reduce(net: Network, node: Any) -> None:
    """Tie what is left; a mean or maximum that leaves one axis beside the batch is the graph's own pooling."""
    source, target = node.input[0], node.output[0]
    if (rank := net.rank(source)) is None or net.rank(target) is None:
        return
    axes = axes_of(net, node, rank)
    if axes is None:
        return
    left, keeps = [axis for axis in range(rank) if axis not in axes], attribute(node, "keepdims", 1)
    for position, axis in enumerate(left):
        net.tie((source, axis), (target, axis if keeps else position))
    pools = node.op_type in ("ReduceMean", "ReduceMax") and (len(axes) > 1 or not keeps)
    if pools and len(left) == 2 and left[0] == 0:
        net.sign((source, left[1]), CHANNELS, SHAPE)
        for axis in axes:
            net.sign((source, axis), PLACES, SHAPE)


def _matmul(net: Network, node: Any) -> None:
    """Follow both factors; a product with weights says that the axis it sums over, and the new one, are features."""
    (one, other), target = node.input[:2], node.output[0]
    if (rank := net.rank(target)) is None:
        return
    for factor, position in ((one, rank - 2), (other, rank - 1)):
        weights = other if factor == one else one
        own = net.rank(factor)
        if own is None or own < 2:
            continue
        for axis in range(own - 2):
            net.tie((factor, axis), (target, axis + rank - own))
        kept = own - 2 if factor == one else own - 1
        net.tie((factor, kept), (target, position))
        summed = own - 1 if factor == one else own - 2
        if len(net.fixed.get(weights, ())) == 2:
            net.sign((factor, summed), CHANNELS, WEIGHTS)
            net.sign((target, rank - 1 if factor == one else rank - 2), CHANNELS, WEIGHTS)
    if (a := net.rank(one)) and (b := net.rank(other)) and a > 1 and b > 1:
        net.tie((one, a - 1), (other, b - 2))


def _gemm(net: Network, node: Any) -> None:
    """Follow samples; a product with weights makes features."""
    if net.rank(node.input[0]) == net.rank(node.output[0]) == 2 and node.input[1] in net.fixed:
        turned = attribute(node, "transA", 0)
        net.tie((node.input[0], turned), (node.output[0], 0))
        net.sign((node.input[0], 1 - turned), CHANNELS, WEIGHTS)
        net.sign((node.output[0], 1), CHANNELS, WEIGHTS)


def _concat(net: Network, node: Any) -> None:
    """Tie all axes: what is put behind channels are channels, behind tokens tokens."""
    for source in node.input:
        if net.rank(source) is not None and net.rank(source) == net.rank(node.output[0]):
            for axis in range(net.rank(source) or 0):
                net.tie((source, axis), (node.output[0], axis))


def _split(net: Network, node: Any) -> None:
    for target in filter(None, node.output):
        if net.rank(node.input[0]) is not None and net.rank(target) == net.rank(node.input[0]):
            for axis in range(net.rank(target) or 0):
                net.tie((node.input[0], axis), (target, axis))


def _gather(net: Network, node: Any) -> None:
    """Follow the axes that are not chosen from; rows looked up in a table of weights are features of tokens."""
    data, indices, target = node.input[0], node.input[1], node.output[0]
    rank = net.rank(target)
    if rank is None:
        return
    axis = attribute(node, "axis", 0)
    if data in net.fixed:
        own = net.rank(indices)
        if own is not None and axis == 0 and len(net.fixed[data]) == 2 and rank == own + 1:
            for position in range(own):
                net.tie((indices, position), (target, position))
                if position:
                    net.sign((indices, position), PLACES, WEIGHTS)
            net.sign((target, rank - 1), CHANNELS, WEIGHTS)
        return
    if (own := net.rank(data)) is None:
        return
    axis, grown = axis % own, rank - own  # -1: one position is taken, and its axis is gone
    for position in range(own):
        if position != axis or grown == 0:
            net.tie((data, position), (target, position if position <= axis else position + grown))


def _einsum(net: Network, node: Any) -> None:
    """Tie axes of the same letter."""
    equation = attribute(node, "equation", b"").decode().replace(" ", "")
    terms, arrow, result = equation.partition("->")
    if not arrow or "." in equation:
        return
    seen: dict[str, tuple[str, int]] = {}
    for tensor, letters in zip([*node.input, node.output[0]], [*terms.split(","), result], strict=False):
        if net.rank(tensor) != len(letters):
            continue
        for axis, letter in enumerate(letters):
            net.tie((tensor, axis), seen.setdefault(letter, (tensor, axis)))


def _recurrent(net: Network, node: Any) -> None:
    """Follow steps and samples; the last axis of the states are features. Directions are joined to them."""
    source, target = node.input[0], node.output[0]
    if not target or net.rank(source) != 3 or net.rank(target) != 4:
        return
    first = attribute(node, "layout", 0)
    for axis, out in ((0, 0), (1, 1 if first else 2)):
        net.tie((source, axis), (target, out))
    steps = 1 if first else 0
    net.sign((source, steps), PLACES, RULE)
    net.sign((source, 2), CHANNELS, RULE)
    net.sign((target, 2 if first else 1), CHANNELS, RULE)
    net.sign((target, 3), CHANNELS, RULE)


def _quantized_pooling(net: Network, node: Any) -> None:
    if not attribute(node, "channels_last", 0):
        _pooling(net, node)


def _quantized_sum(net: Network, node: Any) -> None:
    """Tie the two summands, which are the first and fourth input."""
    for source in (node.input[0], node.input[3]):
        if net.rank(source) is not None and net.rank(source) == net.rank(node.output[0]):
            for axis in range(net.rank(source) or 0):
                net.tie((source, axis), (node.output[0], axis))


def _rows(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


#: What an operator does to axes, by its name; those of ONNX Runtime's optimizer included.
RULES: dict[str, Rule] = {
    **_rows(
        "Abs Cast Ceil Celu Clip DequantizeLinear Dropout Elu Erf Exp FastGelu Floor Gelu HardSigmoid HardSwish "
        "Hardmax Identity LeakyRelu Log LogSoftmax LpNormalization Mish Neg Not Pad QLinearLeakyRelu QLinearSigmoid "
        "QuickGelu QuantizeLinear Reciprocal Relu Resize Round Selu Sigmoid Sign Slice Softmax Softplus Softsign Sqrt "
        "Tanh ThresholdedRelu Tile Upsample Swish CumSum Trilu DynamicQuantizeLinear Sin Cos",
        _same,
    ),
    **_rows("Add Sub Mul Div Pow Max Min Mean Sum Where PRelu Mod And Or Equal Greater Less", _broadcast),
    "Expand": _stretch,
    **_rows("Conv FusedConv ConvInteger", _convolution),
    **_rows("ConvTranspose QLinearConv DeformConv DepthToSpace SpaceToDepth", _channels_second),
    **_rows(
        "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool BatchNormalization "
        "InstanceNormalization GroupNormalization LRN QLinearAveragePool",
        _pooling,
    ),
    "QLinearGlobalAveragePool": _quantized_pooling,
    **_rows("QLinearAdd QLinearMul", _quantized_sum),
    **_rows(
        "LayerNormalization RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization "
        "SkipSimplifiedLayerNormalization BiasGelu Attention MultiHeadAttention",
        _channels_last,
    ),
    "Transpose": _transpose,
    **_rows("Squeeze Unsqueeze", _squeeze),
    "Reshape": _reshape,
    "Flatten": _flatten,
    **_rows("ReduceMean ReduceMax ReduceMin ReduceSum ReduceL1 ReduceL2 ReduceProd ReduceLogSumExp", _reduce),
    **_rows("MatMul FusedMatMul", _matmul),
    **_rows("Gemm FusedGemm", _gemm),
    "Concat": _concat,
    "Split": _split,
    "Gather": _gather,
    "Einsum": _einsum,
    **_rows("LSTM GRU RNN", _recurrent),
}
