"""Find a variant, or make it: convert, compare on samples, keep the first candidate that agrees."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine import catalog, graph, hub, runtime, synthetic
from skltransfer._engine.modalities import array as arrays
from skltransfer._engine.modalities import image as images
from skltransfer._engine.quantization import _fp16, _int8
from skltransfer._engine.quantization._compare import compare, embed
from skltransfer.cards import Card, ImageSpec, ModelFile
from skltransfer.errors import ConversionError, DeviceError

if TYPE_CHECKING:
    import onnx

#: Least mean cosine of a variant's rows with the original's.
MIN_COSINE = {"fp16": 0.999, "int8": 0.99}
#: How each is made: candidates of a graph, the fastest first. They are given what goes into the graph, to calibrate on.
CONVERTERS: dict[str, Callable[[onnx.ModelProto, Callable[[], Iterator[np.ndarray]]], Iterator[onnx.ModelProto]]] = {
    "fp16": _fp16.candidates,
    "int8": _int8.candidates,
}
#: Raised whenever a converter gives other numbers for the same graph: older variants are made anew.
VERSION = 2

#: Sizes of images that are made up, where nobody gave samples, and the numbers of drawings and texts.
SIZES = [(300 + 23 * i, 500 - 11 * i) for i in range(16)]
DRAWINGS, TEXTS = 32, 48


def find(card: Card, precision: str, device: runtime.Device) -> Card:
    """Give the card to run, making a variant if there is none yet.

    Parameters
    ----------
    card : Card
        From `catalog.load_card`.
    precision : str
        One of `cards.PRECISIONS`; of ``"auto"`` and ``"fp32"`` the card itself.
    device : runtime.Device
        Where it will run.

    Returns
    -------
    Card
        The same in every respect but its files, and what is known of them.

    Raises
    ------
    ConversionError
        If there is no such variant that agrees.
    DeviceError
        If the device is not one it is for.
    """
    if precision not in CONVERTERS:
        return card
    if precision == "int8" and device.kind != "cpu":
        raise DeviceError(f"precision='int8' is for the CPU; on {str(device)!r} take precision='fp16'.")
    variant = kept(card, precision) or _make(card, precision, None, anew=False)
    own = ("name", "files", "folder", "golden", "layers_table", "measured", "source")
    return dataclasses.replace(card, **{name: getattr(variant, name) for name in own})


def kept(card: Card, precision: str) -> Card | None:
    """Give a variant that was made before, if there is one of these very files."""
    folder = _place(card, precision)
    if not (folder / "card.json").is_file():
        return None
    variant = catalog.load_card(folder)
    return variant if variant.source == _origin(card, precision) else None


def quantize(model: str | os.PathLike[str] | Card, precision: str, samples: Sequence[Any] | None = None) -> Card:
    """Convert a backbone to fewer bits, compare the two on samples, and keep the variant, in place of an older one.

    ``precision="fp16"`` stores weights and computes in 16 bits where the device can: half the file, faster on a GPU.
    ``"int8"`` is for the CPU. Of a network of convolutions weights and activations become integers, their scales fixed
    by what samples give ([1]_); the first layers, which cost accuracy and gain nothing, stay as they are. Of a
    transformer the weights of its matrix products become integers with a scale for each column, and what they are
    multiplied with integers with a scale for each token or patch; where that is too coarse, both in blocks of a column
    or row. In neither does a row depend on its batch mates.

    Parameters
    ----------
    model : str, path or Card
        As in `PretrainedEmbedder`.
    precision : {"fp16", "int8"}
        What to convert to.
    samples : sequence, optional
        Samples like those it will embed, some dozens at least: every second one calibrates, the others compare. By
        default made-up images or texts.

    Returns
    -------
    Card
        Its ``measured`` says how far its rows are from the original's, and what it gains on this machine's CPU.

    Raises
    ------
    ConversionError
        If the graph cannot be converted, or no conversion reaches the cosine of `MIN_COSINE`; nothing is kept then.

    References
    ----------
    .. [1] Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
       CVPR 2018.

    Examples
    --------
    >>> from skltransfer._engine.quantization import quantize
    >>> quantize("resnet50.onnx", "int8", photographs).measured  # doctest: +SKIP
    {'cosine': 0.9961, 'least_cosine': 0.9903, 'speed': 2.1, 'on': '100 samples that were given'}
    """
    if precision not in CONVERTERS:
        raise ConversionError(f"precision={precision!r} is not one of {', '.join(CONVERTERS)}.")
    return _make(catalog.load_card(model), precision, samples, anew=True)


def _make(card: Card, precision: str, samples: Sequence[Any] | None, *, anew: bool) -> Card:
    """Make a variant; unless it is to be anew, one that another process made meanwhile is as good."""
    given = _made_up(card) if samples is None else list(samples)
    if len(given) < 4:
        raise ConversionError(f"{len(given)} samples are too few to calibrate on some and compare on others.")
    place = _place(card, precision)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as temporary:
        folder = Path(temporary) / place.name
        candidates = _candidates(card, precision, given[::2], folder)
        variant, figures = _first_that_agrees(card, candidates, MIN_COSINE[precision], given)
        figures["on"] = f"{len(given[1::2])} samples that were {'made up' if samples is None else 'given'}"
        catalog.write_card(dataclasses.replace(variant, measured=figures), folder / "card.json")
        if anew or kept(card, precision) is None:
            _move(folder, place)
    return catalog.load_card(place)


def _candidates(card: Card, precision: str, samples: Sequence[Any], folder: Path) -> Iterator[Card]:
    """Convert, and lay down one candidate after the other in the same folder."""
    source = _origin(card, precision)
    for model in CONVERTERS[precision](_load(card), lambda: _inputs(card, samples)):
        yield _written(card, model, folder, source)


def _first_that_agrees(
    card: Card, candidates: Iterator[Card], mark: float, samples: Sequence[Any]
) -> tuple[Card, dict[str, Any]]:
    """Compare candidates with the original, on every second sample; on the others they were calibrated."""
    rows, best = embed(card, samples), 0.0
    for candidate in candidates:
        figures = compare(card, candidate, samples[1::2], rows[1::2])
        if figures["cosine"] >= mark:
            return candidate, figures
        best = max(best, figures["cosine"])
    raise ConversionError(
        f"No such variant of {card.name!r} is near enough: the mean cosine of its rows with the original's is "
        f"{best:.4f} at best, {mark} is asked for. Calibrated on samples like yours it may be: skltransfer models "
        "variant MODEL PRECISION --samples FOLDER"
    )


def _place(card: Card, precision: str) -> Path:
    """Give the folder of a variant: beside what is the user's; what is ours is only ever added to, in the store."""
    assert card.folder is not None
    stem, home = Path(card.files["model"].path).stem, card.folder.resolve()
    ours = (hub.store_folder().resolve(), Path(str(files("skltransfer.models"))).resolve())
    if any(home.is_relative_to(folder) for folder in ours) or not os.access(home, os.W_OK):
        home = hub.store_folder() / "variants" / hub.fingerprint(card)[:32]
    return home / f"{stem}.{precision}"


def _origin(card: Card, precision: str) -> str:
    """Say what a variant was made of: files, and how pixels were scaled when its scales were fixed."""
    pixels = f", of pixels {hashlib.sha256(repr(card.input).encode()).hexdigest()[:8]}" * (card.modality == "image")
    return f"{precision} (edition {VERSION}{pixels}) of the model with SHA-256 {hub.fingerprint(card)}"


def _load(card: Card) -> onnx.ModelProto:
    return graph.typed(graph.load(hub.verified(card), card.manifest))


def _made_up(card: Card) -> list[Any]:
    """Make samples where nobody gave any."""
    if card.modality == "array":
        raise ConversionError(
            f"{card.name!r} takes numbers, and nobody can make those up; give some: skltransfer models variant MODEL "
            "PRECISION --samples FILE.npy"
        )
    return (
        synthetic.texts(TEXTS) if card.modality == "text" else [*synthetic.images(SIZES), *synthetic.drawings(DRAWINGS)]
    )


def _inputs(card: Card, samples: Sequence[Any]) -> Iterator[np.ndarray]:
    """Give what goes into the original's graph, sample by sample."""
    if card.modality == "text":
        raise ConversionError(f"{card.name!r} takes texts and has few matrix products; its int8 is not supported.")
    for sample in samples:
        if isinstance(card.input, ImageSpec):
            yield images.to_tensor([sample], card.input)
        else:
            yield arrays.read(sample).data[np.newaxis]


def _written(card: Card, model: onnx.ModelProto, folder: Path, source: str) -> Card:
    """Lay a candidate down, with the tokenizer of its card; weights it holds itself."""
    folder.mkdir(exist_ok=True)
    with (folder / "model.onnx").open("wb") as file:
        file.writelines(graph.pieces(model))
    listed = {"model": ModelFile("model.onnx")}
    if "tokenizer" in card.files:
        assert card.folder is not None
        shutil.copy(card.folder / card.files["tokenizer"].path, folder / "tokenizer.json")
        listed["tokenizer"] = ModelFile("tokenizer.json")
    there = {name for node in model.graph.node for name in node.output}  # a converter may drop tensors
    layers = {name: shape for name, shape in card.layers_table.items() if name in there}
    own: dict[str, Any] = {
        "name": folder.name,
        "files": listed,
        "folder": folder,
        "layers_table": layers,
        "source": source,
    }
    return dataclasses.replace(card, **own, golden={})


def _move(folder: Path, place: Path) -> None:
    """Put a variant in its place, whole; an older one is moved out of the way, and goes with the temporary folder."""
    with suppress(OSError):  # another process was faster
        if place.exists():
            place.rename(folder.with_name("old"))
        folder.rename(place)
