"""Cards and recipes: every mistake of a card is named at once, every choice that changes numbers changes the key."""

import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skltransfer import cards, load_card
from skltransfer.cards import ArraySpec, Card, ImageSpec, ModelFile, Recipe
from skltransfer.errors import CardError, UnknownModelError

HASH = "0123456789abcdef" * 4
INPUT = {"size": [224, 224], "resize_to": 256, "mean": [0, 0, 0], "std": [1, 1, 1]}
CARD = {
    "schema": 1,
    "name": "tiny",
    "modality": "image",
    "files": {"model": {"path": "tiny.onnx", "sha256": HASH, "bytes": 9}},
    "input": INPUT,
    "layer": "embedding",
    "layers": {"embedding": [3], "map": [3, None, None]},
}


def changed(path: str, value: object) -> dict:
    """Give the card with one value, named as in error messages, replaced."""
    card = json.loads(json.dumps(CARD))
    *folders, key = path.split(".")
    place = card
    for folder in folders:
        place = place[folder]
    place[key] = value
    return card


def test_card_survives_the_way_to_json_and_back(tmp_path):
    card = Card.from_dict(CARD, folder=tmp_path)
    assert Card.from_dict(json.loads(json.dumps(card.to_dict())), folder=tmp_path) == card


def test_card_of_numbers_survives_the_way_to_json_and_back():
    card = Card("numbers", "array", {"model": ModelFile("a.onnx", HASH)}, ArraySpec("NHWC"), "rows")
    assert Card.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_null_in_a_card_is_the_same_as_leaving_it_out():
    assert Card.from_dict(changed("layer", None)).layer is None


def test_lengths_that_a_card_leaves_open_are_none():
    assert Card.from_dict(CARD).layers() == {"embedding": (3,), "map": (3, None, None)}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", 99, r"schema 99 cannot be read; this version reads up to 2"),
        ("schema", [1], r"schema \[1\] cannot be read"),
        ("name", 3, r"'name' is 3, not a str"),
        ("modality", "sound", r"modality is 'sound', not one of image, array"),
        ("modality", ["image"], r"'modality' is \['image'\], not a str"),
        ("licens", "MIT", r"unknown key 'licens' Did you mean 'license'"),
        ("pool", "avg", r"pool is 'avg', not one of auto, mean, max, cls, last, gem, flatten"),
        ("files", {}, r"files has no 'model'"),
        ("files", ["tiny.onnx"], r"'files' is \['tiny.onnx'\], not a dict"),
        ("files.model", "tiny.onnx", r"files: 'tiny.onnx' is not of the form"),
        ("files.model", {"path": "a", "md5": "b"}, r"files: .*'md5': 'b'.* is not of the form"),
        ("files.model.path", "../tiny.onnx", r"path '../tiny.onnx' is not a relative path inside the card's folder"),
        ("files.model.path", "/tiny.onnx", r"path '/tiny.onnx' is not a relative path"),
        ("files.model.path", 7, r"path 7 is not a relative path"),
        ("files.model.path", "", r"path '' is not a relative path"),
        ("files.model.sha256", "abc", r"sha256 of 'tiny.onnx' is 'abc', not 64 lower-case hexadecimal digits"),
        ("files.model.sha256", HASH.upper(), r"not 64 lower-case hexadecimal digits"),
        ("files.model.sha256", 7, r"sha256 of 'tiny.onnx' is 7, not 64"),
        ("layers", [1], r"'layers' is \[1\], not a dict"),
        ("layers.map", 3, r"shape of layer 'map' is 3, not a list"),
        ("input", [224], r"'input' is \[224\], not a dict"),
        ("input.sized", 3, r"unknown key 'input.sized' Did you mean 'size'"),
        ("input.size", 224, r"input.size is 224, not a list"),
        ("input.size", [224, 0], r"input.size is \(224, 0\), not \[height, width\] between 1 and 4096"),
        ("input.size", [224], r"input.size is \(224,\), not \[height, width\]"),
        ("input.size", [5000, 224], r"input.size is \(5000, 224\)"),
        ("input.resize", "stretch", r"input.resize is 'stretch', not one of shorter, squash"),
        ("input.resize_to", 100, r"input.resize_to is 100, smaller than the crop \(224, 224\)"),
        ("input.resize_to", "256", r"input.resize_to is '256', not a int"),
        ("input.interpolation", "cubic", r"input.interpolation is 'cubic', not one of nearest, box"),
        ("input.color", "GBR", r"input.color is 'GBR', not one of RGB, BGR"),
        ("input.layout", "CHW", r"input.layout is 'CHW', not one of NCHW, NHWC"),
        ("input.range", 256, r"input.range is 256, not 1 or 255"),
        ("input.mean", [1, 2], r"input.mean is \(1, 2\), not three finite numbers"),
        ("input.mean", 0.5, r"input.mean is 0.5, not a list"),
        ("input.mean", [1, 2, float("nan")], r"input.mean is \(1, 2, nan\), not three finite numbers"),
        ("input.std", [1, 1, 0], r"input.std is \(1, 1, 0\): zero cannot divide"),
        ("input.std", ["a", 1, 1], r"input.std is \('a', 1, 1\), not three finite numbers"),
        ("input.draft", "no", r"input.draft is 'no', not a bool"),
    ],
)
def test_wrong_card_is_refused_by_the_name_and_the_value_of_what_is_wrong(path, value, message):
    with pytest.raises(CardError, match=message):
        Card.from_dict(changed(path, value))


@pytest.mark.parametrize("key", ["name", "modality", "files"])
def test_card_without_what_it_needs_is_refused(key):
    with pytest.raises(CardError, match=f"'{key}' is missing"):
        Card.from_dict({k: v for k, v in CARD.items() if k != key})


def test_card_without_a_name_to_it_is_refused():
    with pytest.raises(CardError, match=r"'name' is missing or empty"):
        Card.from_dict({**CARD, "name": ""})


def test_image_card_without_a_size_is_refused():
    with pytest.raises(CardError, match=r"'input.size' is missing"):
        Card.from_dict(changed("input", {"resize": "squash"}))


def test_all_mistakes_of_a_card_are_told_at_once():
    wrong = {**CARD, "pool": "avg", "licens": "MIT", "files": {"model": {"path": "/a", "sha256": HASH}}}
    with pytest.raises(CardError, match=r"pool is 'avg'") as caught:
        Card.from_dict(wrong, origin="here.json")
    assert all(part in str(caught.value) for part in ("here.json", "licens", "path '/a'"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = [*CARD, "pool", "golden", "measured", "files.model", "files.model.path", "files.model.sha256", "layers.map"]
KEYS += [f"input.{field.name}" for field in dataclasses.fields(ImageSpec)]


@given(st.sampled_from(KEYS), JSON)
def test_any_json_in_any_place_is_a_card_or_a_card_error(path, value):
    try:
        card = Card.from_dict(changed(path, value))
    except CardError:
        return
    assert json.dumps(Card.from_dict(card.to_dict()).to_dict()) == json.dumps(card.to_dict())


def test_card_is_pinned_only_if_every_file_is():
    card = Card.from_dict(CARD)
    more = dataclasses.replace(card, files={**card.files, "weights": ModelFile("w.bin")})
    assert (card.pinned, more.pinned) == (True, False)


def test_manifest_is_relative_to_the_folder_of_the_graph():
    files = {"model": ModelFile("onnx/m.onnx"), "a": ModelFile("onnx/w.bin"), "b": ModelFile("w.bin")}
    assert Card("m", "image", files).manifest == ("m.onnx", "w.bin")
    assert Card("m", "image", {"model": ModelFile("m.onnx"), "a": ModelFile("x/w.bin")}).manifest == (
        "m.onnx",
        "x/w.bin",
    )


# ---------------------------------------------------------------------------------------------------------------------
# Finding


def test_unknown_name_is_told_the_nearest(monkeypatch):
    monkeypatch.setattr(cards._find, "names", lambda: ["text-mini", "vision-mini"])
    with pytest.raises(UnknownModelError, match=r"no model 'vision-nimi'.*Did you mean 'vision-mini'"):
        cards.find("vision-nimi")


@pytest.mark.parametrize("typed", ["minilm", "MINILM-l6", "all-minilm-l6-v2", "all-MiniLM"])
def test_name_in_part_or_another_case_is_told_the_whole(typed):
    with pytest.raises(UnknownModelError, match=r"Did you mean 'all-MiniLM-L6-v2'"):
        cards.find(typed, ["all-MiniLM-L6-v2", "gte-small"])


def test_graph_file_that_does_not_exist_is_unknown(tmp_path):
    with pytest.raises(UnknownModelError, match=r"gone.onnx': no name of `list_models`, and no"):
        cards.find(str(tmp_path / "gone.onnx"))


def test_graph_without_a_card_gets_a_bare_one(tmp_path):
    (tmp_path / "tiny.onnx").touch()
    card = cards.find(str(tmp_path / "tiny.onnx"))
    assert (card.name, card.modality, card.input, card.pinned) == ("tiny", "", None, False)


@pytest.mark.parametrize("asked", ["tiny.onnx", "."])
def test_card_beside_a_graph_is_found_by_file_and_by_folder(tmp_path, asked):
    (tmp_path / "tiny.onnx").touch()
    (tmp_path / "tiny.card.json").write_text(json.dumps(CARD))
    assert cards.find(str(tmp_path / asked)) == Card.from_dict(CARD)


def test_card_folder_is_found(tmp_path):
    (tmp_path / "card.json").write_text(json.dumps(CARD))
    assert cards.find(str(tmp_path)).folder == tmp_path


@pytest.mark.parametrize("graphs", [[], ["a.onnx", "b.onnx"]])
def test_folder_that_names_no_single_graph_is_refused(tmp_path, graphs):
    for name in graphs:
        (tmp_path / name).touch()
    with pytest.raises(UnknownModelError, match=f"no card.json and {len(graphs)} .onnx files"):
        cards.find(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"card.json' is not JSON"),
        ("[1]", r"card.json' holds a list, not a card"),
        ("\ud800".encode("utf8", "surrogatepass"), r"card.json' is not JSON"),
    ],
)
def test_file_that_is_no_card_is_refused_with_its_path(tmp_path, text, message):
    (tmp_path / "card.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CardError, match=message):
        cards.find(str(tmp_path))


def test_every_embedded_card_can_be_read_and_is_pinned():
    assert all(cards.find(name).pinned and cards.find(name).license for name in cards.names())


# ---------------------------------------------------------------------------------------------------------------------
# Recipes

RECIPE = Recipe(HASH, ImageSpec((8, 8), "squash"), ("embedding",), "mean")


@pytest.mark.parametrize(
    "choice",
    [
        {"graph": HASH[::-1]},
        {"input": ImageSpec((8, 9), "squash")},
        {"input": ArraySpec()},
        {"layers": ("embedding", "map")},
        {"pool": "max"},
        {"normalize": True},
        {"precision": "fp32"},
        {"device": "cuda"},
    ],
)
def test_every_choice_of_a_recipe_changes_its_key(choice):
    assert dataclasses.replace(RECIPE, **choice).key != RECIPE.key


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(ImageSpec)])
def test_every_field_of_an_input_changes_the_key(field):
    other = ImageSpec((9, 9), "shorter", 9, "box", "BGR", 1.0, (1, 1, 1), (2, 2, 2), "NHWC", True, 7, "torchvision")
    spec = dataclasses.replace(RECIPE.input, **{field: getattr(other, field)})
    assert dataclasses.replace(RECIPE, input=spec).key != RECIPE.key


def test_key_is_the_same_in_another_process_with_another_hash_seed():
    code = (
        "from skltransfer.cards import *; "
        f"print(Recipe({HASH!r}, ImageSpec((8, 8), 'squash'), ('embedding',), 'mean').key)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "7"})
    assert child.stdout.strip() == RECIPE.key


def test_key_changes_when_the_numerics_do(monkeypatch):
    before = RECIPE.key
    monkeypatch.setattr(type(RECIPE.input), "NUMERICS", RECIPE.input.NUMERICS + 1)
    assert dataclasses.replace(RECIPE).key != before


def test_repr_of_a_card_is_a_line_and_its_html_is_escaped():
    card = dataclasses.replace(load_card("vision-mini"), license="<b>" + "x" * 100)
    assert repr(card).startswith("Card(name='vision-mini', modality='image', layer='embedding', license='<b>xx")
    assert len(repr(card)) < 200
    assert "<b>" not in card._repr_html_()
    assert "&lt;b&gt;" in card._repr_html_()
    assert "block_2" in card._repr_html_()
