"""
A pipeline as one file
======================

Trained here, used elsewhere: `to_onnx` writes backbone and head as one ONNX file, which ONNX Runtime runs in C#, Java,
JavaScript or a Python without scikit-learn. The file is kept only if it predicts what the pipeline predicts.

This example needs skl2onnx, and matplotlib for the figure: ``pip install 'skltransfer[export,plot]'``.
"""

# %%
# A pipeline with two questions
# -----------------------------
# What group is an emoji of, and how many bytes has its picture? One embedding, two heads. ``draft=False``: other
# programs scale pictures as Pillow does, not as a JPEG decoder may.

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.datasets import load_emoji
from skltransfer.heads import MultiTask

emoji = load_emoji()
y = pd.DataFrame(
    {"group": np.array(emoji.target_names)[emoji.target], "kilobytes": [len(i) / 1000 for i in emoji.images]}
)
heads = MultiTask({"group": LogisticRegression(C=0.01, max_iter=1000), "kilobytes": RidgeCV(np.logspace(0, 6, 13))})
pipeline = make_pipeline(PretrainedEmbedder(load_card("vision-mini", draft=False)), StandardScaler(), heads)
train, test = emoji.images[::2], emoji.images[1::2]
pipeline.fit(train, y[::2])

# %%
# Written, opened again, compared
# -------------------------------
# ``samples`` are what the file is compared on: 200 or more that the pipeline was not trained on. The figures come back,
# and go into the file.

import tempfile
from pathlib import Path

from skltransfer.export import read_metadata, to_onnx

path = Path(tempfile.mkdtemp(), "emoji.onnx")
print(to_onnx(pipeline, path, samples=test))
print(read_metadata(path)["inputs"]["images"]["preprocessing"])

# %%
# Without skltransfer and scikit-learn
# ------------------------------------
# What follows is all that another program does. The classes are in the metadata.

import io
import json

import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
facts = session.get_modelmeta().custom_metadata_map
classes = np.array(json.loads(facts["skltransfer.classes"])["group_label"])


def pixels(data, side=96):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return np.asarray(ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR))


few = np.stack([pixels(image) for image in test[:100]])
group, probabilities, kilobytes = session.run(None, {"images": few})
wanted = pipeline.predict(test[:100])
print((classes[group] == wanted["group"]).mean(), np.abs(kilobytes - wanted["kilobytes"]).max())

# %%
# Side by side
# ------------

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(4, 4))
axes.scatter(wanted["kilobytes"], kilobytes, s=8)
axes.set(xlabel="kilobytes, pipeline", ylabel="kilobytes, file", title="The same numbers")
plt.show()
