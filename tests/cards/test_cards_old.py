"""Cards of schema 1 and names of 0.1 go on working; keys of rows that are cached stay as they are."""

import dataclasses
import json
import warnings
from dataclasses import dataclass
from typing import ClassVar

import pytest

import skltransfer
from skltransfer import cli, load_card
from skltransfer._engine import plan, runtime
from skltransfer.cards import SCHEMA, ArraySpec, Card, ImageSpec, Recipe, TextSpec
from tests.paths import FIXTURES

CPU = runtime.Device()


@pytest.mark.parametrize("name", ["vision", "text"])
def test_card_of_schema_1_is_that_of_today(name):
    old = json.loads((FIXTURES / f"card_1_{name}.json").read_text())
    assert (old["schema"], SCHEMA) == (1, 2)
    today = load_card(f"{name}-mini")
    new = json.loads(json.dumps(today.to_dict()))
    # Words, and what was added.
    changed = {
        key: new.get(key) for key in ("description", "source", "channels", "learning_rate")
    }  # words, and what was added
    if name == "text":  # its graph has more layers since, with the same embedding
        changed |= {key: new[key] for key in ("files", "layers", "replaces")}
    assert Card.from_dict(old | changed, folder=today.folder) == today


def test_card_of_schema_1_keeps_what_it_says_by_old_names():
    old = json.loads((FIXTURES / "card_1_vision.json").read_text())
    old["input"] |= {"colour": "BGR", "fast": False}
    card = Card.from_dict(old | {"licence": "MIT"})
    assert (card.license, card.input.color, card.input.draft) == ("MIT", "BGR", False)


# ---------------------------------------------------------------------------------------------------------------------
# Keys: of skltransfer 0.1, before its fields were renamed

VISION = "9cbb86c9e642b4287d186d5a9dbdfecd5617babd5d305b721765d42cabfc38f1"
TEXT = "1346ee017c9b653028dfbff7fb621bd8fb73207551f8a5d9c4ff0b88adb2e902"
HALF = (127.5, 127.5, 127.5)
IMAGES = ImageSpec((96, 96), "shorter", 96, mean=HALF, std=HALF, draft=True)
LAYERS = ("block_1", "block_2", "block_3", "block_4", "block_5", "embedding")
MAP, ROW = (2, 3), ()
KEYS = {
    "d80db771d95e96b870e5b7e83a486b38": Recipe(VISION, IMAGES, ("embedding",), "", axes=(ROW,)),
    "005f52186ae68ac6a1b89ec97fac3a2c": Recipe(VISION, IMAGES, ("block_2",), "max", normalize=True, axes=(MAP,)),
    "a57fdfe1feeb9fce5d64fb8db05cfeeb": Recipe(VISION, IMAGES, LAYERS, "shared", axes=(*[MAP] * 5, ROW)),
    "ec6c168b25608b9d3d4aa388f13b5400": Recipe(
        VISION, IMAGES, ("embedding",), "", precision="fp16", device="cuda", axes=(ROW,)
    ),
    "a32280817a50f875074323501bab9941": Recipe(TEXT, TextSpec(max_length=1024), ("embedding",), "", axes=(ROW,)),
    "960c04d8cfaa5e83e879bfba7245db8f": Recipe(
        TEXT, TextSpec(max_length=32, long_text="windows"), ("embedding",), "", axes=(ROW,)
    ),
    "288ae0cb561a3bc98e7f260d60c75667": Recipe("f" * 64, ArraySpec(), ("rows",), ""),
}


@pytest.mark.parametrize("key", KEYS)
def test_key_of_a_recipe_never_changes(key):
    assert KEYS[key].key == key


def test_plans_of_the_bundled_backbones_have_these_keys():
    vision, text = load_card("vision-mini"), load_card("text-mini")
    assert plan.make(vision, CPU).recipe.key == "d80db771d95e96b870e5b7e83a486b38"
    assert plan.make(vision, CPU, layer="block_2").wider.recipe.key == "a57fdfe1feeb9fce5d64fb8db05cfeeb"
    assert plan.make(text, CPU).recipe.key == "ad31b4595057f44b1a7ab04cd6e6d76d"


def test_axes_by_another_rule_are_another_key():
    by_rule, other = (Recipe("", IMAGES, ("map",), "mean", axes=(axes,)) for axes in ((2, 3), (1, 2)))
    assert by_rule.key != other.key
    assert "axes" not in by_rule.canonical()


@dataclass(frozen=True)
class Later(ImageSpec):
    """An input with a field that was added later, and whose default is another one today."""

    sharpen: float = 2.0
    ABSENT: ClassVar = {"sharpen": 0.0}


def test_field_that_is_added_later_leaves_keys_as_they_are_where_it_is_not_used():
    fields = {field.name: getattr(IMAGES, field.name) for field in dataclasses.fields(IMAGES)}
    before, absent, used = (
        Recipe("", spec, ("map",), "mean").key for spec in (IMAGES, Later(**fields, sharpen=0.0), Later(**fields))
    )
    assert before == absent != used


@pytest.mark.parametrize("spec", [ImageSpec, TextSpec, ArraySpec])
def test_numbers_of_one_kind_change_the_keys_of_that_kind(monkeypatch, spec):
    before = {key: recipe.input for key, recipe in KEYS.items()}
    monkeypatch.setattr(spec, "NUMERICS", 2)
    fresh = {key: Recipe(**{f: getattr(r, f) for f in r.__dataclass_fields__}).key for key, r in KEYS.items()}
    assert {key for key in KEYS if fresh[key] != key} == {key for key in KEYS if type(before[key]) is spec}


# ---------------------------------------------------------------------------------------------------------------------
# Names of 0.1


@pytest.mark.parametrize(
    ("module", "name", "write"),
    [
        ("variants", "make_variant", "skltransfer.quantize"),
        ("runtime", "clear", "skltransfer.reset"),
        ("runtime", "open_sessions", "skltransfer.rows_run"),
        ("cache", "memory", r"skltransfer.reset\(\)"),
        ("catalog", "load_card", "skltransfer.load_card"),
    ],
)
def test_name_that_moved_works_and_names_the_new_one(module, name, write):
    import importlib

    with pytest.warns(
        FutureWarning, match=rf"skltransfer.{module}.{name} is removed in skltransfer 0.3; write {write}"
    ):
        assert getattr(importlib.import_module(f"skltransfer.{module}"), name) is not None


def test_name_that_is_gone_is_an_attribute_error():
    with pytest.raises(
        AttributeError, match=r"'skltransfer\.runtime' has no attribute 'Session'; it was private or is"
    ):
        skltransfer.runtime.Session  # noqa: B018 - the look is the test


def test_old_names_of_fields_are_read_with_a_warning():
    card = load_card("vision-mini")
    for old, new, owner in [
        ("licence", "license", card),
        ("colour", "color", card.input),
        ("fast", "draft", card.input),
    ]:
        with pytest.warns(FutureWarning, match=rf"\.{old} is removed in skltransfer 0\.3; use \w+\.{new}"):
            assert getattr(owner, old) == getattr(owner, new)


@pytest.mark.parametrize(("old", "new", "value"), [("fast", "draft", False), ("colour", "color", "BGR")])
def test_old_fields_are_taken_with_a_warning(old, new, value):
    with pytest.warns(
        FutureWarning, match=rf"load_card\({old}=\) is removed in skltransfer 0.3; use load_card\({new}=\)"
    ):
        assert load_card("vision-mini", **{old: value}) == load_card("vision-mini", **{new: value})


def test_warning_points_at_the_line_of_the_user():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_card("vision-mini", fast=False)
    assert caught[0].filename == __file__


def test_old_options_of_the_command_line_are_taken_with_a_warning():
    parser = cli.make_parser()
    with pytest.warns(FutureWarning, match="--license"):
        assert parser.parse_args(["models", "card", "x.onnx", "--licence", "MIT"]).license == "MIT"
