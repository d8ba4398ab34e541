"""Tails of graphs as others write them: torch's two exporters on networks of timm's, and the shared backbones.

A network keeps its kinds of layers and is made small: fewer of them, fewer pixels, random weights. Shared backbones lie
beside the checkout; without them, or without timm, these tests are skipped.
"""

import json

import pytest

# Before what follows, which imports torch: without it these tests are skipped, hence E402.
torch = pytest.importorskip("torch")

from skltransfer._engine import catalog, runtime  # noqa: E402
from skltransfer._engine import plan as plans  # noqa: E402
from skltransfer.finetune import _cuts  # noqa: E402
from tests.convert.torch_extras import torchvision_beside_any_torch  # noqa: E402
from tests.finetune.support import assert_tail_agrees  # noqa: E402

#: Networks of timm's, and what makes them small.
NETWORKS = {
    "resnet18": {"layers": (1, 1, 1, 2), "zero_init_last": False},  # zeros would keep gradients from what lies before
    "mobilenetv3_small_100": {},
    "convnext_tiny": {"depths": (1, 1, 2, 1)},
    "vit_small_patch16_224": {"depth": 3, "img_size": 64},
    "vit_small_patch14_reg4_dinov2": {"depth": 3, "img_size": 56},
}
SHARED = [
    "mobilenet_v1_0.25_128",
    "mobilenet_v1_0.25_224",
    "mobilenet_v1_0.5_160",
    "mobilenet_v1_1.0_224_embedder",
    "mobilenet_v2_1.0_224",
    "squeezenet1_1_224",
    "squeezenet1_1_224_fp16",
    "tiny_darknet_224",
]


def exported(name, exporter, folder):
    """Export a network of timm's by one of torch's exporters."""
    torchvision_beside_any_torch()
    timm = pytest.importorskip("timm")
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, **NETWORKS[name]).eval()
    side = NETWORKS[name].get("img_size", 64)
    many = (
        {"dynamic_shapes": {"x": {0: torch.export.Dim("n")}}}
        if exporter == "dynamo"
        else {"dynamic_axes": {"x": {0: "n"}, "rows": {0: "n"}}}
    )
    torch.onnx.export(
        network,
        (torch.randn(2, 3, side, side),),
        folder / "network.onnx",
        input_names=["x"],
        output_names=["rows"],
        dynamo=exporter == "dynamo",
        verbose=False,
        external_data=False,
        **many,
    )
    return catalog.load_card(str(folder / "network.onnx"), preset="imagenet")


@pytest.mark.filterwarnings("ignore")  # torch's exporters warn about themselves
@pytest.mark.parametrize("exporter", ["script", pytest.param("dynamo", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETWORKS)
def test_tail_of_an_export_computes_its_rows_and_learns(name, exporter, tmp_path):
    plan = plans.make(exported(name, exporter, tmp_path), runtime.Device())
    parts = _cuts.taken_apart(plan)
    assert_tail_agrees(plan, parts, _cuts.chosen(parts, plan, 2, None))


@pytest.mark.parametrize("name", SHARED)
def test_tail_of_a_shared_backbone_computes_its_rows_and_learns(name, shared):
    path = shared / "models" / f"{name}.onnx"
    layer = json.loads(path.with_suffix(".json").read_text())["embedding"]["tensor"]
    pixels = {"range": 255, "mean": (127.5,) * 3, "std": (127.5,) * 3, "resize": "squash", "layer": layer}
    plan = plans.make(catalog.load_card(str(path), **pixels), runtime.Device())
    parts = _cuts.taken_apart(plan)
    assert_tail_agrees(plan, parts, _cuts.chosen(parts, plan, 2, None))
