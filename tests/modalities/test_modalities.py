"""One table of kinds of samples: a new kind is one file, and nobody outside branches on the kind."""

import ast
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import modalities
from skltransfer._engine.modalities._modality import Modality, Plain
from skltransfer.cards import SPECS, GraphInfo, InputSpec
from skltransfer.errors import BadSamplesWarning, CardError, Unreadable
from tests import graphs
from tests.paths import PACKAGE

# ---------------------------------------------------------------------------------------------------------------------
# A toy: sounds are lists of numbers, cut or padded to a length, and scaled


@dataclass(frozen=True)
class SoundSpec(InputSpec):
    length: int
    gain: float = 1.0
    layout: str = "NCHW"
    TAG: ClassVar = "SoundSpec"

    def mistakes(self) -> list[str]:
        return [] if self.length > 0 else [f"input.length is {self.length!r}, not positive"]


class Sound(NamedTuple):
    data: np.ndarray
    path: str | None = None

    def digest(self) -> bytes:
        return self.data.tobytes()[:16].ljust(16)


class SoundPreparer(Plain):
    sizes: ClassVar = {"fused": 4, "pipelined": 8}

    def read(self, sample: Any) -> Sound:
        if not isinstance(sample, list):
            raise Unreadable(f"{type(sample).__name__} is no sound")
        return Sound(np.array(sample, np.float32))

    def prepare(self, sources):
        short = [source.data[: self.spec.length] for source in sources]
        return [[np.pad(data, (0, self.spec.length - len(data)))] for data in short]

    def probe(self, like):
        return np.random.default_rng(0).normal(size=(3, self.spec.length)).astype(np.float32)


def complete(card: Any, info: GraphInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    known = dataclasses.asdict(card.input) if card.input is not None else {"length": info.shape[1]}
    return {**known, **given}


def preprocess(editor: Any, spec: SoundSpec, info: GraphInfo) -> None:
    louder = editor.const(np.float32(spec.gain))
    tensor = editor.add("Mul", editor.set_input("float32", [spec.length]), louder, front=True)
    editor.cast(tensor, info.dtype, output=info.input, front=True)


SOUND = Modality(
    name="sound",
    spec=SoundSpec,
    signs=lambda info, files: ["an input 'sound'"] if info.input == "sound" else [],
    complete=complete,
    check=lambda spec, info: info.check_single_input(),
    preprocess=preprocess,
    preparer=SoundPreparer,
    synthetic=lambda purpose: [[float(i), 1.0, -2.0, 3.0] for i in range(8)],
)


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """A graph of sounds, whose kind is known for one test."""
    monkeypatch.setattr(modalities, "TABLE", dict(modalities.TABLE))
    monkeypatch.setitem(SPECS, "sound", SoundSpec)
    modalities.register(SOUND)
    return testing.save_backbone(testing.array_backbone(4), tmp_path, modality="sound", input=SoundSpec(4))


SAMPLES = [[1.0, 2.0], [3.0, 4.0, 5.0, 6.0, 7.0], [0.5], [1.0, 2.0]]
PADDED = np.array([[1, 2, 0, 0], [3, 4, 5, 6], [0.5, 0, 0, 0], [1, 2, 0, 0]], np.float32)


@pytest.mark.parametrize("kept", ["memory", None])
def test_toy_kind_embeds(sounds, kept):
    rows = PretrainedEmbedder(sounds, cache=kept).fit_transform(SAMPLES)
    np.testing.assert_allclose(rows, testing.array_rows(PADDED), rtol=1e-6)


def test_toy_kind_has_its_own_fields(sounds):
    card = load_card(sounds, gain=3.0)
    rows = PretrainedEmbedder(card).fit_transform(SAMPLES)
    np.testing.assert_allclose(rows, testing.array_rows(3 * PADDED), rtol=1e-6)
    with pytest.raises(CardError, match="Neither a card nor 'sound' input has 'loudness'"):
        load_card(sounds, loudness=3.0)


def test_toy_kind_learns_and_names_bad_samples(sounds):
    make_pipeline(PretrainedEmbedder(sounds), LogisticRegression()).fit(SAMPLES, [0, 1, 0, 0])
    with pytest.warns(BadSamplesWarning, match="int is no sound"):
        PretrainedEmbedder(sounds, on_error="nan").transform([[1.0], 7])


def test_toy_kind_is_quantized_and_measured(sounds):
    from skltransfer._engine import profile

    assert profile.measure(sounds, "cpu").samples == 8


def test_card_of_the_toy_kind_is_read_and_written(sounds):
    card = load_card(sounds)
    assert type(card).from_dict(card.to_dict(), folder=card.folder) == card


# ---------------------------------------------------------------------------------------------------------------------
# The table is the only place that knows them all

#: Places outside `modalities` that look at the kind, each with its reason.
ALLOWED = {
    "_engine/demo.py": "the demo is of images",
    "convert/_modules.py": "a module of torch does not say what it takes; the caller does",
    "convert/_transformers.py": "an encoder's main input says which of two readers it needs",
    "detection/_backbone.py": "boxes are in pictures",
    "report.py": "thumbnails are pictures",
}


def branches(path: Path) -> list[int]:
    """List lines that compare a modality with a name, or test for a kind of specification."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            names = {getattr(side, "attr", getattr(side, "id", "")) for side in sides}
            values = {side.value for side in sides if isinstance(side, ast.Constant)}
            found += [node.lineno] if "modality" in names and values & {"image", "text", "array"} else []
            found += [node.lineno] if "tokenizer" in values else []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            found += [node.lineno] if "Spec" in ast.unparse(node.args[1]) else []
    return found


def test_few_branches_on_the_kind_are_outside_the_table():
    outside = [p for p in PACKAGE.rglob("*.py") if "modalities" not in p.parts and "cards" not in p.parts]
    found = {path.relative_to(PACKAGE).as_posix(): lines for path in outside if (lines := branches(path))}
    assert {name: lines for name, lines in found.items() if name not in ALLOWED} == {}
    assert sum(map(len, found.values())) <= 5, found


def test_a_branch_would_be_noticed(tmp_path):
    (tmp_path / "room.py").write_text("if card.modality == 'text' or isinstance(spec, ImageSpec):\n    pass\n")
    assert branches(tmp_path / "room.py") == [1, 1]


def test_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(CardError, match="modality is 'smell', not one of array, image, text"):
        modalities.of("smell")


def test_graph_without_a_card_is_asked_of_every_kind():
    from skltransfer._engine import graph

    assert modalities.guess(graph.read(testing.image_backbone())) == "image"
    assert modalities.guess(graph.read(testing.text_backbone())) == "text"
    assert modalities.guess(graph.read(graphs.tokens())) == "array"
