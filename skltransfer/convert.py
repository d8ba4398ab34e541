"""The way in: a model of another library to a card folder, refused unless the two agree.

The graph is exported by torch; what surrounds it - tokenizer, lengths, pooling, normalisation - is read from the
source's own configuration and becomes part of the graph or of the card. (`export` is the way out.)
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skltransfer import catalog, stream
from skltransfer.cards import Card, ModelFile, TextSpec
from skltransfer.errors import ConversionError, need
from skltransfer.runtime import Device

if TYPE_CHECKING:
    import torch

#: Largest difference between the source's embeddings and the card's, relative to the largest number.
TOLERANCE = 1e-4

#: Texts the two must agree on: empty, one word, other scripts, longer than any limit. None holds a special token: here
#: "[SEP]" is text, there it is a token.
TEXTS = (
    "",
    "word",
    "A sentence of ordinary length, with punctuation; and a number: 42.",
    "Größe, naïveté, 東京, Москва, emoji 🎉",
    "the same words " * 20,
    "a text that is longer than the model takes " * 80,
)

#: Names of the poolings of sentence-transformers, and ours.
POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}


class _Source(NamedTuple):
    """What is known of a model before it is exported.

    Attributes
    ----------
    module : torch.nn.Module
        Takes the inputs in order; gives the embedding, then every hidden state.
    inputs : dict of str to torch.Tensor
        An example.
    outputs : list of str
        Names of what the module gives.
    card : Card
        Without files.
    files : dict of str to str
        Content of what lies beside the graph, as ``ROLE.json``.
    reference : callable
        The source's own embeddings of `TEXTS`.
    """

    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: list[str]
    card: Card
    files: dict[str, str]
    reference: Callable[[Sequence[str]], np.ndarray]


def convert(kind: str, source: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Convert a model to a card folder.

    Parameters
    ----------
    kind : {"sentence-transformers"}
        Library the model comes from.
    source : str or path
        Its folder, or its name as that library takes it.
    output : path
        Folder to write; it must not exist.

    Returns
    -------
    Path
        The folder, to be given to ``PretrainedEmbedder(model=...)``.

    Raises
    ------
    ConversionError
        If the kind is unknown, the folder exists, the model cannot be loaded or has parts that cannot be converted,
        or the card's embeddings differ from the source's; nothing is written then.
    MissingDependencyError
        If torch or the library is not installed: ``pip install 'skltransfer[convert]'``.

    References
    ----------
    .. [1] Reimers and Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", EMNLP 2019.
    """
    output = Path(output)
    if kind not in SOURCES:
        raise ConversionError(f"kind={kind!r} is not one of {', '.join(SOURCES)}.")
    if output.exists():
        raise ConversionError(f"{str(output)!r} exists; give a folder that does not.")
    if not output.absolute().parent.is_dir():
        raise ConversionError(f"There is no folder {str(output.absolute().parent)!r} to write {output.name!r} into.")
    found = SOURCES[kind](os.fspath(source))
    with tempfile.TemporaryDirectory(dir=output.absolute().parent) as temporary:
        folder = Path(temporary) / output.name
        folder.mkdir()
        card = _write(found, folder)
        _compare(card, found)
        folder.rename(output)
    return output


def _write(source: _Source, folder: Path) -> Card:
    """Export the graph, put the other files beside it, write the card."""
    _export(source, folder / "model.onnx")
    for role, text in source.files.items():
        (folder / f"{role}.json").write_text(text, "utf8")
    files = {"model": ModelFile("model.onnx"), **{role: ModelFile(f"{role}.json") for role in source.files}}
    card = catalog.load_card(replace(source.card, name=folder.name, files=files, folder=folder))
    catalog.write_card(card, folder / "card.json")
    return catalog.load_card(folder)


def _export(source: _Source, path: Path) -> None:
    """Export with free batch and token axes; the example has two texts of several tokens: none is taken for fixed."""
    torch = need("torch", extra="convert")
    need("onnxscript", extra="convert")
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    with warnings.catch_warnings(), _refusing("torch cannot export the model to ONNX"):
        warnings.simplefilter("ignore")  # of torch about itself
        torch.onnx.export(
            source.module,
            tuple(source.inputs.values()),
            str(path),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=list(source.inputs),
            output_names=source.outputs,
            dynamic_shapes=(tuple(axes for _ in source.inputs),),  # one parameter, *inputs
        )


def _compare(card: Card, source: _Source) -> None:
    """Refuse a card whose rows are not the source's."""
    want = source.reference(TEXTS)
    plan, width = catalog.plan(card, Device())
    have = stream.embed(TEXTS, plan, count=len(TEXTS), width=width).rows
    if have.shape != want.shape:
        raise ConversionError(f"The source gives rows of shape {want.shape}, the card {have.shape}.")
    difference = np.abs(have - want).max(axis=1) / np.abs(want).max()
    if not difference.max() <= TOLERANCE:  # nor is a NaN
        worst = TEXTS[int(difference.argmax())][:40]
        raise ConversionError(
            f"The card's embedding of {worst!r} differs from the source's by {difference.max():.1e} of the largest "
            f"number, more than {TOLERANCE:.0e}; nothing was written."
        )


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Turn whatever another library throws into our error, with its own words."""
    try:
        yield
    except Exception as err:
        raise ConversionError(f"{what}: {type(err).__name__}: {err}") from err


# ---------------------------------------------------------------------------------------------------------------------
# sentence-transformers


def _sentence_transformer(name: str) -> _Source:
    """Read a model of sentence-transformers: a transformer, a pooling, perhaps a normalisation."""
    torch, library = need("torch", extra="convert"), need("sentence_transformers", extra="convert")
    with _refusing(f"sentence-transformers cannot load {name!r}"):
        model = library.SentenceTransformer(name, device="cpu", model_kwargs={"attn_implementation": "eager"}).eval()
    kinds = [type(part).__name__ for part in model]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ConversionError(
            f"The model {name!r} is made of {', '.join(kinds)}; only Transformer, Pooling, Normalize convert."
        )
    tokenizer, encoder = model[0].tokenizer, model[0].auto_model
    if getattr(tokenizer, "backend_tokenizer", None) is None or None in (tokenizer.pad_token_id, model.max_seq_length):
        raise ConversionError(
            f"The tokenizer of {name!r} must be a fast one with a padding token (it has {tokenizer.pad_token!r}), and "
            f"the model's max_seq_length a number (it is {model.max_seq_length!r})."
        )
    example = tokenizer(["two texts", "of several tokens each"], return_tensors="pt", padding=True)
    hidden = encoder.config.num_hidden_layers + 1
    spec = TextSpec(
        max_length=int(model.max_seq_length), truncation=tokenizer.truncation_side, pad=tokenizer.pad_token_id
    )
    card = Card(
        name="",
        modality="text",
        files={},
        input=spec,
        layer="sentence_embedding",
        licence=_licence(Path(name)),
        source=f"sentence-transformers: {Path(name).name}",
    )
    return _Source(
        module=_embedding_module(torch, encoder, list(example), _pooling(model[1]), "Normalize" in kinds),
        inputs=dict(example),
        outputs=["sentence_embedding", *(f"hidden_{i}" for i in range(hidden))],
        card=card,
        files={"tokenizer": tokenizer.backend_tokenizer.to_str()},
        reference=lambda texts: np.asarray(model.encode(list(texts), batch_size=1, show_progress_bar=False)),
    )


def _licence(folder: Path) -> str:
    """Read the licence off the header of the model's README, if there is one."""
    readme = folder / "README.md"
    lines = readme.read_text("utf8").splitlines()[:40] if readme.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("license:")), "")


def _pooling(part: Any) -> str:
    """Read the one pooling of a model."""
    config = part.get_config_dict()
    mode = config.get("pooling_mode")
    chosen = [mode] if isinstance(mode, str) else [ours for theirs, ours in POOLINGS.items() if config.get(theirs)]
    names = {"lasttoken": "last"}
    if len(chosen) != 1 or names.get(chosen[0], chosen[0]) not in POOLINGS.values():
        raise ConversionError(f"The model's pooling {config!r} is not one of {', '.join(POOLINGS.values())}.")
    return names.get(chosen[0], chosen[0])


def _embedding_module(torch: Any, encoder: Any, names: list[str], pool: str, normalize: bool) -> Any:
    """Wrap an encoder: its inputs in order, to the embedding and every hidden state."""

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

    class Embedding(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, *inputs: Any) -> Any:
            given = dict(zip(names, inputs, strict=True))
            states = self.encoder(**given, output_hidden_states=True).hidden_states
            row = pooled(states[-1], given["attention_mask"])
            return (torch.nn.functional.normalize(row, dim=1) if normalize else row, *states)

    return Embedding().eval()


SOURCES: dict[str, Callable[[str], _Source]] = {"sentence-transformers": _sentence_transformer}
