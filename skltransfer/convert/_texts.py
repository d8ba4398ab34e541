"""Models of sentence-transformers, and what all text encoders share."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from skltransfer.cards import Card, TextSpec
from skltransfer.convert._source import Source, conversion_errors, wrapped
from skltransfer.errors import ConversionError, need

#: Texts on which source and card must agree: empty, one word, other scripts, longer than any limit. None contains a
#: special token such as "[SEP]", which is text for the card and a token for the source.
TEXTS = (
    "",
    "word",
    "A sentence of ordinary length, with punctuation; and a number: 42.",
    "Größe, naïveté, 東京, Москва, emoji 🎉",
    "the same words " * 20,
    "a text that is longer than the model takes " * 80,
)

#: Names of `cards.POOLS`, by the names of sentence-transformers.
POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}


def sentence_transformer(source: Any) -> Source:
    """Read a model of sentence-transformers.

    Parameters
    ----------
    source : str or path
        Folder or name of the model.

    Returns
    -------
    Source
    """
    name = path_or_name(source, "sentence-transformers")
    library = need("sentence_transformers", extra="convert")
    with conversion_errors(f"sentence-transformers cannot load {name!r}"):
        model = library.SentenceTransformer(name, device="cpu", model_kwargs={"attn_implementation": "eager"}).eval()
    kinds = [type(part).__name__ for part in model]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ConversionError(
            f"The modules of {name!r} are {', '.join(kinds)}; only Transformer, Pooling and Normalize can be converted."
        )
    tokenizer, encoder = model[0].tokenizer, model[0].auto_model
    spec = text_spec(tokenizer, model.max_seq_length, name)
    example = tokenizer(["two texts", "of several tokens each"], return_tensors="pt", padding=True)
    prompts = dict(model.prompts or {})
    hidden = encoder.config.num_hidden_layers + 1
    return Source(
        module=_embedding_module(encoder, list(example), _pooling(model[1]), "Normalize" in kinds),
        inputs=dict(example),
        outputs=["sentence_embedding", *(f"hidden_{i}" for i in range(hidden))],
        card=Card(
            name="",
            modality="text",
            files={},
            input=dataclasses.replace(spec, prefix=prompts.get(model.default_prompt_name, "")),
            prompts={name: text for name, text in prompts.items() if text},
            layer="sentence_embedding",
            license=license(Path(name)),
            source=f"sentence-transformers: {Path(name).name}",
        ),
        files={"tokenizer": tokenizer.backend_tokenizer.to_str()},
        samples=TEXTS,
        reference=lambda texts, card: np.asarray(model.encode(list(texts), batch_size=1, show_progress_bar=False)),
        free=("batch", "tokens"),
    )


def path_or_name(source: Any, kind: str) -> str:
    """Return the folder or name of a source as text.

    Raises
    ------
    ConversionError
        If the source is neither.
    """
    if not isinstance(source, str | os.PathLike):
        raise ConversionError(f"Pass the folder or name of a {kind} model, not a {type(source).__name__}.")
    return os.fspath(source)


def text_spec(tokenizer: Any, longest: Any, name: str) -> TextSpec:
    """Read the input specification from a tokenizer.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        Tokenizer of the source.
    longest : int or None
        Most tokens of a text.
    name : str
        Name of the source, for messages.

    Returns
    -------
    TextSpec

    Raises
    ------
    ConversionError
        If it is not a fast tokenizer, has no padding token, or the length is unlimited.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None or None in (tokenizer.pad_token_id, longest):
        raise ConversionError(
            f"The tokenizer of {name!r} must be a fast one with a padding token, not {tokenizer.pad_token!r}, and "
            f"max_seq_length of the model a number, not {longest!r}."
        )
    return TextSpec(max_length=int(longest), truncation=tokenizer.truncation_side, pad=tokenizer.pad_token_id)


def license(folder: Path) -> str:
    """Read the license from the header of the README in a model's folder; empty if there is none."""
    readme = folder / "README.md"
    lines = readme.read_text("utf8").splitlines()[:40] if readme.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("license:")), "")


def _pooling(part: Any) -> str:
    """Read the pooling of a model."""
    config = part.get_config_dict()
    mode = config.get("pooling_mode")
    chosen = [mode] if isinstance(mode, str) else [pool for name, pool in POOLINGS.items() if config.get(name)]
    names = {"lasttoken": "last"}
    if len(chosen) != 1 or names.get(chosen[0], chosen[0]) not in POOLINGS.values():
        raise ConversionError(f"The model's pooling {config!r} must be one of {', '.join(POOLINGS.values())}.")
    return names.get(chosen[0], chosen[0])


def _embedding_module(encoder: Any, names: list[str], pool: str, normalize: bool) -> Any:
    """Return a module that computes the embedding and every hidden state of an encoder."""
    torch = need("torch", extra="convert")

    def pooled(states: Any, mask: Any) -> Any:
        weights = mask.unsqueeze(-1).to(states.dtype)
        if pool == "mean":
            return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        if pool == "max":
            return states.masked_fill(weights == 0, torch.finfo(states.dtype).min).max(1).values
        if pool == "cls":
            return states[:, 0]
        last = (mask.cumsum(1) == mask.sum(1, keepdim=True)).to(states.dtype).unsqueeze(-1) * weights
        return (states * last).sum(1)

    def forward(*inputs: Any) -> Any:
        named = dict(zip(names, inputs, strict=True))
        states = encoder(**named, output_hidden_states=True).hidden_states
        row = pooled(states[-1], named["attention_mask"])
        return (torch.nn.functional.normalize(row, dim=1) if normalize else row, *states)

    return wrapped(forward, encoder)
