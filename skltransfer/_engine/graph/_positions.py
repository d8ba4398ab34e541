"""How many tokens a graph has positions for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import onnx

#: Rows that encoders leave out which count positions from the mask, as RoBERTa does: the first of a text is 2.
LEFT_OUT = 2
#: Tables of as many rows are those of segments.
SEGMENTS = 4


class Table(NamedTuple):
    """A table of vectors that a graph looks up.

    Attributes
    ----------
    rows, width : int
        Its shape.
    by_input : bool
        Whether an input of the graph is looked up, as in the table of words.
    counted : bool
        Whether the running sum of a mask is looked up.
    """

    rows: int
    width: int
    by_input: bool
    counted: bool


def positions(graph: onnx.GraphProto) -> int | None:
    """Return the number of tokens that a table of positions has rows for.

    Parameters
    ----------
    graph : onnx.GraphProto
        With or without the values of its weights.

    Returns
    -------
    int or None
        Rows of the shortest table that is as wide as that of the words and looked up by a range, by constants or by
        the running sum of a mask. None if there is none, as where positions are rotations.
    """
    tables = _tables(graph)
    widths = {table.width for table in tables if table.by_input and not table.counted}
    return min(
        (
            table.rows - (LEFT_OUT if table.counted else 0)
            for table in tables
            if table.width in widths and table.rows > SEGMENTS and (table.counted or not table.by_input)
        ),
        default=None,
    )


def _tables(graph: onnx.GraphProto) -> list[Table]:
    """Find the tables of vectors that a graph looks up, or cuts to the length of its tokens."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes |= {n.output[0]: tuple(a.t.dims) for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.t}
    made_by = {name: node for node in graph.node for name in node.output}
    tables = []
    for node in graph.node:
        shape = shapes.get(_stored(node.input[0], made_by), ()) if node.op_type in ("Gather", "Slice") else ()
        if len(shape) == 3 and shape[0] == 1 and node.op_type == "Slice":
            shape = shape[1:]
        if len(shape) == 2:
            place = node.input[2 if node.op_type == "Slice" else 1] if len(node.input) > 1 else ""
            tables.append(Table(*shape, *_behind(place, made_by, shapes)))
    return tables


def _stored(name: str, made_by: dict[str, onnx.NodeProto]) -> str:
    """Return the tensor behind casts: weights may be stored with fewer bits."""
    while (node := made_by.get(name)) is not None and node.op_type in ("Cast", "Identity", "DequantizeLinear"):
        name = node.input[0]
    return name


def _behind(name: str, made_by: dict[str, onnx.NodeProto], fixed: dict[str, tuple[int, ...]]) -> tuple[bool, bool]:
    """Return whether values of an input, and whether a running sum, are behind a tensor; lengths alone are neither."""
    by_input = counted = False
    waiting, seen = [name], {""}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = made_by.get(name)
        if node is None:
            by_input |= name not in fixed
        elif node.op_type not in ("Shape", "Size"):
            counted |= node.op_type == "CumSum"
            waiting += node.input
    return by_input, counted
