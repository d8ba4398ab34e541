"""Where a backbone is cut: so many blocks before the rows."""

from __future__ import annotations

from collections.abc import Sequence

from skltransfer._engine import graph
from skltransfer._engine.plan import MOST_SHARED, Plan
from skltransfer.errors import LayerError, TuningError, nearest


def taken_apart(plan: Plan) -> graph.Parts:
    """Return the graph of a plan, in float32, to be cut."""
    model = plan.build()
    graph.float16_to_float32(model)
    return graph.Parts(model, masked=plan.recipe.input.longest is not None)


def chosen(parts: graph.Parts, plan: Plan, blocks: int, cut: str | None) -> graph.Tail:
    """Return the tail that is trained.

    Parameters
    ----------
    parts : graph.Parts
        From `taken_apart`.
    plan : Plan
        Of the rows that are tuned.
    blocks : int
        Number of blocks; `cut` names the tensor instead.

    Raises
    ------
    LayerError
        If the graph has no such tensor.
    TuningError
        If it is no valid cut, or the graph has fewer blocks.
    """
    if cut is not None:
        return _named(parts, plan, cut)
    tails = _blocks(parts, _candidates(parts, plan))
    if not tails:
        raise TuningError(
            f"{plan.card.name!r} has no block that could be trained by itself: no tensor of it leads to the rows "
            "through weights, past which no others reach them. A table of words, such as text-mini, is of this kind. "
            "Choose a backbone with layers: skltransfer models list"
        )
    if blocks > len(tails):
        raise TuningError(
            f"{plan.card.name!r} has {len(tails)} blocks that can be trained, fewer than blocks={blocks}: they begin "
            f"at {', '.join(repr(tail.cut) for tail in tails[:8])}."
        )
    return tails[blocks - 1]


def _named(parts: graph.Parts, plan: Plan, cut: str) -> graph.Tail:
    if cut not in parts.made:
        raise LayerError(f"The graph of {plan.card.name!r} has no tensor {cut!r}.{nearest(cut, parts.made)}")
    tail = parts.tail(cut)
    if tail is None or not tail.weights:
        why = "has no weights behind it" if tail is not None else "is not the only way to the rows"
        raise TuningError(
            f"cut={cut!r} {why}. Blocks of {plan.card.name!r} begin at "
            f"{', '.join(repr(one.cut) for one in _blocks(parts, _candidates(parts, plan))[:8])}."
        )
    return tail


def _candidates(parts: graph.Parts, plan: Plan) -> Sequence[str]:
    """List tensors between which blocks may lie: those the card names, else joins of paths, else all."""
    listed = plan.card.layers_table
    for names in (listed if len(listed) <= MOST_SHARED else (), parts.joins()):
        if _blocks(parts, [name for name in names if name not in plan.recipe.layers]):
            return [name for name in names if name not in plan.recipe.layers]
    return [*parts.made]


def _blocks(parts: graph.Parts, names: Sequence[str]) -> list[graph.Tail]:
    """Return the tails that begin with a block, the shortest first.

    A block has a matrix or kernels of its own and, in a transformer, attention: the residual sum in the middle of a
    layer begins none.
    """
    tails = sorted(parts.tails(names), key=lambda tail: len(tail.behind))
    attention = any(node.op_type == "Softmax" for tail in tails for node in tail.nodes)
    found: list[graph.Tail] = []
    for tail in tails:
        before = found[-1] if found else None
        new = set(tail.weights) - set(before.weights if before else ())
        made = tail.behind - (before.behind if before else set())
        attends = any(node.op_type == "Softmax" and made.intersection(node.output) for node in tail.nodes)
        if any(len(parts.constants[name].dims) > 1 for name in new) and (attends or not attention):
            found.append(tail)
    return found
