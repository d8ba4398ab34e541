"""Views of images one by one, activations in float16, and what is run how often."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

import skltransfer
from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import cache, catalog, modalities, runtime, stream
from skltransfer._engine import plan as plans
from skltransfer._engine.modalities.image._geometry import fit, fit_views
from skltransfer.cards import ImageSpec
from skltransfer.cli import main
from skltransfer.errors import SampleError
from skltransfer.finetune import FineTunedEmbedder, _cuts, _interpreter, _train, _trunk
from tests.finetune.support import save, stripes

IMAGES, LABELS = stripes(24)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 40, 3), np.uint8))
SPEC = ImageSpec((16, 16), "shorter", 16)


def test_mirror_image_is_that_of_what_is_seen():
    (mirrored,) = fit_views(PICTURE, SPEC, "mirror")
    np.testing.assert_array_equal(mirrored, fit_views(PICTURE, SPEC, "flip")[1])


def test_random_part_depends_on_its_number_and_on_the_sample_alone():
    seen = {
        (views, seed): fit_views(PICTURE, SPEC, views, seed)[0].tobytes()
        for views in ("crop 2", "crop 3")
        for seed in (b"a", b"b")
    }
    again = fit_views(PICTURE, SPEC, "crop 2", b"a")[0].tobytes()
    assert again == seen["crop 2", b"a"]
    assert len(set(seen.values())) == 4
    assert fit(PICTURE, SPEC).tobytes() not in seen.values()


@pytest.mark.parametrize("resize", ["shorter", "squash"])
def test_random_part_lies_inside_and_keeps_half_of_the_picture(resize):
    y, x = np.mgrid[:200, :300]
    ramp = Image.fromarray(np.stack([x * 255 // 300, y * 255 // 200, 0 * x], axis=-1).astype(np.uint8))
    spec = ImageSpec((64, 64), resize, 64 if resize == "shorter" else None)
    sides = []
    for number in range(40):
        (part,) = fit_views(ramp, spec, f"crop {number}", b"seed")
        width = abs(int(part[32, -1, 0]) - int(part[32, 0, 0])) / 255 * 300
        height = abs(int(part[-1, 32, 1]) - int(part[0, 32, 1])) / 255 * 200
        whole = 300 * 200 if resize == "squash" else 200 * 200
        sides.append(width * height / whole)
    assert 0.4 < min(sides) < 0.65
    assert 0.85 < max(sides) <= 1.05


def encoded(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=95)
    return out.getvalue()


def test_a_part_of_a_photograph_is_decoded_in_full():
    spec = load_card("vision-mini").input
    photograph = encoded(np.asarray(PICTURE.resize((800, 600))))
    image = modalities.of(spec)
    (crop,) = image.preparer(spec, {}, views="crop 2").prepare([image.preparer(spec).read(photograph)])
    exact = image.preparer(load_card("vision-mini", draft=False).input, {}, views="crop 2")
    np.testing.assert_array_equal(crop[0], exact.prepare([exact.read(photograph)])[0][0])


@pytest.fixture
def plan(tmp_path):
    return plans.make(catalog.load_card(save(tmp_path)), runtime.Device())


def test_activations_are_those_of_the_layer_in_float16(plan, tmp_path):
    held = _trunk.activations(IMAGES, plan, "sum_1", 3, None, stream.Options())
    want = PretrainedEmbedder(str(tmp_path / "tiny.onnx"), layer="sum_1", pool="none").transform(IMAGES)
    assert [view.dtype for view in held.views] == [np.float16] * 3
    np.testing.assert_allclose(held.views[0], want, rtol=1e-3, atol=1e-2)
    mirrored = PretrainedEmbedder(str(tmp_path / "tiny.onnx"), layer="sum_1", pool="none").transform(
        [image[:, ::-1] for image in IMAGES]
    )
    np.testing.assert_allclose(held.views[1], mirrored, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("kept", ["memory", "folder"])
def test_views_are_computed_once_and_kept_in_half_the_bytes(plan, tmp_path, kept):
    skltransfer.reset()
    where = cache.open_cache("memory" if kept == "memory" else str(tmp_path / "rows"))
    for _ in range(2):
        held = _trunk.activations(IMAGES, plan, "sum_1", 4, where, stream.Options())
    assert skltransfer.rows_run() == 4 * len(IMAGES)
    assert len({view.tobytes() for view in held.views}) == 4
    if kept == "memory":
        size = held.views[0][0].size
        assert skltransfer.cache_info().bytes < 4 * len(IMAGES) * (2 * size + 300)


def test_activation_too_large_for_float16_is_named(tmp_path):
    card = catalog.load_card(save(tmp_path))
    plan = plans.make(card, runtime.Device())
    loud = [np.full((8, 8, 3), 255, np.uint8)] * 3
    for tensor in (model := plan.load()).graph.initializer:
        tensor.raw_data = (100 * np.frombuffer(tensor.raw_data, np.float32)).tobytes()
    (tmp_path / "loud").mkdir()
    plan = plans.make(catalog.load_card(save(tmp_path / "loud", model)), runtime.Device())
    with pytest.raises(SampleError, match="NaN or infinity"):
        _trunk.activations(loud, plan, "sum_2", 1, None, stream.Options())


def test_texts_have_their_own_lengths_and_a_mask(tmp_path):
    from skltransfer.testing import save_text_backbone, text_backbone

    path = save_text_backbone(text_backbone(), tmp_path)
    plan = plans.make(catalog.load_card(path), runtime.Device())
    held = _trunk.activations(["a good day", "a"], plan, "states", 8, None, stream.Options())
    assert len(held.views) == 1
    (given,) = held.batch([0, 1], [0, 0])
    lengths = held.lengths()
    assert lengths[0] > lengths[1]
    np.testing.assert_array_equal((given["skltransfer_samples"].numpy() >= 0).sum(1), lengths)
    assert not given["states"][1, lengths[1] :].any()


def test_texts_are_filled_up_to_the_longest_of_their_piece_alone(tmp_path):
    from skltransfer.testing import save_text_backbone, text_backbone

    path = save_text_backbone(text_backbone(), tmp_path)
    plan = plans.make(catalog.load_card(path), runtime.Device())
    texts = [" ".join(["good"] * (1 + i)) for i in range(20)]
    held = _trunk.activations(texts, plan, "states", 1, None, stream.Options())
    pieces = held.batch(range(20), [0] * 20)
    assert [len(piece["states"]) for piece in pieces] == [8, 8, 4]
    assert [piece["states"].shape[1] for piece in pieces] == [held.lengths()[i] for i in (7, 15, 19)]
    parts = _cuts.taken_apart(plan)
    rows = _train._rows(_interpreter.module(parts, parts.tail("states")), pieces).detach().numpy()
    np.testing.assert_allclose(rows, PretrainedEmbedder(path).transform(texts), atol=1e-3 * np.abs(rows).max())


def test_command_line_writes_a_card_of_a_folder(tmp_path, capsys):
    for number, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / label / f"{number}.png")
    save(tmp_path)
    model, output = str(tmp_path / "tiny.onnx"), tmp_path / "tuned"
    given = ["--model", model, "--blocks", "1", "--epochs", "1", "--views", "2", "--output", str(output)]
    assert main(["finetune", str(tmp_path / "photos"), *given]) == 0
    assert "576 numbers behind sum_2 were trained on 24 samples for classes" in capsys.readouterr().out
    assert PretrainedEmbedder(str(output)).transform(IMAGES).shape == (24, 8)
    assert main(["finetune", str(tmp_path / "photos"), *given]) == 2
    assert "exists" in capsys.readouterr().err


def test_command_line_asks_for_the_columns_of_a_table(tmp_path, capsys):
    (tmp_path / "table.csv").write_text("text,stars\na,1\n")
    assert main(["finetune", str(tmp_path / "table.csv"), "--output", str(tmp_path / "tuned")]) == 2
    assert "--column NAME --target NAME" in capsys.readouterr().err


def test_tuned_pipeline_is_exported_and_scored(tmp_path):
    pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from skltransfer.export import read_metadata, to_onnx

    images, labels = stripes(240, seed=3)
    tuner = FineTunedEmbedder(PretrainedEmbedder(save(tmp_path)), epochs=1, views=1, blocks=1)
    pipeline = make_pipeline(tuner, LogisticRegression(max_iter=5000, C=0.001)).fit(images[:40], labels[:40])
    done = to_onnx(pipeline, tmp_path / "out.onnx", samples=images)
    assert read_metadata(done.path)["classes"] is not None
    assert sys.modules["torch"]
    table = tmp_path / "parts"
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    scored = skltransfer.score(pipeline, images[:50], table, progress=False)
    assert (scored.rows, scored.failed) == (50, 0)
    parts = [pyarrow.parquet.read_table(path) for path in sorted(table.glob("part-*"))]
    np.testing.assert_array_equal(
        np.concatenate([part["prediction"].to_numpy() for part in parts]), pipeline.predict(images[:50])
    )
