"""`convert`: a model of timm, torchvision or transformers, or any module, gives the rows it gave before, or nothing."""

import importlib.util
import json
import os

import numpy as np
import pytest
from PIL import Image

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import synthetic
from skltransfer.convert import TOLERANCE, convert
from skltransfer.convert._images import IMAGES
from skltransfer.errors import ConversionError
from tests.torch_extras import torchvision_beside_any_torch

NEEDED = ("torch", "onnxscript", "timm", "torchvision", "transformers")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.filterwarnings("ignore"),  # torch and its libraries warn about themselves, more in every version
]
#: Nothing is ever fetched; must be set before huggingface_hub is imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
torchvision_beside_any_torch()

#: Other images than those the conversion itself compares.
PHOTOS = synthetic.images(((320, 241), (77, 200), (500, 499)))


@pytest.fixture(autouse=True)
def seeded():
    import torch

    torch.manual_seed(0)


def assert_agree(rows: np.ndarray, want: np.ndarray) -> None:
    assert np.abs(rows - want).max() <= TOLERANCE * np.abs(want).max()
    assert np.ptp(want, axis=0).max() > 0


def embed(folder) -> np.ndarray:
    return PretrainedEmbedder(str(folder), cache=None).fit_transform(PHOTOS)


def inferred(model, batches):
    """Run a model on each of several batches of one."""
    import torch

    with torch.inference_mode():
        return np.concatenate([model(batch).numpy() for batch in batches])


# ---------------------------------------------------------------------------------------------------------------------
# timm


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet18", 512), ("mobilenetv3_small_100", 1024), ("vit_small_patch16_224", 384), ("convnext_tiny", 768)],
)
def test_model_of_timm_gives_the_same_rows_as_a_card(name, width, tmp_path):
    import timm

    model = timm.create_model(name).eval()
    rows = embed(convert("timm", model, tmp_path / name))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    model.reset_classifier(0)
    assert rows.shape == (len(PHOTOS), width)
    assert_agree(rows, inferred(model, [transform(image)[None] for image in PHOTOS]))


def test_model_of_timm_keeps_its_mode(tmp_path):
    import timm

    model = timm.create_model("test_resnet").train()
    convert("timm", model, tmp_path / "card")
    assert model.training


def test_name_of_timm_is_loaded_with_its_weights_and_terms(tmp_path):
    import timm

    model = timm.create_model("test_resnet").eval()
    timm.models.save_for_hf(
        model, tmp_path / "saved", model_config={"pretrained_cfg": {**model.pretrained_cfg, "mean": (0.1, 0.2, 0.3)}}
    )
    card = load_card(convert("timm", f"local-dir:{tmp_path / 'saved'}", tmp_path / "card"))
    assert (card.input.mean, card.source) == ((0.1, 0.2, 0.3), "timm: test_resnet")
    assert {"image_embedding", "block_1"} <= card.layers().keys()
    assert len(card.golden["rows"]) == 3


@pytest.mark.parametrize(
    ("changes", "geometry"),
    [
        ({"crop_pct": 0.9}, ("shorter", 106)),
        ({"crop_pct": 1.0, "crop_mode": "squash"}, ("squash", 0)),
    ],
)
def test_geometry_of_timm_is_read(changes, geometry, tmp_path):
    import timm

    model = timm.create_model("test_resnet", pretrained_cfg_overlay={"input_size": (3, 96, 96), **changes})
    spec = load_card(convert("timm", model, tmp_path / "card")).input
    assert (spec.resize, spec.resize_to) == geometry


def test_geometry_of_timm_that_no_card_has_is_refused(tmp_path):
    import timm

    model = timm.create_model("test_resnet", pretrained_cfg_overlay={"crop_mode": "border"})
    with pytest.raises(ConversionError, match=r"A card cannot express timm's crop_mode='border' with crop_pct="):
        convert("timm", model, tmp_path / "card")


def test_name_timm_does_not_know_is_refused(tmp_path):
    with pytest.raises(ConversionError, match="timm cannot load 'resnet-eighteen': RuntimeError: Unknown model"):
        convert("timm", "resnet-eighteen", tmp_path / "card")


# ---------------------------------------------------------------------------------------------------------------------
# torchvision


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


# ---------------------------------------------------------------------------------------------------------------------
# transformers

SMALL = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 2}
CROPPED = {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}
#: Model, its configuration, its processor, the processor's configuration.
ENCODERS = {
    "ViT": ({**SMALL, "image_size": 64}, "ViTImageProcessor", {"size": {"height": 64, "width": 64}}),
    "Dinov2": ({**SMALL, "image_size": 64, "patch_size": 16}, "BitImageProcessor", CROPPED),
    "CLIPVision": ({**SMALL, "image_size": 64, "patch_size": 16}, "CLIPImageProcessor", CROPPED),
    "SiglipVision": (
        {**SMALL, "image_size": 64, "patch_size": 16},
        "SiglipImageProcessor",
        {"size": {"height": 64, "width": 64}},
    ),
    "ConvNext": (
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": 64}, "crop_pct": 0.875},
    ),
}


def save(name: str, folder, kind: str = "Model"):
    """Save an encoder of images with random weights, and its processor."""
    import transformers

    config, processor, said = ENCODERS[name]
    model = getattr(transformers, f"{name}{kind}")(getattr(transformers, f"{name}Config")(**config)).eval()
    model.save_pretrained(folder)
    processor = getattr(transformers, processor)(**said)
    processor.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", ENCODERS)
def test_vision_encoder_of_transformers_gives_the_same_rows_as_a_card(name, tmp_path):
    from transformers import AutoImageProcessor

    model = save(name, tmp_path / "source")
    folder = convert("transformers", tmp_path / "source", tmp_path / "card")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "source", backend="pil")
    batches = [processor(image, return_tensors="pt")["pixel_values"] for image in PHOTOS]
    assert_agree(embed(folder), inferred(lambda batch: model(batch).pooler_output.flatten(1), batches))


def test_pooler_that_was_never_trained_is_not_used(tmp_path):
    from transformers import AutoImageProcessor

    model = save("ViT", tmp_path / "source", "ForImageClassification")
    folder = convert("transformers", tmp_path / "source", tmp_path / "card")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "source", backend="pil")
    batches = [processor(image, return_tensors="pt")["pixel_values"] for image in PHOTOS]
    assert_agree(embed(folder), inferred(lambda batch: model.vit(batch).last_hidden_state[:, 0], batches))


def test_processor_that_no_card_has_is_refused(tmp_path):
    save("ViT", tmp_path / "source")
    path = tmp_path / "source" / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_rescale": False}))
    with pytest.raises(ConversionError, match="does not resize or rescale"):
        convert("transformers", tmp_path / "source", tmp_path / "card")


def save_pair(name: str, folder) -> str:
    """Save a pair of encoders with random weights, and what prepares images and texts for it."""
    import transformers
    from transformers import BertTokenizerFast

    from tests.test_convert import LENGTH, VOCABULARY

    _, processor, said = ENCODERS[f"{name}Vision"]
    words = {token: i for i, token in enumerate(VOCABULARY)}
    takes = ["input_ids"] if name == "Siglip" else ["input_ids", "attention_mask"]
    tokenizer = BertTokenizerFast(vocab=words, model_max_length=LENGTH, model_input_names=takes)
    tokens = {"vocab_size": len(VOCABULARY), "max_position_embeddings": LENGTH, "eos_token_id": tokenizer.sep_token_id}
    config = getattr(transformers, f"{name}Config")(
        text_config={**SMALL, **tokens}, vision_config={**SMALL, "image_size": 64, "patch_size": 16}
    )
    model = getattr(transformers, f"{name}Model")(config)
    for parameter in model.parameters():  # as they come they are so small that all texts are nearly the same
        parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    getattr(transformers, processor)(**said).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=["CLIP", "Siglip"])
def pair(request, tmp_path_factory):
    import torch

    torch.manual_seed(0)
    return save_pair(request.param, tmp_path_factory.mktemp(request.param))


def test_vision_part_of_a_pair_gives_what_the_two_share(pair, tmp_path):
    from transformers import AutoImageProcessor

    folder = convert("transformers", pair, tmp_path / "card", part="vision")
    processor = AutoImageProcessor.from_pretrained(pair, backend="pil")
    batches = [processor(image, return_tensors="pt")["pixel_values"] for image in PHOTOS]
    model = transformers_model(pair)
    assert_agree(embed(folder), inferred(lambda batch: model.get_image_features(batch).pooler_output, batches))
    assert list(load_card(folder).layers())[:2] == ["image_embedding", "hidden_0"]


def test_text_part_of_a_pair_gives_what_the_two_share(pair, tmp_path):
    import torch
    from transformers import AutoTokenizer

    from tests.test_convert import LENGTH, TEXTS

    folder = convert("transformers", pair, tmp_path / "card", part="text")
    rows = PretrainedEmbedder(str(folder)).fit_transform(TEXTS)
    model, tokenizer = transformers_model(pair), AutoTokenizer.from_pretrained(pair)
    filled = model.config.model_type == "siglip"
    assert load_card(folder).input.fill == filled
    said = {"padding": "max_length" if filled else True, "max_length": LENGTH, "truncation": True}
    with torch.inference_mode():
        tokens = [tokenizer(text, return_tensors="pt", **said) for text in TEXTS]
        want = np.concatenate([model.get_text_features(**each).pooler_output.numpy() for each in tokens])
    assert_agree(rows, want)


@pytest.mark.parametrize("part", [None, "audio"])
def test_part_of_a_pair_must_be_chosen(part, pair, tmp_path):
    with pytest.raises(ConversionError, match=rf"is a pair of encoders; pass part='vision' .*not {part!r}"):
        convert("transformers", pair, tmp_path / "card", part=part)


def test_part_of_what_is_no_pair_is_refused(tmp_path):
    save("ViT", tmp_path / "source")
    with pytest.raises(ConversionError, match="part='text' is for a pair of encoders; ViTModel is a single one"):
        convert("transformers", tmp_path / "source", tmp_path / "card", part="text")
    with pytest.raises(ConversionError, match="part='text' is for kind='transformers', not for kind='timm'"):
        convert("timm", "resnet18", tmp_path / "card", part="text")


def test_text_encoder_of_transformers_gives_the_mean_of_its_last_state(tmp_path):
    import torch
    from transformers import AutoTokenizer

    from tests.test_convert import LENGTH, TEXTS, make

    source = make(tmp_path).parent / "bert"
    rows = PretrainedEmbedder(str(convert("transformers", source, tmp_path / "card"))).fit_transform(TEXTS)
    model, tokenizer = transformers_model(source), AutoTokenizer.from_pretrained(source)
    with torch.inference_mode():
        tokens = [tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt") for text in TEXTS]
        want = np.stack([model(**each).last_hidden_state[0].mean(dim=0).numpy() for each in tokens])
    assert_agree(rows, want)


def test_text_encoder_without_all_its_weights_is_refused(tmp_path):
    from tests.test_convert import make

    source = make(tmp_path).parent / "bert"
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "num_hidden_layers": config["num_hidden_layers"] + 1}))
    with pytest.raises(ConversionError, match=r"has no weights for encoder\.layer"):
        convert("transformers", source, tmp_path / "card")


def transformers_model(folder):
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval()


# ---------------------------------------------------------------------------------------------------------------------
# Any module


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
