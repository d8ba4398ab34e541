"""Real backbones on real photographs: rows against a reference written by hand, probes against their known accuracy.

The material lies beside the checkout and is no part of it; without it these tests are skipped. What is tried on
purpose: embeddings that are outputs, inner tensors and maps; float16; BGR; three ways to scale pixels; four sizes.
"""

import json
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image, ImageOps
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skltransfer import Card, PretrainedEmbedder, load_card
from skltransfer._engine import golden, hub
from skltransfer.testing import pinned_card

#: Accuracy of a plain probe on two sets of images, as the material's README has it.
PROBES = {
    "mobilenet_v1_0.25_128": {"cifar10": 0.674, "clothing": 0.655},
    "mobilenet_v1_0.25_224": {"cifar10": 0.674, "clothing": 0.676},
    "mobilenet_v1_0.5_160": {"cifar10": 0.706, "clothing": 0.751},
    "mobilenet_v1_1.0_224_embedder": {"cifar10": 0.741, "clothing": 0.799},
    "mobilenet_v2_1.0_224": {"cifar10": 0.682, "clothing": 0.846},
    "squeezenet1_1_224": {"cifar10": 0.686, "clothing": 0.771},
    "squeezenet1_1_224_fp16": {"cifar10": 0.686, "clothing": 0.771},
    "tiny_darknet_224": {"cifar10": 0.651, "clothing": 0.676},
}
TOLERANCE = 1e-4
#: For processors that add up in float16: its 11 bits differ in the last when sums are taken in another order.
TOLERANCE_FP16 = 2e-3


@cache
def facts(models: Path, name: str) -> dict:
    """Read what the material says of a graph."""
    return json.loads((models / f"{name}.json").read_text())


def card_of(models: Path, name: str, **changes: object) -> Card:
    """Make a card from what the material says."""
    spec = facts(models, name)["input"]
    known = {"color": spec["colour_order"], "mean": tuple(spec["mean"]), "std": tuple(spec["std"]), "range": 255.0}
    if spec["resize"].startswith("whole"):
        geometry = {"resize": "squash"}
    else:
        geometry = {"resize": "shorter", "resize_to": int(re.search(r"(\d+) px", spec["resize"])[1])}
    layer = facts(models, name)["embedding"]["tensor"]
    return pinned_card(models / f"{name}.onnx", **{**known, **geometry, "layer": layer, **changes})


@pytest.fixture(scope="session")
def models(shared):
    return shared / "models"


@pytest.fixture(scope="session")
def photographs(shared):
    files = sorted((shared / "data" / "clothing_small" / "test").glob("*/*.jpg"))
    return [str(file) for file in files[:: len(files) // 12][:12]]


# ---------------------------------------------------------------------------------------------------------------------
# The reference


def pixels(path: str, spec: dict) -> np.ndarray:
    """Prepare a photograph as the material says, with Pillow and NumPy."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    side = spec["shape"][2]
    if spec["resize"].startswith("whole"):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    else:
        ratio = int(re.search(r"(\d+) px", spec["resize"])[1]) / min(image.size)
        image = image.resize([round(length * ratio) for length in image.size], Image.Resampling.BILINEAR)
        left, top = ((length - side) // 2 for length in image.size)
        image = image.crop((left, top, left + side, top + side))
    array = np.asarray(image, np.float64)[..., :: -1 if spec["colour_order"] == "BGR" else 1]
    return ((array - spec["mean"]) / spec["std"]).transpose(2, 0, 1).astype(spec["dtype"])


def session(path: Path, tensors: list[str]) -> onnxruntime.InferenceSession:
    """Open a graph with some of its tensors as outputs."""
    graph = onnx.load(path)
    del graph.graph.output[:]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def reference(models: Path, name: str, paths: list[str], tensors: list[str] | None = None) -> np.ndarray:
    """Embed photographs one by one; maps become the mean over their places."""
    fact = facts(models, name)
    run = session(models / f"{name}.onnx", tensors or [fact["embedding"]["tensor"]]).run
    outputs = [run(None, {fact["input"]["name"]: pixels(path, fact["input"])[None]}) for path in paths]
    return np.concatenate([np.hstack([pooled(tensor) for tensor in tensors]) for tensors in outputs])


def pooled(tensor: np.ndarray) -> np.ndarray:
    tensor = tensor.astype(np.float32)
    return tensor.mean(axis=(2, 3)) if tensor.ndim == 4 else tensor


def difference(rows: np.ndarray, wanted: np.ndarray) -> float:
    """Give the largest difference, relative to the largest number."""
    assert rows.shape == wanted.shape
    return float(np.abs(rows - wanted).max() / np.abs(wanted).max())


# ---------------------------------------------------------------------------------------------------------------------
# Rows


@pytest.mark.parametrize("name", PROBES)
def test_rows_agree_with_a_reference_written_by_hand(name, models, photographs):
    rows = PretrainedEmbedder(card_of(models, name), cache=None).fit_transform(photographs)
    assert rows.shape == (12, facts(models, name)["embedding"]["dim"])
    tolerance = TOLERANCE_FP16 if name.endswith("fp16") else TOLERANCE
    assert difference(rows, reference(models, name, photographs)) <= tolerance


@pytest.mark.parametrize("name", PROBES)
def test_rows_do_not_depend_on_batch_or_threads(name, models, photographs):
    embedder = PretrainedEmbedder(card_of(models, name), cache=None, batch_size=1, n_jobs=1)
    alone = embedder.transform(photographs)
    tolerance = TOLERANCE_FP16 if name.endswith("fp16") else 1e-5
    assert difference(embedder.set_params(batch_size=12, n_jobs=4).transform(photographs), alone) <= tolerance


def test_layers_side_by_side_agree_with_a_reference(models, photographs):
    layers = ["conv_14_lrelu", "embedding"]
    rows = PretrainedEmbedder(card_of(models, "tiny_darknet_224"), layer=layers).fit_transform(photographs)
    assert rows.shape == (12, 512 + 128)
    assert difference(rows, reference(models, "tiny_darknet_224", photographs, layers)) <= TOLERANCE


def test_widened_float16_graph_agrees_with_the_float32_one(models, photographs):
    wide = PretrainedEmbedder(card_of(models, "squeezenet1_1_224_fp16"), precision="fp32").transform(photographs)
    assert difference(wide, reference(models, "squeezenet1_1_224", photographs)) <= 2e-2


def test_scaling_may_be_written_for_white_as_one(models, photographs):
    other = card_of(models, "tiny_darknet_224", range=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    rows = PretrainedEmbedder(other).transform(photographs)
    assert difference(rows, reference(models, "tiny_darknet_224", photographs)) <= TOLERANCE


@pytest.mark.parametrize("change", [{"color": "RGB"}, {"mean": (0.0, 0.0, 0.0)}, {"interpolation": "nearest"}])
def test_reference_notices_a_wrong_preparation(models, photographs, change):
    rows = PretrainedEmbedder(card_of(models, "squeezenet1_1_224", **change)).transform(photographs)
    assert difference(rows, reference(models, "squeezenet1_1_224", photographs)) > 100 * TOLERANCE


@pytest.mark.parametrize("name", PROBES)
def test_card_written_beside_a_graph_is_found_with_it(name, models, photographs, tmp_path):
    file = shutil.copy(models / f"{name}.onnx", tmp_path)
    made = card_of(models, name)
    golden.write_card(load_card(Card(made.name, "image", made.files, made.input, made.layer, folder=tmp_path)))
    read = load_card(file)
    assert read.files["model"].sha256 == facts(models, name)["sha256"] == hub.sha256(Path(file))
    assert read.input == made.input
    assert golden.drift(read) < TOLERANCE


# ---------------------------------------------------------------------------------------------------------------------
# Probes


def clothing(data: Path, part: str) -> tuple[list[str], list[str]]:
    files = sorted((data / "clothing_small" / part).glob("*/*.jpg"))
    return [str(file) for file in files], [file.parent.name for file in files]


def cifar10(data: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(data / "cifar10_subset" / f"{part}.npz") as arrays:
        return arrays["images"], arrays["labels"]


SETS = {"cifar10": cifar10, "clothing": clothing}
QUICK = ("mobilenet_v1_0.25_128", "clothing")
ALL = [
    pytest.param(name, images, marks=() if (name, images) == QUICK else pytest.mark.slow)
    for name in PROBES
    for images in SETS
]


def accuracy(shared: Path, name: str, images: str) -> float:
    """Train a probe on a set of images and test it; the small images are scaled straight to the size of the input."""
    changes = {"resize": "squash"} if images == "cifar10" else {}
    embedder = PretrainedEmbedder(card_of(shared / "models", name, **changes))
    probe = make_pipeline(embedder, StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    train, test = (SETS[images](shared / "data", part) for part in ("train", "test"))
    with threadpool_limits(1):
        return probe.fit(*train).score(*test)


@pytest.mark.parametrize(("name", "images"), ALL)
def test_probe_reaches_its_known_accuracy(name, images, shared):
    assert accuracy(shared, name, images) == pytest.approx(PROBES[name][images], abs=0.02)


# ---------------------------------------------------------------------------------------------------------------------
# Fewer bits


@pytest.mark.parametrize(("precision", "mark"), [("fp16", 0.999), ("int8", 0.99)])
@pytest.mark.parametrize("kind", ["photographs", "small pictures"])
def test_variant_made_on_made_up_samples_is_near_on_real_ones(kind, precision, mark, shared, photographs, tmp_path):
    files = [shared / "models" / f"mobilenet_v2_1.0_224{suffix}" for suffix in (".onnx", ".json")]
    for file in files:
        shutil.copy(file, tmp_path)
    pinned_card = card_of(tmp_path, "mobilenet_v2_1.0_224")
    small = np.load(shared / "data" / "cifar10_subset" / "test.npz")["images"][:24]
    samples = photographs if kind == "photographs" else list(small)
    rows = PretrainedEmbedder(pinned_card, precision=precision).fit_transform(samples)
    want = PretrainedEmbedder(pinned_card).transform(samples)
    cosines = (rows * want).sum(axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(want, axis=1)
    assert cosines.mean() >= mark
