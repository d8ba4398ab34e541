"""Classifiers of timm and torchvision; the embedding is the input of their last linear layer."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skltransfer._engine.modalities import image
from skltransfer.cards import Card, ImageSpec
from skltransfer.convert._source import Source, conversion_errors, wrapped
from skltransfer.errors import ConversionError, need

#: Width and height of the images on which source and card must agree: landscape, portrait, square, small, odd.
IMAGES = ((400, 300), (301, 517), (256, 256), (60, 47), (1023, 333))

#: Name of the embedding in a graph; the exporter already uses "embedding" for the result of an embedding table.
EMBEDDING = "image_embedding"


def _source(
    model: Any,
    forward: Callable[[Any], Any],
    names: Sequence[str],
    spec: ImageSpec,
    transform: Callable[[Any], Any],
    embed: Callable[[Any], Any],
    **fields: Any,
) -> Source:
    """Build the source of a classifier of timm or torchvision."""
    torch = need("torch", extra="convert")

    def reference(samples: Sequence[Any], card: Card) -> np.ndarray:
        with torch.inference_mode():
            return np.stack([embed(transform(sample)[None])[0].numpy() for sample in samples])

    return Source(
        module=wrapped(forward, model),
        inputs={"pixels": torch.zeros(2, 3, *spec.size)},
        outputs=[EMBEDDING, *names],
        card=Card(name="", modality="image", files={}, input=spec, layer=EMBEDDING, **fields),
        samples=image.pictures(IMAGES),
        reference=reference,
    )


# ---------------------------------------------------------------------------------------------------------------------
# timm


def timm(source: Any) -> Source:
    """Read a model of timm.

    Parameters
    ----------
    source : str or torch.nn.Module
        Name of the model, with pretrained weights, or a result of ``timm.create_model``.

    Returns
    -------
    Source
    """
    torch, library = need("torch", extra="convert"), need("timm", extra="convert")
    name = source if isinstance(source, str) else type(source).__name__
    with conversion_errors(f"timm cannot load {name!r}"):
        model = library.create_model(source, pretrained=True) if isinstance(source, str) else copy.deepcopy(source)
        config = library.data.resolve_model_data_config(model)
        transform = library.data.create_transform(**config, is_training=False)
        model, config_of_weights = model.eval(), dict(model.pretrained_cfg)
    spec = _timm_spec(config)

    def embed(pixels: Any) -> Any:
        return model.forward_head(model.forward_features(pixels), pre_logits=True).flatten(1)

    def forward(pixels: Any) -> Any:
        last, states = model.forward_intermediates(pixels)
        return model.forward_head(last, pre_logits=True).flatten(1), *states

    if not hasattr(model, "forward_intermediates"):  # some architectures do not return their states
        forward = embed
    with conversion_errors(f"{name!r} does not run"), torch.inference_mode():
        outputs = forward(torch.zeros(2, 3, *spec.size))
    names = [f"block_{i + 1}" for i in range(len(outputs) - 1 if isinstance(outputs, tuple) else 0)]
    fields: dict[str, Any] = {
        "license": str(config_of_weights.get("license") or ""),
        "source": f"timm: {config_of_weights.get('architecture') or name}",
    }
    return _source(model, forward, names, spec, transform, embed, **fields)


def _timm_spec(config: dict[str, Any]) -> ImageSpec:
    """Read a data configuration of timm as its ``create_transform`` does."""
    _, height, width = config["input_size"]
    mode, kept = config.get("crop_mode", "center"), config["crop_pct"]
    scaled = math.floor(min(height, width) / kept)
    if mode == "squash" and kept == 1:
        geometry: dict[str, Any] = {"resize": "squash"}
    elif mode == "center" and height == width:
        geometry = {"resize": "shorter", "resize_to": scaled, "rounding": "torchvision"}
    else:
        raise ConversionError(
            f"A card cannot express timm's crop_mode={mode!r} with crop_pct={kept} of {height} x {width}."
        )
    chosen: dict[str, Any] = {"range": 1.0, "mean": tuple(config["mean"]), "std": tuple(config["std"])}
    return ImageSpec(size=(height, width), interpolation=config["interpolation"], **geometry, **chosen)


# ---------------------------------------------------------------------------------------------------------------------
# torchvision


def torchvision(source: Any) -> Source:
    """Read a classifier of torchvision.

    Parameters
    ----------
    source : str
        Name of a model, for its default weights, or of weights: ``"ResNet50_Weights.IMAGENET1K_V1"``.

    Returns
    -------
    Source
    """
    if not isinstance(source, str | os.PathLike):
        raise ConversionError(
            f"Pass the name of a torchvision model or of its weights, not a {type(source).__name__}: the module does "
            "not contain how pixels are scaled. For a module of your own pass kind='module'."
        )
    name = os.fspath(source)
    library = need("torchvision", extra="convert").models
    with conversion_errors(f"torchvision cannot load {name!r}"):
        weights = library.get_weight(name) if "." in name else library.get_model_weights(name).DEFAULT
        builder = name if "." not in name else _builder(library, weights)
        model, preset = library.get_model(builder, weights=weights).eval(), weights.transforms()
    spec = _preset(preset, name)
    _remove_classifier(model, name)
    return _source(model, model, [], spec, preset, model, source=f"torchvision: {weights}")


def _builder(library: Any, weights: Any) -> str:
    """Return the name of the model that weights belong to."""
    return next(str(name) for name in library.list_models() if library.get_model_weights(name) is type(weights))


def _remove_classifier(model: Any, name: str) -> None:
    """Replace the last linear layer by an identity, so that its input is the output."""
    torch = need("torch", extra="convert")
    linear = [path for path, part in model.named_modules() if isinstance(part, torch.nn.Linear)]
    last = list(model.named_modules())[-1][0]
    if not linear or linear[-1] != last:
        other = type(model.get_submodule(last)).__name__
        raise ConversionError(f"{name!r} must end in a linear layer, not in {other}.")
    parent, _, attribute = last.rpartition(".")
    owner = model.get_submodule(parent)
    setattr(owner, attribute, torch.nn.Identity())


def _preset(preset: Any, name: str) -> ImageSpec:
    """Read the transforms of torchvision's weights."""
    try:
        (crop,), (scaled,) = preset.crop_size, preset.resize_size
        mean, std, mode = tuple(preset.mean), tuple(preset.std), preset.interpolation.value
    except (AttributeError, TypeError, ValueError) as err:
        raise ConversionError(f"A card cannot express the transforms of {name!r}: {preset}") from err
    size = (crop, crop)
    chosen: dict[str, Any] = {"interpolation": mode, "range": 1.0, "mean": mean, "std": std}
    return ImageSpec(size, resize_to=scaled, rounding="torchvision", **chosen)
