"""Folders of sentence-transformers with an ONNX graph of the transformer give the rows of the library, unconverted."""

import importlib.util
import json
import os

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder
from tests.convert.text_models import TEXTS, make
from tests.convert.torch_extras import torchvision_beside_any_torch

NEEDED = ("torch", "onnxscript", "sentence_transformers")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.filterwarnings("ignore"),  # torch and transformers warn about themselves, more in every version
]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
torchvision_beside_any_torch()
PROMPTS = {"query": "find: ", "document": ""}


def export(model, path):
    """Export the transformer alone, as repositories of the Hub have it."""
    import torch

    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = model[0].auto_model

        def forward(self, *inputs):
            return self.encoder(**dict(zip(names, inputs, strict=True))).last_hidden_state

    example = tuple(
        model[0].tokenizer(["two texts", "of several"], return_tensors="pt", padding=True)[n] for n in names
    )
    path.parent.mkdir()
    torch.onnx.export(
        Wrapped().eval(),
        example,
        path,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in (*names, "last_hidden_state")},
        dynamo=False,
        opset_version=17,
    )


@pytest.fixture(scope="module", params=["cls", "mean", "max", "lasttoken"])
def folders(request, tmp_path_factory):
    """Return, by whether rows are normalized, a folder and the model it was saved from."""
    from sentence_transformers import SentenceTransformer

    made = {}
    for normalize in (False, True):
        folder = make(tmp_path_factory.mktemp("folder"), request.param, normalize=normalize)
        config = json.loads((folder / "config_sentence_transformers.json").read_text())
        (folder / "config_sentence_transformers.json").write_text(json.dumps({**config, "prompts": PROMPTS}))
        model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"attn_implementation": "eager"})
        export(model, folder / "onnx" / "model.onnx")
        made[normalize] = folder, model
    return made


@pytest.mark.parametrize("prompt", [None, "query", "document"])
@pytest.mark.parametrize("normalize", [False, True])
def test_rows_are_those_of_the_library(folders, normalize, prompt):
    folder, model = folders[normalize]
    want = model.encode(TEXTS, prompt_name=prompt, show_progress_bar=False)
    rows = PretrainedEmbedder(folder, prompt=prompt, cache=None).transform(TEXTS)
    np.testing.assert_allclose(rows, want, rtol=0, atol=1e-5 * np.abs(want).max())
