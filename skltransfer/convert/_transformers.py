"""Encoders of transformers, of images or of texts: what their folder says decides which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer import made
from skltransfer.cards import Card, ImageSpec, TextSpec
from skltransfer.convert._images import EMBEDDING, IMAGES
from skltransfer.convert._source import Source, refusing, wrapped
from skltransfer.convert._texts import TEXTS, licence, path_or_name, text_spec
from skltransfer.errors import ConversionError, need

#: Pillow's filters by number.
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


def encoder(source: Any) -> Source:
    """Read an encoder of transformers.

    Parameters
    ----------
    source : str or path
        Its folder or name.

    Returns
    -------
    Source
    """
    name = path_or_name(source, "transformers")
    library = need("transformers", extra="convert")
    with refusing(f"transformers cannot load {name!r}"):
        model, found = library.AutoModel.from_pretrained(
            name, output_loading_info=True, attn_implementation="eager", dtype="float32"
        )
    main = model.main_input_name
    if main not in SOURCES or hasattr(model.config, "text_config"):
        raise ConversionError(
            f"{type(model).__name__} takes {main!r} and is no encoder of one modality; save the part you want "
            "(model.vision_model.save_pretrained(...), with its processor), and convert that."
        )
    missing = sorted(key for key in found["missing_keys"] if "pooler" not in key)
    if missing:
        raise ConversionError(f"{name!r} has no weights for {', '.join(missing[:3])}; nothing to convert.")
    if found["missing_keys"]:
        model.pooler = None  # what was never trained is no embedding
    return SOURCES[main](name, library, model.eval())


def _card(name: str, modality: str, spec: ImageSpec | TextSpec, layer: str, pool: str = "auto") -> Card:
    folder = Path(name)
    source = f"transformers: {folder.name}"
    return Card("", modality, {}, spec, layer, pool, licence=licence(folder), source=source)


# ---------------------------------------------------------------------------------------------------------------------
# Texts


def _texts(name: str, library: Any, model: Any) -> Source:
    """Read an encoder of texts: the embedding is the mean of the last hidden state."""
    torch = need("torch", extra="convert")
    with refusing(f"transformers cannot load the tokenizer of {name!r}"):
        tokenizer = library.AutoTokenizer.from_pretrained(name)
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 10**9))
    spec = text_spec(tokenizer, longest if longest < 10**6 else None, name)
    example = tokenizer(["two texts", "of several tokens each"], return_tensors="pt", padding=True)
    example = {name: value for name, value in example.items() if name in tokenizer.model_input_names}

    def forward(*inputs: Any) -> Any:
        states = model(**dict(zip(example, inputs, strict=True)), output_hidden_states=True)
        return states.last_hidden_state, *states.hidden_states[:-1]

    def reference(texts: Sequence[str], card: Card) -> np.ndarray:
        rows = []
        for text in texts:
            tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=longest)
            with torch.inference_mode():
                rows.append(model(**tokens).last_hidden_state[0].mean(dim=0).numpy())
        return np.stack(rows)

    return Source(
        module=wrapped(forward, model),
        inputs=example,
        outputs=["last_hidden_state", *(f"hidden_{i}" for i in range(model.config.num_hidden_layers))],
        card=_card(name, "text", spec, "last_hidden_state", "mean"),
        files={"tokenizer": tokenizer.backend_tokenizer.to_str()},
        samples=TEXTS,
        reference=reference,
        free=("batch", "tokens"),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Images


def _vision(name: str, library: Any, model: Any) -> Source:
    """Read an encoder of images: the embedding is its pooled output, unless that was never trained."""
    torch = need("torch", extra="convert")
    with refusing(f"transformers cannot load the image processor of {name!r}"):
        processor = library.AutoImageProcessor.from_pretrained(name, backend="pil")
    with refusing(f"The image processor of {name!r} cannot be read"):
        spec = _image_spec(processor, name)

    def embedding(found: Any) -> Any:
        if (pooled := found.get("pooler_output")) is not None:
            return pooled.flatten(1)
        return found.last_hidden_state[:, 0] if found.last_hidden_state.ndim == 3 else found.last_hidden_state

    def forward(pixels: Any) -> Any:
        found = model(pixel_values=pixels, output_hidden_states=True)
        return embedding(found), *found.hidden_states

    def reference(samples: Sequence[Any], card: Card) -> np.ndarray:
        with torch.inference_mode():
            rows = [embedding(model(**processor(image, return_tensors="pt")))[0].numpy() for image in samples]
        return np.stack([row if row.ndim == 1 else row.mean(axis=(1, 2)) for row in rows])

    example = torch.zeros(2, 3, *spec.size)
    with refusing(f"{type(model).__name__} does not run"), torch.inference_mode():
        states = len(forward(example)) - 1
    return Source(
        module=wrapped(forward, model),
        inputs={"pixel_values": example},
        outputs=[EMBEDDING, *(f"hidden_{i}" for i in range(states))],
        card=_card(name, "image", spec, EMBEDDING),
        samples=made.images(IMAGES),
        reference=reference,
    )


def _image_spec(processor: Any, name: str) -> ImageSpec:
    """Read an image processor: scale the shorter side and crop, or squash; then scale the pixels."""
    config = processor.to_dict()
    size, crop = dict(config.get("size") or {}), dict(config.get("crop_size") or {})
    if config.get("crop_pct") and "shortest_edge" in size:  # as ConvNeXt's: the size is that of the crop
        crop = crop or {"height": size["shortest_edge"], "width": size["shortest_edge"]}
        size = {"shortest_edge": int(size["shortest_edge"] / config["crop_pct"])}
        config["do_center_crop"] = True
    if not config.get("do_resize") or not config.get("do_rescale"):
        raise ConversionError(f"The image processor of {name!r} does not resize or rescale; give the module itself.")
    if "shortest_edge" in size and config.get("do_center_crop") and crop:
        geometry = {"size": (crop["height"], crop["width"]), "resize": "shorter", "resize_to": size["shortest_edge"]}
        geometry["rounding"] = "transformers"
    elif {"height", "width"} <= size.keys() and not config.get("do_center_crop"):
        geometry = {"size": (size["height"], size["width"]), "resize": "squash"}
    else:
        raise ConversionError(f"The image processor of {name!r} resizes to {size} and crops {crop or 'nothing'}.")
    normalized = bool(config.get("do_normalize"))
    return ImageSpec(
        **geometry,
        interpolation=FILTERS[int(config.get("resample", 2))],
        range=1.0,
        mean=tuple(config["image_mean"]) if normalized else (0.0, 0.0, 0.0),
        std=tuple(config["image_std"]) if normalized else (1.0, 1.0, 1.0),
    )


#: What a model takes, and how it is read.
SOURCES = {"input_ids": _texts, "pixel_values": _vision}
