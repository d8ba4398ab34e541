"""`convert`: any module gives the rows it gave before, or nothing."""

import numpy as np
import pytest
from PIL import Image

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.convert import convert
from skltransfer.convert._images import IMAGES
from skltransfer.errors import ConversionError
from tests.convert.support import MARKS, PHOTOS, assert_agree, embed, inferred

pytestmark = MARKS


def small_net():
    import torch

    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2), torch.nn.Hardswish(), torch.nn.Conv2d(8, 16, 3, 2))


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_module_for_images_becomes_a_card(color, tmp_path):
    import torch

    net, mean = small_net(), (0.1, 0.2, 0.3)
    said = {"range": 1.0, "mean": mean, "std": (0.5, 0.6, 0.7), "color": color, "resize": "squash"}
    folder = convert("module", net, tmp_path / "card", example=torch.zeros(1, 3, 32, 48), **said)
    pixels = np.stack([np.asarray(image.resize((48, 32), Image.Resampling.BILINEAR)) for image in PHOTOS]) / 255
    numbers = ((pixels if color == "RGB" else pixels[..., ::-1]) - mean) / (0.5, 0.6, 0.7)
    want = inferred(net, torch.from_numpy(numbers.transpose(0, 3, 1, 2).astype(np.float32))[:, None]).mean(axis=(2, 3))
    assert_agree(embed(folder), want)


def test_module_for_numbers_becomes_a_card(tmp_path):
    import torch

    net, X = torch.nn.Linear(5, 3), np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    rows = PretrainedEmbedder(str(convert("module", net, tmp_path / "card", example=X[:1]))).fit_transform(X)
    assert_agree(rows, inferred(net, torch.from_numpy(X)[:, None]))


def test_module_keeps_its_mode_and_is_exported_for_inference(tmp_path):
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Dropout(0.5)).train()
    convert("module", net, tmp_path / "card", example=np.ones((2, 5)))
    assert net.training


def test_further_outputs_of_a_module_are_layers(tmp_path):
    import torch

    class Two(torch.nn.Module):
        def forward(self, numbers):
            return numbers.square(), numbers[:, :2] + 1

    folder = convert("module", Two(), tmp_path / "card", example=np.ones((1, 5)))
    assert load_card(folder).layers() == {"output_0": (5,), "output_1": (2,)}


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (small_net, {}, "example must be an input of the module"),
        (small_net, {"example": np.ones((1, 5))}, "Sequential does not run on the example: RuntimeError"),
        (
            small_net,
            {"example": np.ones((1, 3, 9, 9)), "pool": "max"},
            "pool cannot be set here; pass layer and pool to PretrainedEmbedder",
        ),
        (dict, {"example": np.ones((1, 5))}, "converts a torch.nn.Module, not a dict"),
    ],
)
def test_module_that_cannot_be_converted_is_refused(source, options, message, tmp_path):
    with pytest.raises(ConversionError, match=message):
        convert("module", source(), tmp_path / "card", **options)
    assert list(tmp_path.iterdir()) == []


def test_module_that_depends_on_its_batch_is_refused(tmp_path):
    import torch

    class Centred(torch.nn.Module):
        def forward(self, numbers):
            return numbers - numbers.mean(dim=0)

    with pytest.raises(ConversionError, match=r"sample .* differs from the source's by .*nothing was written"):
        convert("module", Centred(), tmp_path / "card", example=np.ones((3, 5)))


@pytest.mark.parametrize("options", [{"example": 1}, {"preset": "imagenet"}])
def test_options_of_modules_are_refused_elsewhere(options, tmp_path):
    with pytest.raises(ConversionError, match=f"{next(iter(options))} is for kind='module'; a model of timm has"):
        convert("timm", "resnet18", tmp_path / "card", **options)


def test_comparison_uses_images_of_several_shapes():
    assert {np.sign(width - height) for width, height in IMAGES} == {-1, 0, 1}
