"""What a file says of itself, what lies beside it, and files that prepare samples themselves."""

from __future__ import annotations

import hashlib
import io
from importlib.util import find_spec

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder, load_card, testing
from skltransfer.datasets import load_emoji
from skltransfer.errors import ExportError, InputWarning
from skltransfer.export import SCHEMA, read_metadata, to_onnx, write_triton
from tests.export import support

pytest.importorskip("skl2onnx", reason="needs skltransfer[export]")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    X, y = support.train()
    head = make_pipeline(StandardScaler(), LogisticRegression())
    return support.exported(make_pipeline(support.backbone(folder), head).fit(X, y), folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Export a pipeline of texts that takes tokens."""
    emoji, folder = load_emoji(), tmp_path_factory.mktemp("texts")
    pipeline = make_pipeline(PretrainedEmbedder("text-mini"), LogisticRegression(max_iter=1000))
    pipeline.fit(emoji.texts[:300], emoji.target[:300] % 2)
    return pipeline, to_onnx(pipeline, folder / "texts.onnx", samples=emoji.texts[300:510])


def test_metadata_say_what_a_program_needs(done):
    facts = read_metadata(done.path)
    assert (facts["schema"], facts["level"], facts["opset"], facts["pure"]) == (SCHEMA, "tensors", 17, False)
    assert facts["classes"] == {"label": ["blue", "green", "red"]}
    assert facts["card"]["images"]["input"]["size"] == [8, 8]
    assert "uint8 (batch, 8, 8, 3)" in facts["inputs"]["images"]["preprocessing"]
    assert facts["parity"]["samples"] == support.TEST
    assert set(facts["versions"]) == {"skltransfer", "scikit-learn", "onnx", "onnxruntime", "skl2onnx"}


def test_golden_rows_can_be_made_and_compared_by_any_program(done):
    golden = read_metadata(done.path)["golden"]
    pixels = np.array(golden["inputs"]["images"], np.uint8)
    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    label, probabilities = session.run(None, {"images": pixels})
    assert label.tolist() == golden["outputs"]["label"]
    np.testing.assert_allclose(probabilities, golden["outputs"]["probabilities"], atol=1e-6)


def test_onnx_runtime_reads_the_same_metadata(done):
    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["skltransfer.opset"] == "17"


def test_the_message_has_the_figures(done):
    assert "compared on 210 samples in batches of 1 and 7" in str(done)
    assert "label: 100.0% of labels equal" in str(done)


def test_the_message_says_which_share_of_the_classes_was_seen(tmp_path):
    X, y = support.train()
    head = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline = make_pipeline(support.backbone(tmp_path), head).fit(X, y)
    red = [image for image in support.images(900)[0] if pipeline.predict([image]) == "red"][:210]
    done = to_onnx(pipeline, tmp_path / "model.onnx", samples=red)
    assert "100.0% of labels equal, of 1 of 3 classes only: pass samples of all" in str(done)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x72\xff\xff\xff\xff\xff\x01", bytes(range(256)) * 9])
def test_other_files_are_not_taken_for_ours(tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"was not written by skltransfer\.export"):
        read_metadata(tmp_path / "x.onnx")


def test_a_backbone_is_not_taken_for_an_export(tmp_path):
    with pytest.raises(ExportError, match="its metadata are not ours"):
        read_metadata(testing.save_backbone(testing.image_backbone(), tmp_path, layer="embedding"))


def test_triton_gets_a_repository(done, tmp_path):
    text = write_triton(done.path, tmp_path / "models").read_text()
    assert (tmp_path / "models" / "model" / "1" / "model.onnx").read_bytes() == done.path.read_bytes()
    assert 'name: "images"\n  data_type: TYPE_UINT8\n  dims: [ 8, 8, 3 ]' in text
    assert 'name: "label"\n  data_type: TYPE_INT64\n  dims: [ 1 ]\n  reshape { shape: [ ] }' in text


def test_the_tokenizer_lies_beside_a_file_of_texts(texts):
    _, done = texts
    (beside,) = done.files
    assert beside.name == "texts.tokenizer.json"
    digest = hashlib.sha256(beside.read_bytes()).hexdigest()
    assert read_metadata(done.path)["files"] == {"texts.tokenizer.json": digest}


def test_a_union_of_embedders_of_one_input_has_one_input(tmp_path):
    from sklearn.pipeline import FeatureUnion

    X, y = support.train()
    parts = FeatureUnion(
        [("a", support.backbone(tmp_path)), ("b", support.backbone(tmp_path).set_params(layer="logits"))]
    )
    pipeline = make_pipeline(parts, StandardScaler(), LogisticRegression()).fit(X, y)
    assert support.exported(pipeline, tmp_path).inputs == ("images",)


def test_a_newer_backbone_sets_the_version_of_operators(tmp_path):
    import onnx

    X, y = support.train()
    model = onnx.version_converter.convert_version(testing.image_backbone(), 20)
    embedder = PretrainedEmbedder(testing.save_backbone(model, tmp_path, layer="embedding"))
    pipeline = make_pipeline(embedder, StandardScaler(), LogisticRegression()).fit(X, y)
    assert read_metadata(support.exported(pipeline, tmp_path).path)["opset"] == 20


def test_an_older_backbone_is_raised_to_the_version_that_is_asked_for(tmp_path):
    X, y = support.train()
    pipeline = make_pipeline(support.backbone(tmp_path), StandardScaler(), LogisticRegression()).fit(X, y)
    done = support.exported(pipeline, tmp_path, opset=19)
    assert read_metadata(done.path)["opset"] == 19


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_backbones_of_fewer_bits_agree(tmp_path, precision, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    emoji = load_emoji()
    embedder = PretrainedEmbedder(load_card("vision-mini", draft=False), precision=precision)
    done = to_onnx(embedder.fit(emoji.images[:3]), tmp_path / "m.onnx", samples=emoji.images[:200])
    assert done.parity["outputs"]["features"]["agrees"]


def test_arrays_go_in_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(330, 4)).astype(np.float32)
    embedder = PretrainedEmbedder(testing.save_backbone(testing.array_backbone(), tmp_path))
    pipeline = make_pipeline(embedder, LogisticRegression()).fit(X[:120], X[:120, 0] > 0)
    assert to_onnx(pipeline, tmp_path / "model.onnx", samples=X[120:]).inputs == ("arrays",)


# ---------------------------------------------------------------------------------------------------------------------
# level="bytes"


needs_extensions = pytest.mark.skipif(
    find_spec("onnxruntime_extensions") is None, reason="onnxruntime-extensions has no wheel for this Python"
)


def session_of(path):
    import onnxruntime_extensions as extensions

    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(extensions.get_library_path())
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@needs_extensions
def test_a_file_takes_texts(texts, tmp_path):
    pipeline, _ = texts
    emoji = load_emoji()
    samples = [text for text in emoji.texts[300:] if text.isascii()][:210]
    done = to_onnx(pipeline, tmp_path / "texts.onnx", samples=samples, level="bytes")
    found = session_of(done.path).run(["label"], {"texts": np.array([samples[0], "", samples[1]], object)})[0]
    assert found[[0, 2]].tolist() == pipeline.predict(samples[:2]).tolist()
    assert (done.inputs, done.files) == (("texts",), ())


@needs_extensions
def test_texts_that_are_cut_otherwise_are_refused(texts, tmp_path):
    pipeline, _ = texts
    samples = [f"한국어 {i} ёлка" for i in range(210)]
    with pytest.raises(ExportError, match="prepare them outside, with level='tensors'"):
        to_onnx(pipeline, tmp_path / "texts.onnx", samples=samples, level="bytes")
    assert list(tmp_path.iterdir()) == []


@needs_extensions
@pytest.mark.parametrize(("most", "side"), [(5, "right"), (5, "left")])
def test_long_texts_are_cut_on_the_same_side(tmp_path, most, side):
    texts = [text for text in load_emoji().texts if text.isascii()]
    embedder = PretrainedEmbedder(load_card("text-mini", max_length=most, truncation=side))
    with pytest.warns(InputWarning, match="were cut off"):
        done = to_onnx(embedder.fit(texts), tmp_path / "texts.onnx", samples=texts[:210], level="bytes")
    assert done.outputs == ("features",)


def pairs(texts, special=True):
    """Train a tokenizer of byte pairs, as that of RoBERTa, and return the backbone of its tokens."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs skltransfer[text]")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    ends = [("<s>", 0), ("</s>", 1)]
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=[name for name, _ in ends], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    if special:
        made.post_processor = tokenizers.processors.TemplateProcessing("<s> $A </s>", special_tokens=ends)
    table = np.random.default_rng(0).normal(size=(made.get_vocab_size(), 4)).astype(np.float32)
    return testing.text_backbone(table=table), made


@needs_extensions
@pytest.mark.parametrize(("special", "side"), [(True, "right"), (True, "left"), (False, "right")])
def test_byte_pairs_are_cut_alike(tmp_path, special, side):
    texts = load_emoji().texts[:210]
    graph, tokenizer = pairs(texts, special)
    path = testing.save_text_backbone(graph, tmp_path, tokenizer, max_length=9, truncation=side, pool="mean")
    with pytest.warns(InputWarning, match="were cut off"):
        done = to_onnx(PretrainedEmbedder(path).fit(texts), tmp_path / "m.onnx", samples=texts, level="bytes")
    assert done.parity["outputs"]["features"]["largest"] < 1e-5


def test_other_tokenizers_are_refused(tmp_path):
    path = testing.save_text_backbone(testing.text_backbone(), tmp_path, pool="mean")
    texts = ["the cat"] * 210
    with pytest.raises(ExportError, match="tokenizers of BERT and byte pairs"):
        to_onnx(PretrainedEmbedder(path).fit(texts), tmp_path / "m.onnx", samples=texts, level="bytes")


def jpeg(pixels, mode="RGB"):
    file = io.BytesIO()
    Image.fromarray(pixels).resize((40, 30)).convert(mode).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


@needs_extensions
def test_a_file_takes_trusted_images_and_says_what_that_means(tmp_path):
    images = [jpeg(pixels, "L" if i % 9 == 0 else "RGB") for i, pixels in enumerate(support.test())]
    y = [np.asarray(Image.open(io.BytesIO(image)).convert("RGB")).mean() > 125 for image in images]
    pipeline = make_pipeline(support.backbone(tmp_path), StandardScaler(), LogisticRegression(C=0.1)).fit(images, y)
    (tmp_path / "last.jpg").write_bytes(images.pop())
    images.append(tmp_path / "last.jpg")
    with pytest.warns(InputWarning, match="never returns from a truncated JPEG"):
        done = to_onnx(pipeline, tmp_path / "m.onnx", samples=images, level="bytes", accept="trusted-images")
    found = session_of(done.path).run(["label"], {"file": np.frombuffer(images[0], np.uint8)})[0]
    assert pipeline.classes_[found].tolist() == pipeline.predict(images[:1]).tolist()
    assert "trusted JPEG and PNG files only" in read_metadata(done.path)["warning"]
