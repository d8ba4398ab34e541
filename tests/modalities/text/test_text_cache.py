"""Known texts are not tokenized again, and other choices never share their rows."""

import numpy as np
import pytest
from sklearn.base import clone

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine.modalities import text as texts
from skltransfer.testing import TABLE, VOCABULARY, text_rows
from tests.modalities.text.support import ROWS, TEXTS, rows_run


def forbid_tokenizing(monkeypatch):
    monkeypatch.setattr(texts, "prepare", lambda *args: pytest.fail("tokenized"))


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_known_texts_are_not_tokenized(where, embedder, tmp_path, monkeypatch):
    embedder.set_params(cache=where if where == "memory" else tmp_path)
    embedder.transform(TEXTS)
    forbid_tokenizing(monkeypatch)
    np.testing.assert_allclose(embedder.transform(TEXTS[::-1]), ROWS[::-1], rtol=1e-5)


CHOICES = [{}, {"max_length": 4}, {"max_length": 5}, {"long_text": "windows", "max_length": 4}, {"pool": "max"}]


@pytest.mark.parametrize("first", CHOICES, ids=str)
@pytest.mark.parametrize("second", CHOICES, ids=str)
@pytest.mark.filterwarnings("ignore::skltransfer.errors.InputWarning")  # what is cut off is not the subject
def test_choices_never_share_rows(first, second, embedder):
    clone(embedder).set_params(**first).transform(TEXTS)
    rows = clone(embedder).set_params(**second).transform(TEXTS)
    assert len(rows_run()) == (1 if first == second else 2)
    np.testing.assert_array_equal(rows, clone(embedder).set_params(**second, cache=None).transform(TEXTS))


def test_another_tokenizer_does_not_share_rows(tmp_path):
    first = PretrainedEmbedder(testing.save_text_backbone(testing.text_backbone(), tmp_path / "first")).transform(
        ["one"]
    )
    other = testing.save_text_backbone(
        testing.text_backbone(), tmp_path / "second", tokenizer=testing.word_tokenizer(special=False)
    )
    np.testing.assert_allclose(PretrainedEmbedder(other).transform(["one"]), TABLE[[VOCABULARY["one"]]])
    np.testing.assert_allclose(first, text_rows(["one"]), rtol=1e-6)


def test_tokenizer_that_is_replaced_is_opened_again(tmp_path):
    PretrainedEmbedder(testing.save_text_backbone(testing.text_backbone(), tmp_path)).transform(["one"])
    testing.save_text_backbone(testing.text_backbone(), tmp_path, tokenizer=testing.word_tokenizer(special=False))
    np.testing.assert_allclose(PretrainedEmbedder(str(tmp_path)).transform(["one"]), TABLE[[VOCABULARY["one"]]])
