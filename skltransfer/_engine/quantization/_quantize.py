"""Find the quantized model of a card, or create it: convert, compare on samples, keep the first that agrees."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skltransfer._engine import catalog, golden, graph, hub, inspection, modalities, runtime
from skltransfer._engine.quantization import _float16, _int8
from skltransfer._engine.quantization._compare import compare, embed
from skltransfer.cards import Card, ModelFile
from skltransfer.errors import ConversionError, DeviceError

if TYPE_CHECKING:
    import onnx

#: Least mean cosine between rows of the quantized model and of the original.
MIN_COSINE = {"fp16": 0.999, "int8": 0.99}
#: Functions that yield candidates for a graph, the fastest first; the second argument returns inputs to calibrate on.
CONVERTERS: dict[str, Callable[[onnx.ModelProto, Callable[[], Iterator[np.ndarray]]], Iterator[onnx.ModelProto]]] = {
    "fp16": _float16.candidates,
    "int8": _int8.candidates,
}
#: Number of the conversion; raise it when a converter gives other numbers for the same graph. Quantized models of an
#: older version are converted again.
VERSION = 2


def quantized_card(card: Card, precision: str, device: runtime.Device) -> Card:
    """Return the card to run, converting it if that was not done before.

    Parameters
    ----------
    card : Card
        From `catalog.load_card`.
    precision : str
        One of `cards.PRECISIONS`; ``"auto"`` and ``"fp32"`` return the card itself.
    device : runtime.Device
        Where it will run.

    Returns
    -------
    Card
        The given card with other files, and their hashes, layers and figures.

    Raises
    ------
    ConversionError
        If no conversion agrees with the original.
    DeviceError
        If the precision is not for this device.
    """
    if precision not in CONVERTERS:
        return card
    if precision == "int8" and device.kind != "cpu":
        raise DeviceError(f"precision='int8' is for the CPU; for {str(device)!r} pass precision='fp16'.")
    quantized = find_quantized(card, precision) or _convert(card, precision, None, replace=False)
    own = ("name", "files", "folder", "golden", "layers_table", "measured", "source")
    return dataclasses.replace(card, **{name: getattr(quantized, name) for name in own})


def find_quantized(card: Card, precision: str) -> Card | None:
    """Return the quantized model that was converted from exactly these files; None if there is none."""
    folder = _folder(card, precision)
    if not (folder / "card.json").is_file():
        return None
    quantized = catalog.load_card(folder)
    return quantized if quantized.source == _source(card, precision) else None


def quantize(model: str | os.PathLike[str] | Card, precision: str, samples: Sequence[Any] | None = None) -> Card:
    """Convert a backbone to fewer bits, compare the two on samples, and keep the result, replacing an older one.

    ``precision="fp16"`` stores weights and computes in 16 bits where the device can: half the file, faster on a GPU.
    ``"int8"`` is for the CPU. In a convolutional network weights and activations become integers, with static scales
    that are calibrated on samples ([1]_); the first layers stay float32, because quantizing them costs accuracy and
    saves no time. In a transformer the weights of matrix products become integers with a scale per column, and their
    inputs integers with a scale per token or patch; where that is too coarse, both get scales per block of a column or
    row. In neither case does a row depend on the other samples of its batch.

    Parameters
    ----------
    model : str, path or Card
        As in `PretrainedEmbedder`.
    precision : {"fp16", "int8"}
        What to convert to.
    samples : sequence, optional
        Samples like those it will embed, some dozens at least: every second one is used to calibrate, the others to
        compare. By default synthetic images or texts.

    Returns
    -------
    Card
        Its ``measured`` holds the cosines between its rows and the original's, and its speed on this machine's CPU.

    Raises
    ------
    ConversionError
        If the graph cannot be converted, or no conversion reaches `MIN_COSINE`; nothing is kept then.

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
    return _convert(catalog.load_card(model), precision, samples, replace=True)


def _convert(card: Card, precision: str, samples: Sequence[Any] | None, *, replace: bool) -> Card:
    """Convert, compare and keep; unless told to replace, keep what another process has converted meanwhile."""
    given = _synthetic(card) if samples is None else list(samples)
    if len(given) < 4:
        raise ConversionError(f"{len(given)} samples are too few: half calibrate, half compare; pass at least 4.")
    place = _folder(card, precision)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as temporary:
        folder = Path(temporary) / place.name
        candidates = _candidates(card, precision, given[::2], folder)
        quantized, figures = _first_that_agrees(card, candidates, MIN_COSINE[precision], given)
        count = len(given[1::2])
        figures["on"] = f"{count} synthetic samples" if samples is None else f"{count} samples that were given"
        golden.write_card(dataclasses.replace(quantized, measured=figures), folder / "card.json")
        if replace or find_quantized(card, precision) is None:
            _move(folder, place)
    return catalog.load_card(place)


def _candidates(card: Card, precision: str, samples: Sequence[Any], folder: Path) -> Iterator[Card]:
    """Convert, and write one candidate after the other to the same folder."""
    source = _source(card, precision)
    for model in CONVERTERS[precision](_load(card), lambda: _inputs(card, samples)):
        candidate = _written(card, model, folder, source)
        inspection.trust(candidate)
        yield candidate


def _first_that_agrees(
    card: Card, candidates: Iterator[Card], least: float, samples: Sequence[Any]
) -> tuple[Card, dict[str, Any]]:
    """Return the first candidate that agrees with the original on the samples that did not calibrate it."""
    rows, best = embed(card, samples), 0.0
    for candidate in candidates:
        figures = compare(card, candidate, samples[1::2], rows[1::2])
        if figures["cosine"] >= least:
            return candidate, figures
        best = max(best, figures["cosine"])
    raise ConversionError(
        f"No conversion of {card.name!r} is close enough: the mean cosine between its rows and the original's is "
        f"{best:.4f} at best, and must be {least}. Calibrate it on samples like yours: skltransfer models quantize "
        "MODEL PRECISION --samples FOLDER"
    )


def _folder(card: Card, precision: str) -> Path:
    """Return the folder of a quantized model: beside the user's own files, else in the store of models."""
    assert card.folder is not None
    stem, home = Path(card.files["model"].path).stem, card.folder.resolve()
    ours = (hub.store_folder().resolve(), Path(str(files("skltransfer.models"))).resolve())
    if any(home.is_relative_to(folder) for folder in ours) or not os.access(home, os.W_OK):
        home = hub.store_folder() / "variants" / hub.fingerprint(card)[:32]
    return home / f"{stem}.{precision}"


def _source(card: Card, precision: str) -> str:
    """Return a text that identifies the conversion: its files, and how pixels were scaled when it was calibrated.

    Another text is another source: every quantized model would be converted again.
    """
    assert card.input is not None
    return f"{precision} (version {VERSION}{_calibration(card)}) of the model with SHA-256 {hub.fingerprint(card)}"


def _calibration(card: Card) -> str:
    """Return what identifies the input that scales are calibrated on; nothing where none are."""
    assert card.input is not None
    if modalities.of(card.input).to_tensor is None:
        return ""
    spec = json.dumps(card.input.canonical(), sort_keys=True)
    return f", of input {hashlib.sha256(spec.encode()).hexdigest()[:8]}"


def _load(card: Card) -> onnx.ModelProto:
    return graph.typed(graph.load(hub.verified(card), card.manifest))


def _synthetic(card: Card) -> list[Any]:
    """Return synthetic samples of a card's modality."""
    if (synthetic := modalities.of(card.modality).synthetic) is None:
        raise ConversionError(
            f"{card.name!r} takes {card.modality} samples, for which there are no synthetic ones; pass yours: "
            "skltransfer models quantize MODEL PRECISION --samples FILE.npy"
        )
    return synthetic("compare")


def _inputs(card: Card, samples: Sequence[Any]) -> Iterator[np.ndarray]:
    """Yield inputs of the original's graph, sample by sample."""
    if (to_tensor := modalities.of(card.modality).to_tensor) is None:
        raise ConversionError(
            f"{card.name!r} takes {card.modality} samples and has few MatMul nodes; int8 is not supported for it."
        )
    for sample in samples:
        yield to_tensor(sample, card.input)


def _written(card: Card, model: onnx.ModelProto, folder: Path, source: str) -> Card:
    """Write a candidate and the tokenizer of its card; the graph holds its weights."""
    folder.mkdir(exist_ok=True)
    with (folder / "model.onnx").open("wb") as file:
        file.writelines(graph.pieces(model))
    listed = {"model": ModelFile("model.onnx")}
    for role in modalities.of(card.modality).needs:
        assert card.folder is not None
        name = Path(card.files[role].path).name
        shutil.copy(card.folder / card.files[role].path, folder / name)
        listed[role] = ModelFile(name)
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
    """Rename a finished folder into place; an older one is moved away and removed with the temporary folder."""
    with suppress(OSError):  # another process did so first
        if place.exists():
            place.rename(folder.with_name("old"))
        folder.rename(place)
