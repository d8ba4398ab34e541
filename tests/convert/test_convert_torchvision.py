"""`convert`: a model of torchvision gives the rows it gave before, or nothing."""

import pytest

from skltransfer import load_card
from skltransfer.convert import convert
from skltransfer.errors import ConversionError
from tests.convert.support import MARKS, PHOTOS, assert_agree, embed

pytestmark = MARKS


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Put random weights where torchvision keeps those it has fetched."""
    import torch
    import torchvision

    def put(name: str):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
        (tmp_path / "home/hub/checkpoints").mkdir(parents=True)
        found = torchvision.models.get_model_weights(name).DEFAULT
        model = torchvision.models.get_model(name).eval()
        torch.save(model.state_dict(), tmp_path / "home/hub/checkpoints" / found.url.rpartition("/")[2])
        return model, found

    return put


@pytest.mark.parametrize(("name", "last"), [("resnet18", "fc"), ("mobilenet_v3_small", "classifier.3")])
def test_model_of_torchvision_gives_what_went_into_its_classifier(name, last, tmp_path, weights):
    import torch

    model, found = weights(name)
    taken = []
    model.get_submodule(last).register_forward_hook(lambda module, inputs, output: taken.append(inputs[0].numpy()))
    with torch.inference_mode():
        model(torch.stack([found.transforms()(image) for image in PHOTOS]))
    assert_agree(embed(convert("torchvision", name, tmp_path / "card")), taken[0])


def test_name_of_weights_of_torchvision_is_enough(tmp_path, weights):
    weights("resnet18")
    card = load_card(convert("torchvision", "ResNet18_Weights.IMAGENET1K_V1", tmp_path / "card"))
    assert (card.input.resize_to, card.input.rounding) == (256, "torchvision")


def test_classifier_without_a_last_linear_layer_is_refused(tmp_path, weights):
    weights("squeezenet1_1")
    with pytest.raises(ConversionError, match=r"'squeezenet1_1' must end in a linear layer, not in .*AvgPool2d"):
        convert("torchvision", "squeezenet1_1", tmp_path / "card")


def test_module_of_torchvision_is_refused_because_it_does_not_know_its_pixels(tmp_path):
    import torchvision

    with pytest.raises(ConversionError, match="name of a torchvision model or of its weights, not a ResNet"):
        convert("torchvision", torchvision.models.resnet18(), tmp_path / "card")
