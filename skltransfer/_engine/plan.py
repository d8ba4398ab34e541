"""Plans: the part of a backbone that is run, the device, and the shape of the rows.

A plan is made once per call, by `make`, out of a completed card and the user's choices; what cannot run is refused
then, not when the first batch arrives. Everybody below the estimator holds the same object: the stream runs it, the
cache is asked by its key, bench and golden rows open it.

The shared search
-----------------
`GridSearchCV` over layers and poolings would run the graph once per candidate. A plan therefore knows a `wider` one:
its rows hold every layer the card lists (if it lists up to `MOST_SHARED`), in each of the poolings that cost next to
nothing (`graph.shared_pools`), side by side, and its `view` cuts the narrow row out of the wide one:

    plan.wider.view.take(wide_row) == narrow_row

The estimator runs the wider plan where it may be in a search, else the narrow one; either way a row that is cached in
the other form is found. Not shared: other poolings, layers that the card does not list, another size, length,
precision or model; maps and sequences (``pool="none"``), which would be many times as large; and unit rows of windows,
because the mean of scaled windows is not the scaled mean of windows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine import graph, hub, inspection, modalities, runtime
from skltransfer.cards import ASKED, Axes, Card, InputSpec, Recipe, Shape, spatial_axes
from skltransfer.errors import CardError, LayerError

if TYPE_CHECKING:
    import onnx

#: Layers beyond which a card's list is taken for a list of everything, not for a choice worth computing at once.
MOST_SHARED = 24


@dataclass(frozen=True)
class View:
    """The part of a wider row that is wanted.

    Parameters
    ----------
    columns : tuple of slice
        Columns of the wider row, to be put side by side.
    normalize : bool
        Whether to scale the result to unit L2 norm.
    """

    columns: tuple[slice, ...]
    normalize: bool

    def take(self, row: runtime.Rows) -> runtime.Rows:
        """Cut the part out of a row."""
        part = np.concatenate([row[columns] for columns in self.columns])
        return scaled(part) if self.normalize else part


def scaled(rows: runtime.Rows) -> runtime.Rows:
    """Scale a row, or each of several, to unit L2 norm."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)


@dataclass(frozen=True)
class Plan:
    """A graph, a recipe, a device, and the shape of the rows.

    Parameters
    ----------
    card : Card
        Where the graph lies.
    recipe : Recipe
        Every choice that changes numbers.
    device : runtime.Device
        Where it runs.
    shape : tuple of int or None
        Of the row of one sample; None if only a run can tell.
    wider : Plan, optional
        A plan whose rows hold these, see the module.
    view : View, optional
        The part of the rows that is wanted; None: all of them.
    digests : mapping of str to str
        SHA-256 of the card's files by role; nothing else is run.
    """

    card: Card
    recipe: Recipe
    device: runtime.Device
    shape: tuple[int, ...] | None = None
    wider: Plan | None = None
    view: View | None = None
    digests: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def modality(self) -> modalities.Modality:
        """The kind of its samples."""
        return modalities.of(self.recipe.input)

    @property
    def ragged(self) -> bool:
        """Whether the graph's rows are as long as their batch: sequences of texts, which are padded to `shape`."""
        return self.recipe.pool == "none" and self.recipe.input.longest is not None and len(self.shape or ()) == 2

    def take(self, row: runtime.Rows) -> runtime.Rows:
        """Cut what is wanted out of a row."""
        return row if self.view is None else self.view.take(row)

    def fits(self, row: runtime.Rows) -> bool:
        """Return whether a row, cut to what is wanted, has the shape it should have."""
        if self.shape is None:
            return True
        if self.ragged:
            return row.ndim == 2 and row.shape[0] <= self.shape[0] and row.shape[1] == self.shape[1]
        return row.shape == self.shape

    def on(self, device: runtime.Device) -> Plan:
        """Return the same plan for another device of its kind."""
        return dataclasses.replace(self, device=device)

    def files(self) -> dict[str, modalities.File]:
        """Return the files of the card by role, with their digests."""
        folder = (self.card.folder or Path()).resolve()
        return {role: modalities.File(folder / file.path, self.digests[role]) for role, file in self.card.files.items()}

    def preparer(self) -> modalities.Preparer:
        """Open what prepares the samples of one call."""
        modality = self.modality
        if missing := [role for role in modality.needs if role not in self.card.files]:
            raise CardError(
                f"The card of {self.card.name!r} takes {modality.name} samples and lists no file {missing[0]!r}."
            )
        views = {} if self.recipe.views is None else {"views": self.recipe.views}
        return modality.preparer(self.recipe.input, self.files() if modality.needs else {}, **views)

    def load(self) -> onnx.ModelProto:
        """Load the backbone's own graph, out of the bytes that were hashed.

        Raises
        ------
        IntegrityError
            If a file has been replaced since the plan was made.
        """
        return graph.load(hub.verified(self.card), self.card.manifest, hub.reader(self.card, self.digests))

    def build(self, *, free_batch: bool = True) -> onnx.ModelProto:
        """Build the graph that turns prepared samples into rows.

        Parameters
        ----------
        free_batch : bool
            Whether a batch size frozen at export is made free.
        """
        return graph.build(self.load(), self.recipe, self.modality, free_batch=free_batch)


def make(
    card: Card,
    device: runtime.Device,
    *,
    layer: str | Sequence[str] | None = None,
    pool: str = "auto",
    normalize: bool = False,
    precision: str = "auto",
    views: str | None = None,
    dtype: str = "float32",
    **changes: Any,
) -> Plan:
    """Build a plan from a completed card and the user's choices.

    Parameters
    ----------
    card : Card
        From `load_card`.
    device : runtime.Device
        Where it will run.
    layer, pool, normalize, precision, views
        As in `PretrainedEmbedder`; other views as in `Recipe`.
    dtype : {"float32", "float16"}
        Type of the rows; small numbers are for rows that are kept by the thousand, such as flattened maps.
    **changes
        Fields of the card's input to set for this plan, such as ``max_length``.

    Raises
    ------
    LayerError
        If there is no such layer, or it cannot be pooled so.
    CardError
        If the input has no such field.
    IntegrityError, UnknownModelError
        If the model's files are not there or not the pinned ones.
    """
    assert card.layer is not None
    digests = hub.digests(card)
    inspection.ensure_tried(card, digests)
    names = (card.layer,) if layer is None else (str(layer),) if isinstance(layer, str) else tuple(map(str, layer))
    if not names:
        raise LayerError("layer is an empty list; name at least one tensor, or pass None for the card's embedding.")
    spec, shapes = changed(card, changes), shapes_of(card, names)
    how = _settled(card, shapes, pool)
    axes = check_pool(how, names, shapes, spec, channels_of(card, names, shapes))
    recipe = Recipe(
        graph=hub.fingerprint(card, digests),
        input=spec,
        layers=names,
        pool=how,
        normalize=bool(normalize) or (card.normalize and layer is None),
        precision=str(precision),
        device=device.kind,
        axes=axes,
        views=views,
        constants=tuple(sorted((name, _frozen(value)) for name, value in card.constants.items())),
        dtype=dtype,
    )
    _check_views(recipe, card)
    plan = Plan(card, recipe, device, _row_shape(recipe, shapes), digests=digests)
    return dataclasses.replace(plan, wider=_wider(plan))


def _check_views(recipe: Recipe, card: Card) -> None:
    """Refuse views that samples do not have, or whose mean has no places."""
    if recipe.views is None:
        return
    modality = modalities.of(recipe.input)
    if recipe.views.partition(" ")[0] not in (*(known := modality.views), *modality.variants):
        raise CardError(
            f"views={recipe.views!r} is not for {card.modality} samples, which {card.name!r} takes"
            + (f"; they have {', '.join(map(repr, known))}." if known else ".")
        )
    if recipe.pool == "none":
        raise LayerError(f"pool='none' keeps every place, and views={recipe.views!r} averages rows; choose one.")


def changed(card: Card, changes: Mapping[str, Any]) -> InputSpec:
    """Return the card's input with fields set; grids of NumPy hold its numbers, recipes hold Python's."""
    assert card.input is not None
    foreign = changes.keys() - {field.name for field in dataclasses.fields(card.input)}
    if foreign:
        raise CardError(f"{', '.join(sorted(foreign))} is not for {card.modality} samples, which {card.name!r} takes.")
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in changes.items()}
    spec = dataclasses.replace(card.input, **plain)
    if wrong := spec.mistakes():
        raise CardError(f"The input of {card.name!r} cannot be used: {'; '.join(wrong)}.")
    return spec


def _frozen(value: Any) -> Any:
    """Return a number, or nested tuples of numbers, of lists."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def shapes_of(card: Card, layers: Sequence[str]) -> list[Shape]:
    """Return the shapes of layers, from the card if it lists them, else from the graph."""
    table: Mapping[str, Shape] = card.layers_table
    if not all(name in table for name in layers):
        info = inspection.inspect_model(card)
        graph.check_layers(layers, info)
        table = {**info.layers, **table}
    return [table[name] for name in layers]


def channels_of(card: Card, layers: Sequence[str], shapes: Sequence[Shape]) -> list[int | None]:
    """Return the axis of the channels of each layer, from the card if it says, else from the graph; None if unknown.

    Rows have one axis after that of the batch, and need no pooling.
    """
    needed = {name: len(shape) + 1 for name, shape in zip(layers, shapes, strict=True) if len(shape) > 1}
    known: Mapping[str, int] = card.channels
    if not all(name in known for name in needed):
        known = {**inspection.inspect_model(card).channels, **known}
    rule = {name: _by_layout(card, rank) for name, rank in needed.items() if name not in known}
    return [known.get(name, rule.get(name)) if name in needed else None for name in layers]


def _by_layout(card: Card, rank: int) -> int | None:
    """Return the axis of the channels where nothing but a card tells it, which has channels last."""
    return rank - 1 if card.input is not None and card.input.layout == "NHWC" and rank > 3 else None


def _settled(card: Card, shapes: Sequence[Shape], pool: str) -> str:
    """Return the pooling: "" where every layer is a row already, else the user's, else the card's, else the mean.

    Raises
    ------
    CardError
        If it has to be said and nobody does.
    """
    if all(len(shape) < 2 for shape in shapes):
        return ""
    if pool == "auto" and card.pool == ASKED:
        assert card.input is not None
        raise CardError(
            f"{card.layer!r} of {card.name!r} has a vector for each of up to max_length={card.input.longest} tokens, "
            "and no modules.json beside it says how they become one row. Choose as its authors do, pool='mean' or "
            "pool='cls' for most: PretrainedEmbedder(..., pool='mean'), load_card(..., pool='mean'), or skltransfer "
            "models card FILE.onnx --pool mean"
        )
    return pool if pool != "auto" else card.pool if card.pool != "auto" else "mean"


def check_pool(
    pool: str, layers: Sequence[str], shapes: Sequence[Shape], spec: InputSpec, channels: Sequence[int | None]
) -> tuple[Axes, ...]:
    """Refuse poolings that layers cannot have, and settle which axes are pooled.

    Parameters
    ----------
    pool : str
        Settled, as in `Recipe`.
    layers, shapes : sequences
        Names, and shapes after the batch axis.
    spec : InputSpec
        Of the samples.
    channels : sequence of int or None
        From `channels_of`.

    Returns
    -------
    tuple of tuple of int
        For each layer the axes that are reduced, the batch axis being 0.

    Raises
    ------
    LayerError
        With the layer and its shape.
    """
    axes: list[Axes] = []
    for name, shape, channel in zip(layers, shapes, channels, strict=True):
        graph.check_pool(pool, name, shape, padded=spec.longest is not None)
        if len(shape) < 2:
            axes.append(())
        elif pool == "flatten":
            axes.append(spatial_axes(len(shape) + 1, spec.layout))  # all numbers are kept; the rule's keys are, too
        else:
            axes.append(_pooled(name, shape, channel))
    if pool == "none":
        if spec.averaged:
            raise LayerError("pool='none' keeps every token, and long_text='windows' averages parts; choose one.")
        graph.check_same_places(layers, shapes, axes)
    return tuple(axes)


def _pooled(name: str, shape: Shape, channel: int | None) -> Axes:
    """Return all axes but those of the batch and the channels."""
    shown = f"layer {name!r}, of shape {('n', *shape)}"
    if channel is None:
        raise LayerError(
            f"Which axis of {shown}, holds the channels cannot be told from the operators that make and use it. Say "
            f"which, that of the samples being 0: load_card(MODEL, channels={{{name!r}: 1}}), or skltransfer models "
            f"card FILE --channels {name}=1; or keep all of its numbers with pool='flatten'."
        )
    if not 0 < channel <= len(shape):
        raise LayerError(f"channels={{{name!r}: {channel}}} is no axis of {shown}; give 1 to {len(shape)}.")
    return tuple(axis for axis in range(1, len(shape) + 1) if axis != channel)


def _row_shape(recipe: Recipe, shapes: Sequence[Shape]) -> tuple[int, ...] | None:
    """Compute the shape of a row; None if the graph does not say."""
    parts = [graph.row_shape(shape, recipe.pool, axes) for shape, axes in zip(shapes, recipe.axes, strict=True)]
    longest = recipe.input.longest
    if recipe.pool == "none" and longest is not None:
        parts = [(longest, *part[1:]) if len(part) == 2 else part for part in parts]
    return graph.joined_shape(parts)


def _wider(plan: Plan) -> Plan | None:
    """Widen a plan to what other candidates of a search may want of the same run, see the module."""
    card, recipe = plan.card, plan.recipe
    listed = card.layers_table if len(card.layers_table) <= MOST_SHARED else {}
    names = tuple(listed) if set(recipe.layers) <= listed.keys() else tuple(dict.fromkeys(recipe.layers))
    known = zip(names, shapes_of(card, names), channels_of(card, names, shapes_of(card, names)), strict=True)
    told = [(name, shape, channel) for name, shape, channel in known if len(shape) < 2 or channel is not None]
    if not told:
        return None
    layers, shapes, _ = zip(*told, strict=True)
    axes = tuple(_pooled(name, shape, channel) if len(shape) > 1 else () for name, shape, channel in told)
    parts = _parts(layers, shapes, axes)
    wanted = [parts.get((name, recipe.pool)) or parts.get((name, "")) for name in recipe.layers]
    if None in wanted or len(parts) == 1 or (recipe.normalize and recipe.averaged):
        return None
    wide = dataclasses.replace(recipe, layers=layers, pool="shared", normalize=False, axes=axes)
    columns = tuple(part for part in wanted if part is not None)
    return Plan(card, wide, plan.device, plan.shape, view=View(columns, recipe.normalize), digests=plan.digests)


def _parts(layers: Sequence[str], shapes: Sequence[Shape], axes: Sequence[Axes]) -> dict[tuple[str, str], slice]:
    """Map each layer and pooling to its columns in a shared row; empty if the graph does not say how many."""
    parts, start = {}, 0
    for name, shape, reduced in zip(layers, shapes, axes, strict=True):
        for pool in graph.shared_pools(shape):
            (width,) = graph.row_shape(shape, pool, reduced)
            if width is None:
                return {}
            parts[name, pool] = slice(start, start + width)
            start += width
    return parts
