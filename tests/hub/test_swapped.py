"""What was checked is what is used: a file that is replaced between two looks is never run as the old one."""

import contextlib
import json
import os
import shutil

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer._engine import hub, inspection, plan, process, runtime
from skltransfer.cards import TextSpec
from skltransfer.errors import IntegrityError, ModelError, UnsafeModelError
from tests import graphs, hostile_graphs

PICTURES = testing.noise_images(4)
CPU = runtime.Device()


def swap(path, content: bytes) -> None:
    """Put another file in the place of one, as a program that updates it does."""
    other = path.with_name("other")
    other.write_bytes(content)
    os.replace(other, path)


@pytest.fixture
def unpinned(tmp_path):
    """A model nobody pinned, completed, and the bytes of another one."""
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    card = load_card(path, preset="raw", resize="squash", layer="embedding")
    return path, card, graphs.channel_means().SerializeToString()


def test_model_that_is_replaced_after_the_plan_is_not_run(unpinned):
    path, card, other = unpinned
    made = plan.make(card, CPU)
    swap(path, other)
    with pytest.raises(IntegrityError, match=r"'.*tiny\.onnx' changed while it was in use: its SHA-256 was"):
        made.build()


@pytest.mark.parametrize(
    "place", [(plan.Plan, "load"), (hub, "verified"), (hub, "reader"), (runtime, "Session")], ids=str
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_rows_of_a_model_that_is_replaced_are_never_kept_under_its_name(unpinned, monkeypatch, place, when):
    path, card, other = unpinned
    embedder = PretrainedEmbedder(card)
    embedder._planned()
    real, swapped = getattr(*place), []

    def swapping(*arguments, **options):
        if when == "before" and not swapped:
            swapped.append(swap(path, other))
        found = real(*arguments, **options)
        if when == "after" and not swapped:
            swapped.append(swap(path, other))
        return found

    monkeypatch.setattr(*place, swapping)
    first = None
    with contextlib.suppress(IntegrityError):
        first = embedder.transform(PICTURES)
    monkeypatch.undo()
    assert swapped
    own = testing.image_rows(PICTURES)
    assert first is None or np.allclose(first, own)
    with pytest.raises(ModelError, match=r"returned rows of shape \(3,\), its card says \(4,\)"):
        embedder.transform(PICTURES)
    again = PretrainedEmbedder(load_card(path, preset="raw", resize="squash", layer="embedding")).transform(PICTURES)
    np.testing.assert_allclose(again, graphs.means(PICTURES), rtol=1e-5)  # nothing kept is taken for its rows


def test_external_weights_that_are_replaced_are_not_read(tmp_path):
    weights = np.arange(2, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(weights.tobytes())
    model = hostile_graphs.external(hostile_graphs.outside("w.bin"), "initializer")
    path = testing.save_backbone(model, tmp_path, pin=False)
    made = plan.make(testing.pinned_card(path, "w.bin"), CPU)
    assert made.load().graph.initializer
    swap(tmp_path / "w.bin", (weights + 1).tobytes())
    with pytest.raises(IntegrityError, match=r"w\.bin' has the SHA-256"):
        made.load()
    reader = hub.reader(made.card, made.digests)
    with pytest.raises(IntegrityError, match=r"w\.bin' changed while it was in use"):
        reader(tmp_path / "w.bin")


def test_tokenizer_that_is_replaced_is_not_opened(tmp_path):
    folder = testing.save_text_backbone(testing.text_backbone(), tmp_path)
    made = plan.make(load_card(folder), CPU)
    content = (folder / "tokenizer.json").read_text()
    swap(folder / "tokenizer.json", content.replace("one", "two", 1).encode())
    with pytest.raises(IntegrityError, match=r"tokenizer\.json' changed while it was in use"):
        made.files()["tokenizer"].read()
    with pytest.raises(IntegrityError):
        made.modality.preparer(TextSpec(), made.files())


@pytest.mark.usefixtures("nothing_tried")
def test_model_that_is_replaced_before_its_child_reads_it_is_refused(tmp_path, monkeypatch):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    real = process.run_child

    def meanwhile(*arguments, **options):
        swap(path, graphs.channel_means().SerializeToString())
        return real(*arguments, **options)

    monkeypatch.setattr(process, "run_child", meanwhile)
    with pytest.raises(IntegrityError, match="changed while it was in use"):
        load_card(path, preset="raw")


def test_link_that_leads_out_of_the_folder_is_not_read(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret of somebody else")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(secret)
    with pytest.raises(UnsafeModelError, match="is a link that leads out of its folder") as caught:
        load_card(folder)
    assert "the secret" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Who pinned it


def author_pinned(graph, tmp_path):
    """A folder as downloaded: its author pins what he likes."""
    path = testing.save_backbone(graphs.channel_means(), tmp_path, "model")
    graph.doc_string = "Somebody else made these bytes."
    path.write_bytes(graph.SerializeToString())
    card = json.loads(path.with_suffix(".card.json").read_text())
    card["files"]["model"] = {"path": "model.onnx", "sha256": hub.sha256(path), "bytes": path.stat().st_size}
    path.with_suffix(".card.json").write_text(json.dumps(card))
    return path


@pytest.mark.usefixtures("nothing_tried")
def test_model_its_author_pinned_is_tried_in_a_child_once(tmp_path, monkeypatch):
    path, tried, real = author_pinned(graphs.channel_means(), tmp_path), [], inspection._read_in_child
    monkeypatch.setattr(inspection, "_read_in_child", lambda *a: tried.append(a) or real(*a))
    for _ in range(2):
        process.reset()
        PretrainedEmbedder(path, layer="embedding").transform(PICTURES)
    assert len(tried) == 1


def test_bundled_models_start_no_child(monkeypatch):
    monkeypatch.setattr(inspection, "_read_in_child", lambda *_: pytest.fail("a child was started"))
    PretrainedEmbedder().fit(PICTURES)
    PretrainedEmbedder("text-mini", layer=None).fit(["a"])


def test_where_nothing_can_be_remembered_models_work_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    path = author_pinned(graphs.channel_means(), tmp_path)
    assert PretrainedEmbedder(path, layer="embedding").transform(PICTURES).shape == (4, 3)


def test_folder_that_moves_is_not_tried_again(tmp_path, monkeypatch):
    path = author_pinned(graphs.channel_means(), tmp_path)
    PretrainedEmbedder(path, layer="embedding").fit(PICTURES)
    shutil.copytree(tmp_path, tmp_path / "moved")
    monkeypatch.setattr(inspection, "_read_in_child", lambda *_: pytest.fail("a child was started"))
    PretrainedEmbedder(tmp_path / "moved" / "model.onnx", layer="embedding").fit(PICTURES)
