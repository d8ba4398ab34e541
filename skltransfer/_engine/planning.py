"""From an estimator's parameters to a plan, once per set of parameters and state of the files behind them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skltransfer._engine import catalog, hub, plan, process, quantization, runtime
from skltransfer.cards import Card
from skltransfer.errors import CardError, ModelChangedError


class Planned(NamedTuple):
    """A plan, and what an estimator remembers of it.

    Attributes
    ----------
    plan : plan.Plan
        What is run.
    model_key : str
        Identity of the backbone: file hashes and input, 32 hexadecimal digits. Neither device nor batch is part of it.
    card : Card
        The original's, not that of a quantized model.
    files : tuple of str
        Files whose change makes another plan.
    states : list of FileState
        Of these files, before the plan was made.
    """

    plan: plan.Plan
    model_key: str
    card: Card
    files: Sequence[str]
    states: list[process.FileState]


#: Plans by the parameters of estimators. Measured: a plan takes 0.4 ms, to find it here 0.02.
_plans: process.Table[Hashable, Planned] = process.Table(64)


def find(key: Hashable) -> Planned | None:
    """Return the plan kept for a key, if there is one and no file has changed since."""
    try:
        planned = _plans.get_recent(key)
    except TypeError:  # a parameter that cannot be hashed is a wrong one, or a list
        return None
    return planned if planned is not None and process.file_states(planned.files) == planned.states else None


#: Parameters of an estimator that decide its plan.
CHOICES = ("model", "device", "precision", "layer", "pool", "normalize", "max_length", "long_text", "prompt", "views")


def key_of(
    model: str | os.PathLike[str] | Card, layer: str | Sequence[str] | None, values: tuple[Any, ...]
) -> Hashable:
    """Return the key of an estimator's parameters; their types count, for True and 1 are equal and mean two things."""
    return (
        id(model) if isinstance(model, Card) else model,  # the plan keeps the card alive
        tuple(layer) if isinstance(layer, list) else layer,
        values,
        tuple(map(type, values)),
    )


def make(key: Hashable, model: str | os.PathLike[str] | Card, device: str, precision: str, **choices: Any) -> Planned:
    """Build a plan and keep it.

    Parameters
    ----------
    key : hashable
        Stands for all parameters.
    model, device, precision
        As in `PretrainedEmbedder`.
    **choices
        Further ones, as `plan.make` takes them; None means that it is not set.

    Returns
    -------
    Planned
    """
    watched = [] if isinstance(model, Card) else catalog.candidates(os.fspath(model))
    card = catalog.load_card(model)
    files = (*watched, *(os.fspath((card.folder or Path()) / file.path) for file in card.files.values()))
    states = process.file_states(files)
    where = runtime.resolve(device)
    run = quantization.quantized_card(card, precision, where)
    made = plan.make(run, where, precision=precision, **_set(card, _with_prompt(card, choices)))
    planned = Planned(made, _model_key(card, run), card, files, states)
    _plans.keep(key, planned)
    return planned


def _with_prompt(card: Card, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the name of a prompt by the prefix it stands for."""
    rest = {name: value for name, value in choices.items() if name != "prompt"}
    prompt = choices.get("prompt")
    if prompt is None:
        return rest
    if prompt not in card.prompts:
        known = f"it has {', '.join(map(repr, card.prompts))}" if card.prompts else "it has none"
        raise CardError(
            f"{card.name!r} has no prompt {prompt!r}; {known}. To put words of your own before every text: "
            "load_card(model, prefix='...')"
        )
    return {**rest, "prefix": card.prompts[prompt]}


#: Values that mean nothing where samples have no such choice.
DEFAULTS = {"long_text": "truncate"}


def _set(card: Card, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not set, and defaults of choices that samples of this kind do not have."""
    assert card.input is not None
    own = {field.name for field in dataclasses.fields(card.input)}
    return {k: v for k, v in choices.items() if v is not None and (k in own or v != DEFAULTS.get(k))}


def _model_key(card: Card, run: Card) -> str:
    """Compute the identity of a backbone."""
    assert card.input is not None
    made_of = run.source if run is not card else ""
    facts = [hub.fingerprint(card), card.input.canonical(), made_of]
    facts += [dict(card.constants)] if card.constants else []
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()


def check_fitted(fitted: Mapping[str, Any], planned: Planned) -> None:
    """Refuse a backbone that is not the one that was fitted, unless it is because the parameters say so.

    Parameters
    ----------
    fitted : mapping
        Attributes of the estimator. ``_fitted_with`` holds the model and precision it was fitted with; an estimator
        fitted by skltransfer 0.1 has ``model_sha256_`` and no ``model_key_``.
    planned : Planned
        Made of its parameters as they are now.

    Raises
    ------
    ModelChangedError
        With what was fitted, what is there, and the two ways out.
    """
    if "_fitted_with" not in fitted or fitted["_fitted_with"] != (fitted["model"], fitted["precision"]):
        return
    had = fitted.get("model_key_")
    found = planned.plan.recipe.graph if had is None else planned.model_key
    if found == (had or fitted["model_sha256_"]) or fitted["model_sha256_"] in planned.card.replaces:
        return
    model = fitted["model"]
    name = model.name if isinstance(model, Card) else os.fspath(model)
    raise ModelChangedError(
        f"This estimator was fitted with a backbone {name!r} whose key was {had or fitted['model_sha256_']}; now it is "
        f"{found}: its files or its input have changed, and so have embeddings. Fit again, or bring back the files "
        f"with the SHA-256 {fitted['model_sha256_']}."
    )


#: A test fold is at most this many times as large as the first training part: a learning curve begins with a tenth.
FOLD = 8


def widened(narrow: plan.Plan, n: int | None, *, certain: bool) -> plan.Plan:
    """Return the wider plan of the shared search where other candidates may want other layers of the same samples.

    The first candidate cannot know of the others; that a layer or a pooling was chosen in a fit is the only sign. A
    call on few samples, beside those the shared graph has run, is taken for a test fold of a search that began.

    Parameters
    ----------
    narrow : Plan
        Made of the parameters.
    n : int or None
        Number of samples, if known.
    certain : bool
        Whether to widen without looking at what has been run.
    """
    wide = narrow.wider
    if wide is None:
        return narrow
    run = None if certain else runtime.rows_run(wide.recipe.key, wide.device.each()[0])
    return wide if certain or (run is not None and n is not None and n <= FOLD * run) else narrow
