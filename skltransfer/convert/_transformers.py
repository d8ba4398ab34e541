"""Encoders of images or of texts from transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer._engine.modalities import image
from skltransfer.cards import Card, ImageSpec, TextSpec
from skltransfer.convert._images import EMBEDDING, IMAGES
from skltransfer.convert._source import Source, conversion_errors, wrapped
from skltransfer.convert._texts import TEXTS, license, path_or_name, text_spec
from skltransfer.errors import ConversionError, need

EMBEDDING_OF_TEXTS = "text_embedding"
#: Names of Pillow's filters, by the numbers that image processors use.
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


@dataclass(frozen=True)
class Encoder:
    """An encoder loaded by transformers.

    Parameters
    ----------
    name : str
        Folder or name of the model.
    library : module
        The module `transformers`.
    model : torch.nn.Module
        The whole model, which holds both encoders of a pair.
    run : callable
        Takes the inputs of the encoder by name; returns its states, and its embedding as ``pooler_output`` if it has
        one.
    paired : bool
        Whether the encoder is one of a pair.
    """

    name: str
    library: Any
    model: Any
    run: Callable[..., Any]
    paired: bool = False


#: Encoders of a pair such as CLIP: main input of each, and the method that computes the shared embedding.
PARTS = {"vision": ("pixel_values", "get_image_features"), "text": ("input_ids", "get_text_features")}
#: Types of models that were trained on texts padded to the full length.
PADDED = ("siglip", "siglip2")


def encoder(source: Any, *, part: str | None = None) -> Source:
    """Read an encoder of transformers.

    Parameters
    ----------
    source : str or path
        Folder or name of the model.
    part : {"vision", "text"}, optional
        Encoder of a pair.

    Returns
    -------
    Source
    """
    name = path_or_name(source, "transformers")
    library = need("transformers", extra="convert")
    with conversion_errors(f"transformers cannot load {name!r}"):
        model, found = library.AutoModel.from_pretrained(
            name, output_loading_info=True, attn_implementation="eager", dtype="float32"
        )
    missing = sorted(key for key in found["missing_keys"] if "pooler" not in key)
    if missing:
        raise ConversionError(f"{name!r} has no weights for {', '.join(missing[:3])}; pass a model with all weights.")
    if all(hasattr(model, method) for _, method in PARTS.values()):
        return _part(name, library, model.eval(), part)
    if part is not None:
        raise ConversionError(f"part={part!r} is for a pair of encoders; {type(model).__name__} is a single one.")
    if (main := model.main_input_name) not in SOURCES or hasattr(model.config, "text_config"):
        raise ConversionError(
            f"{type(model).__name__} takes {main!r}; only encoders of images or of texts can be converted."
        )
    if found["missing_keys"]:
        model.pooler = None  # an untrained pooler computes no embedding
    return SOURCES[main](Encoder(name, library, model.eval(), model))


def _part(name: str, library: Any, model: Any, part: str | None) -> Source:
    """Read one encoder of a pair."""
    if part not in PARTS:
        raise ConversionError(
            f"{type(model).__name__} is a pair of encoders; pass part='vision' or part='text' (--part on the command "
            f"line), not {part!r}."
        )
    takes, method = PARTS[part]
    return SOURCES[takes](Encoder(name, library, model, getattr(model, method), paired=True))


def _card(name: str, modality: str, spec: ImageSpec | TextSpec, layer: str, pool: str = "auto") -> Card:
    folder = Path(name)
    source = f"transformers: {folder.name}"
    return Card("", modality, {}, spec, layer, pool, license=license(folder), source=source)


# ---------------------------------------------------------------------------------------------------------------------
# Texts


def _texts(source: Encoder) -> Source:
    """Read a text encoder; the embedding is the mean of the last hidden state, or the projection of a pair."""
    torch, name, model = need("torch", extra="convert"), source.name, source.model
    with conversion_errors(f"transformers cannot load the tokenizer of {name!r}"):
        tokenizer = source.library.AutoTokenizer.from_pretrained(name)
    config = model.config.get_text_config()
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", 10**9))
    padded = model.config.model_type in PADDED
    spec = replace(text_spec(tokenizer, longest if longest < 10**6 else None, name), fill=padded)
    fill = {"padding": "max_length" if padded else True, "max_length": longest, "truncation": True}
    example = tokenizer(["two texts", "of several tokens each"], return_tensors="pt", **fill)
    example = {name: value for name, value in example.items() if name in tokenizer.model_input_names}
    layer, pool = (EMBEDDING_OF_TEXTS, "auto") if source.paired else ("last_hidden_state", "mean")

    def forward(*inputs: Any) -> Any:
        states = source.run(**dict(zip(example, inputs, strict=True)), output_hidden_states=True)
        return states.pooler_output if source.paired else states.last_hidden_state, *states.hidden_states[:-1]

    def reference(texts: Sequence[str], card: Card) -> np.ndarray:
        rows = []
        for text in texts:
            tokens = tokenizer(text, return_tensors="pt", **fill)
            with torch.inference_mode():
                found = source.run(**tokens)
                rows.append(found.pooler_output[0] if source.paired else found.last_hidden_state[0].mean(dim=0))
        return np.stack([row.numpy() for row in rows])

    return Source(
        module=wrapped(forward, model),
        inputs=example,
        outputs=[layer, *(f"hidden_{i}" for i in range(config.num_hidden_layers))],
        card=_card(name, "text", spec, layer, pool),
        files={"tokenizer": tokenizer.backend_tokenizer.to_str()},
        samples=TEXTS,
        reference=reference,
        free=("batch", "tokens"),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Images


def _vision(source: Encoder) -> Source:
    """Read an image encoder; the embedding is its pooled output, unless the pooler is untrained."""
    torch, name, model = need("torch", extra="convert"), source.name, source.model
    with conversion_errors(f"transformers cannot load the image processor of {name!r}"):
        processor = source.library.AutoImageProcessor.from_pretrained(name, backend="pil")
    with conversion_errors(f"The image processor of {name!r} cannot be read"):
        spec = _image_spec(processor, name)

    def embedding(found: Any) -> Any:
        if (pooled := found.get("pooler_output")) is not None:
            return pooled.flatten(1)
        return found.last_hidden_state[:, 0] if found.last_hidden_state.ndim == 3 else found.last_hidden_state

    def forward(pixels: Any) -> Any:
        found = source.run(pixel_values=pixels, output_hidden_states=True)
        return embedding(found), *found.hidden_states

    def reference(samples: Sequence[Any], card: Card) -> np.ndarray:
        with torch.inference_mode():
            rows = [embedding(source.run(**processor(image, return_tensors="pt")))[0].numpy() for image in samples]
        return np.stack([row if row.ndim == 1 else row.mean(axis=(1, 2)) for row in rows])

    example = torch.zeros(2, 3, *spec.size)
    with conversion_errors(f"{type(model).__name__} does not run"), torch.inference_mode():
        states = len(forward(example)) - 1
    return Source(
        module=wrapped(forward, model),
        inputs={"pixel_values": example},
        outputs=[EMBEDDING, *(f"hidden_{i}" for i in range(states))],
        card=_card(name, "image", spec, EMBEDDING),
        samples=image.pictures(IMAGES),
        reference=reference,
    )


def _image_spec(processor: Any, name: str) -> ImageSpec:
    """Read an image processor that resizes and crops, or squashes, and then rescales the pixels."""
    config = processor.to_dict()
    size, crop = dict(config.get("size") or {}), dict(config.get("crop_size") or {})
    if config.get("crop_pct") and "shortest_edge" in size:  # ConvNeXt: `size` is that of the crop
        crop = crop or {"height": size["shortest_edge"], "width": size["shortest_edge"]}
        size = {"shortest_edge": int(size["shortest_edge"] / config["crop_pct"])}
        config["do_center_crop"] = True
    if not config.get("do_resize") or not config.get("do_rescale"):
        raise ConversionError(
            f"The image processor of {name!r} does not resize or rescale; pass the module, kind='module'."
        )
    if "shortest_edge" in size and config.get("do_center_crop") and crop:
        geometry = {"size": (crop["height"], crop["width"]), "resize": "shorter", "resize_to": size["shortest_edge"]}
        geometry["rounding"] = "transformers"
    elif {"height", "width"} <= size.keys() and not config.get("do_center_crop"):
        geometry = {"size": (size["height"], size["width"]), "resize": "squash"}
    else:
        raise ConversionError(
            f"A card cannot express that the image processor of {name!r} resizes to {size} and crops to {crop or None}."
        )
    normalized = bool(config.get("do_normalize"))
    return ImageSpec(
        **geometry,
        interpolation=FILTERS[int(config.get("resample", 2))],
        range=1.0,
        mean=tuple(config["image_mean"]) if normalized else (0.0, 0.0, 0.0),
        std=tuple(config["image_std"]) if normalized else (1.0, 1.0, 1.0),
    )


#: Functions that read an encoder, by its main input.
SOURCES: dict[str, Callable[[Encoder], Source]] = {"input_ids": _texts, "pixel_values": _vision}
