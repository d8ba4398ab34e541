"""Descriptions of text encoders in the files beside them, as sentence-transformers and transformers write them.

A sentence encoder is more than its graph: how tokens become a row, whether rows have unit length, how many tokens it
takes, what its authors put before a query. These files say it; where they do not, the user is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from skltransfer._engine import process
from skltransfer._engine.modalities.text._tokens import parse_tokenizer
from skltransfer.cards import ASKED, Card, GraphInfo
from skltransfer.errors import CardError

#: Our name of each pooling of sentence-transformers.
POOLINGS = {"cls": "cls", "mean": "mean", "max": "max", "lasttoken": "last"}
#: The switches of its versions before 6, one for each pooling.
SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
#: Bytes of a description. The largest are of tokenizers with thousands of added tokens, a million.
MOST = 4 * 2**20
#: What tokenizers of transformers write where they have no limit is 1e30.
NO_LIMIT = 1_000_000


class Modules(NamedTuple):
    """Modules that modules.json lists behind the transformer.

    Attributes
    ----------
    pool : str or None
        Our name of the pooling; None if there is no module for it.
    normalize : bool
        Whether rows are scaled to unit length.
    foreign : tuple of str
        Kinds of other modules, which a graph of the transformer alone lacks.
    """

    pool: str | None = None
    normalize: bool = False
    foreign: tuple[str, ...] = ()


def describe(card: Card, info: GraphInfo, layer: str | None = None) -> dict[str, Any]:
    """Read the fields of card and input that the files of a card without input say.

    Parameters
    ----------
    card : Card
        Of a bare graph; its files are looked at by their names.
    info : GraphInfo
        Of its graph.
    layer : str, optional
        The tensor that holds the embedding; by default the best of the outputs.

    Returns
    -------
    dict
        As for `catalog.load_card`; ``pool`` is `ASKED` where tokens have to be pooled and nothing says how.

    Raises
    ------
    CardError
        If a file is not JSON of the expected form, or the model has modules that the graph lacks.
    """
    read = _Reader(card)
    modules = _modules(read)
    layer, ready = (layer, True) if layer else _output(info, modules)
    if modules.foreign and not ready:
        raise CardError(
            f"{card.name!r} has the module {modules.foreign[0]}, which its graph with the outputs "
            f"{', '.join(info.outputs)} lacks; convert the whole model: skltransfer convert FOLDER"
        )
    pooled = len(info.layers.get(layer, ())) < 2
    said = {"layer": layer, "pool": "auto" if pooled else modules.pool or ASKED, "normalize": modules.normalize}
    return {**said, **_prompts(read), **_tokens(read, info)}


class _Reader:
    """Reads JSON files of a card by the end of their path."""

    def __init__(self, card: Card) -> None:
        self._folder = card.folder or Path()
        self._paths = sorted((file.path for file in card.files.values()), key=len)  # the nearest to the top first

    def __call__(self, name: str) -> Any:
        """Return the content of a file; an empty dict if the card has none."""
        path = self._find(name)
        if path is None:
            return {}
        data = process.read_once(path, None)
        try:
            if len(data) > MOST:
                raise ValueError(f"it has {len(data):,} bytes")
            return json.loads(data)
        except (ValueError, RecursionError) as err:
            raise CardError(f"{str(path)!r} cannot be read as JSON: {err}") from err

    def _find(self, name: str) -> Path | None:
        found = (path for path in self._paths if path == name or path.endswith(f"/{name}"))
        return next((self._folder / path for path in found), None)

    def tokenizer(self) -> Any:
        """Return the tokenizer, which a child process has tried; None instead of one that is refused when opened."""
        path = self._find("tokenizer.json")
        try:
            return None if path is None else parse_tokenizer(process.read_once(path, None), path.name)
        except CardError:
            return None

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return the content of a file that holds an object."""
        found = self(name)
        if not isinstance(found, dict):
            raise CardError(f"{name!r} in {str(self._folder)!r} holds a {type(found).__name__}, not an object.")
        return found


def _modules(read: _Reader) -> Modules:
    listed = read("modules.json") or []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise CardError(f"modules.json holds {listed!r}, not a list of modules.")
    kinds = [str(entry.get("type")).rpartition(".")[2] for entry in listed]
    normalize = "Normalize" in kinds
    pool = None
    if "Pooling" in kinds:
        path = str(listed[kinds.index("Pooling")].get("path"))
        pool = _pool(read.mapping(f"{path}/config.json"), path, normalize)
    known = {"Transformer", "Pooling", "Normalize"}
    return Modules(pool, normalize, tuple(kind for kind in kinds[1:] if kind not in known))


def _pool(config: Mapping[str, Any], path: str, normalize: bool) -> str:
    """Return our name of a pooling.

    Raises
    ------
    CardError
        If there is none like it.
    """
    mode = config.get("pooling_mode") or [name for key, name in SWITCHES.items() if config.get(key)]
    modes = [mode] if isinstance(mode, str) else list(mode)
    if normalize and modes == ["mean_sqrt_len_tokens"]:
        modes = ["mean"]  # they differ in the length of the row
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise CardError(
            f"{path}/config.json asks for the pooling {' and '.join(map(str, modes)) or 'of no tokens'}; known are "
            f"{', '.join(POOLINGS)}. Choose one: load_card(..., pool='mean')"
        )
    if config.get("include_prompt") is False:
        raise CardError(
            f"{path}/config.json leaves the tokens of the prompt out of the pooling, which is not supported; convert "
            "the whole model, or keep them in: load_card(..., pool='mean')"
        )
    return POOLINGS[modes[0]]


def _output(info: GraphInfo, modules: Modules) -> tuple[str, bool]:
    """Choose the output that holds the embedding; return whether it is that of the whole model."""
    outputs = [name for name in info.outputs if name in info.layers] or [info.output]
    rows = [name for name in outputs if len(info.layers.get(name, ())) == 1]
    tokens = [name for name in outputs if len(info.layers.get(name, ())) == 2]
    for name in rows:
        if "embed" in name:  # sentence_embedding, text_embeds
            return name, True
    if modules.pool and tokens:
        return tokens[0], False
    return next((name for name in rows if "logit" not in name), outputs[0]), False


def _prompts(read: _Reader) -> dict[str, Any]:
    config = read.mapping("config_sentence_transformers.json")
    prompts = {str(name): text for name, text in (config.get("prompts") or {}).items() if isinstance(text, str)}
    default = config.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise CardError(
            f"config_sentence_transformers.json names the default prompt {default!r}; it has {', '.join(prompts)}."
        )
    return {"prompts": prompts, "prefix": prompts.get(default, "") if default else ""}


def _tokens(read: _Reader, info: GraphInfo) -> dict[str, Any]:
    """Return what tokenizer and graph say of the tokens."""
    tokenizer, config = read.tokenizer(), read.mapping("tokenizer_config.json")
    own = read.mapping("sentence_bert_config.json")
    truncation = getattr(tokenizer, "truncation", None) or {}
    limits = [own.get("max_seq_length"), truncation.get("max_length"), config.get("model_max_length")]
    said = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < NO_LIMIT]
    most = [info.positions] if info.positions else []
    side = str(config.get("truncation_side", truncation.get("direction", "right"))).lower()
    lower = True if own.get("do_lower_case") else config.get("do_lower_case")
    return {
        **({"max_length": min([*said, *most])} if said else {"max_length": min([256, *most])}),
        "truncation": side if side in ("right", "left") else "right",
        "pad": _pad(tokenizer, config),
        "lowercase": lower if isinstance(lower, bool) else None,
    }


def _pad(tokenizer: Any, config: Mapping[str, Any]) -> int:
    """Return the id of the padding token; 0 where nothing says it."""
    token = config.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    if tokenizer is None:
        return 0
    known = tokenizer.token_to_id(token) if isinstance(token, str) else None
    return int((tokenizer.padding or {}).get("pad_id", 0) if known is None else known)
