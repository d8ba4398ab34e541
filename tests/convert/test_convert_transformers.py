"""`convert`: a model of transformers, or a part of one, gives the rows it gave before, or nothing."""

import json

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.convert import convert
from skltransfer.errors import ConversionError
from tests.convert.support import MARKS, PHOTOS, assert_agree, embed, inferred

pytestmark = MARKS

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

    from tests.convert.text_models import LENGTH, VOCABULARY

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

    from tests.convert.text_models import LENGTH, TEXTS

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

    from tests.convert.text_models import LENGTH, TEXTS, make

    source = make(tmp_path).parent / "bert"
    rows = PretrainedEmbedder(str(convert("transformers", source, tmp_path / "card"))).fit_transform(TEXTS)
    model, tokenizer = transformers_model(source), AutoTokenizer.from_pretrained(source)
    with torch.inference_mode():
        tokens = [tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt") for text in TEXTS]
        want = np.stack([model(**each).last_hidden_state[0].mean(dim=0).numpy() for each in tokens])
    assert_agree(rows, want)


def test_text_encoder_without_all_its_weights_is_refused(tmp_path):
    from tests.convert.text_models import make

    source = make(tmp_path).parent / "bert"
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "num_hidden_layers": config["num_hidden_layers"] + 1}))
    with pytest.raises(ConversionError, match=r"has no weights for encoder\.layer"):
        convert("transformers", source, tmp_path / "card")


def transformers_model(folder):
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval()
