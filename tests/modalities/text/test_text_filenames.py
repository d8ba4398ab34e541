"""Texts that are names of files are warned of: what is embedded are the names."""

import warnings

import pytest

from skltransfer import PretrainedEmbedder
from skltransfer._engine.modalities.text._filenames import LOOKS, FileNames
from skltransfer.errors import InputWarning


@pytest.fixture
def files(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("good day")
    return [str(tmp_path / f"{i}.txt") for i in range(4)]


def notes(texts) -> list[str]:
    names = FileNames()
    for text in texts:
        names.look(text)
    return names.notes()


def test_most_texts_that_are_files_are_warned_of_once(embedder, files):
    with pytest.warns(InputWarning, match=r"4 of the first 5 texts are names of files that exist, .*0\.txt'") as caught:
        embedder.transform([*files, "good day"])
    assert len([w for w in caught if "names of files" in str(w.message)]) == 1


def test_few_texts_that_are_files_are_not(embedder, files):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform([*files[:2], "good", "day"])


def test_what_cannot_be_a_name_is_none(files, tmp_path):
    assert notes(["a\0b", "\ud800", "", "x" * 5000, "a\nb", None, 7, str(tmp_path)]) == []
    assert notes([]) == []


def test_only_the_first_texts_are_looked_at(files):
    assert notes(["good day"] * LOOKS + files * 100) == []
    assert "32 of the first 32 texts" in notes(files * 100)[0]


def test_backbone_of_texts_is_the_only_one_that_looks(files):
    assert isinstance(PretrainedEmbedder("text-mini")._planned().plan.preparer()._names, FileNames)
