"""Which axis of a tensor holds channels: read off the operators that made it and those that use it.

Axes that an operator hands on are tied together: a Transpose moves them, a Conv keeps places, a Reshape keeps what lies
before and behind the axes it joins or splits. Some operators say what an axis is: the second of a Conv holds channels,
the last of a MatMul with weights features. What is said of one axis holds for all that are tied to it; where what is
said contradicts itself, nothing is known, and the user is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: Length of an axis: a number, the symbol of a free one, or None.
Dim = int | str | None
#: A tensor and the number of one of its axes.
Axis = tuple[str, int]

BATCH, CHANNELS, PLACES, JOINED = "batch", "channels", "places", "joined"

#: How sure a sign is: the rule of an operator, weights, the shape of the input or a reduction.
RULE, WEIGHTS, SHAPE = 3, 2, 1


class Group(NamedTuple):
    """Axes that a Reshape joins or splits: those before, and those after."""

    before: tuple[Axis, ...]
    after: tuple[Axis, ...]


class Network:
    """Axes that are tied to each other, and the signs of what they hold.

    Parameters
    ----------
    shapes : mapping of str to sequence
        Lengths of every axis of every tensor whose number of axes is known, the batch axis included.
    fixed : mapping of str to sequence
        Shapes of weights.
    """

    def __init__(self, shapes: Mapping[str, Sequence[Dim]], fixed: Mapping[str, Sequence[int]]) -> None:
        self.shapes, self.fixed = shapes, fixed
        #: Values of small weights, such as the axes of a reduction.
        self.values: dict[str, Any] = {}
        #: Lengths that weights expect of axes.
        self.expected: list[tuple[Axis, int]] = []
        self._parents: dict[Axis, Axis] = {}
        self._signs: dict[Axis, dict[str, int]] = {}
        self._groups: list[Group] = []

    def rank(self, tensor: str) -> int | None:
        """Return the number of axes; None if it is unknown, or the tensor is a weight."""
        shape = None if tensor in self.fixed else self.shapes.get(tensor)
        return None if shape is None else len(shape)

    def tie(self, one: Axis, other: Axis) -> None:
        """Note that two axes are the same."""
        a, b = self._root(one), self._root(other)
        if a != b:
            self._parents[a] = b
            for kind, level in self._signs.pop(a, {}).items():
                self._note(b, kind, level)

    def sign(self, axis: Axis, kind: str, level: int) -> bool:
        """Note what an axis holds; return whether that is news."""
        return self._note(self._root(axis), kind, level)

    def join(self, before: Sequence[Axis], after: Sequence[Axis]) -> None:
        """Note that axes are joined or split; those of length one do not count."""
        before, after = ([a for a in axes if self._length(a) != 1] for axes in (before, after))
        if len(before) == len(after) == 1:
            self.tie(before[0], after[0])
        elif before and after:
            self._groups.append(Group(tuple(before), tuple(after)))

    def depth(self, axis: Axis) -> int | None:
        """Return the length that weights expect of an axis; None if there are none."""
        root = self._root(axis)
        return next((length for other, length in self.expected if self._root(other) == root), None)

    def settle(self) -> None:
        """Carry signs through joined and split axes until nothing is news."""
        while sum(map(self._carry, self._groups)):
            pass

    def kind(self, axis: Axis) -> str | None:
        """Return what an axis holds by the surest signs; None if there are none, or they contradict each other."""
        return self._surest(axis)[0]

    def channels(self, tensor: str) -> int | None:
        """Return the axis of a tensor that holds channels, the batch axis being 0; None if that cannot be known."""
        shape = self.shapes[tensor]
        kinds = {axis: self.kind((tensor, axis)) for axis in range(1, len(shape))}
        if JOINED in kinds.values():
            return None
        found = [axis for axis, kind in kinds.items() if kind == CHANNELS]
        for others in (
            [axis for axis, kind in kinds.items() if kind != PLACES],  # the only one that is not known to be a place
            [axis for axis in kinds if shape[axis] != 1],  # the mean over an axis of length one changes nothing
            [axis for axis, kind in kinds.items() if isinstance(shape[axis], int) and kind is None],  # weights fix it
        ):
            if not found and len(others) == 1 and kinds[others[0]] is None:
                found = others
        return found[0] if len(found) == 1 else None

    def _carry(self, group: Group) -> bool:
        """Carry signs through one joint; return whether that brought news."""
        news = []
        for axes, others in ((group.before, group.after), (group.after, group.before)):
            known = [self._surest(axis) for axis in axes]
            kinds = {kind for kind, _ in known if kind is not None}
            if not all(kind for kind, _ in known):
                continue
            level = min(level for _, level in known)
            split = kinds == {PLACES} or (kinds == {CHANNELS} and axes is group.before)
            if len(kinds) == 1 and (len(others) == 1 or split):
                news += [self.sign(other, next(iter(kinds)), level) for other in others]
            elif len(others) == 1 and axes is group.before:
                news.append(self.sign(others[0], JOINED, level))
        return any(news)

    def _surest(self, axis: Axis) -> tuple[str | None, int]:
        signs = self._signs.get(self._root(axis), {})
        most = max(signs.values(), default=0)
        kinds = [kind for kind, level in signs.items() if level == most]
        return (kinds[0], most) if len(kinds) == 1 else (None, 0)

    def _note(self, root: Axis, kind: str, level: int) -> bool:
        signs = self._signs.setdefault(root, {})
        before, signs[kind] = signs.get(kind, 0), max(level, signs.get(kind, 0))
        return signs[kind] > before

    def _root(self, axis: Axis) -> Axis:
        while (parent := self._parents.get(axis, axis)) != axis:
            self._parents[axis] = axis = self._parents.get(parent, parent)
        return axis

    def _length(self, axis: Axis) -> Dim:
        return self.shapes[axis[0]][axis[1]]
