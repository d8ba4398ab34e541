"""
Which backbone, and is the score honest
=======================================

Two questions before a search. Which backbone is worth its time on these samples? And are there samples that are almost
the same, so that a classifier is asked for what it has seen?

`compare_backbones` embeds every sample once with each candidate, and returns scores and costs side by side.
`near_duplicate_groups` finds samples whose embeddings point the same way.

The figure at the end needs matplotlib and pandas: ``pip install 'skltransfer[compare]'``.
"""

# %%
# Four candidates
# ---------------
# Any list of models will do: names of `list_models`, paths of ONNX files. The package brings one backbone of images, so
# here the candidates are its layers, alone and together; a dict gives them names.

from sklearn.model_selection import StratifiedKFold

from skltransfer import PretrainedEmbedder, compare_backbones, near_duplicate_groups
from skltransfer.datasets import load_emoji

images, y = load_emoji(return_X_y=True)
candidates = {
    "block 2": PretrainedEmbedder(layer="block_2"),
    "block 4": PretrainedEmbedder(layer="block_4"),
    "vision-mini": "vision-mini",
    "blocks 2 to 5": PretrainedEmbedder(layer=["block_2", "block_3", "block_4", "block_5"]),
}
folds = StratifiedKFold(5, shuffle=True, random_state=0)
frame = compare_backbones(images, y, candidates, cv=folds)
print(frame.round(3).to_string())

# %%
# Three measures of worth need to be read together: ``score`` is a linear classifier's, cross-validated; ``knn`` and
# ``logme`` train nothing. Where they agree, the choice is safe; where they do not, the differences are small. An early
# layer costs less than the whole backbone: only what it needs is run.

# %%
# Samples that are almost the same
# --------------------------------
# Half of the images are put in a second time, a tenth smaller. Cross-validation that does not know of it learns copies
# by heart and finds them again in the test part. Drawings resemble each other more than photographs do, and these have
# variants (the same hand in six colors); a threshold above the default finds the copies and few others.

import io

import numpy as np
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline


def smaller(image):
    picture = Image.open(io.BytesIO(image)).convert("RGBA")
    return picture.resize([side * 9 // 10 for side in picture.size])


doubled = images + [smaller(image) for image in images[::2]]
target = np.concatenate([y, y[::2]])
groups = near_duplicate_groups(doubled, threshold=0.98)
print(f"{len(doubled)} samples, {len(np.unique(groups))} groups, the largest of {np.bincount(groups).max()}")

pipeline = make_pipeline(PretrainedEmbedder(), KNeighborsClassifier(1, metric="cosine"))
together = StratifiedGroupKFold(5, shuffle=True, random_state=0)
scores = {
    "as if all were different": cross_val_score(pipeline, doubled, target, cv=folds),
    "groups kept together": cross_val_score(pipeline, doubled, target, cv=together, groups=groups),
    "without the copies": cross_val_score(pipeline, images, y, cv=folds),
}
for name, values in scores.items():
    print(f"{name:25} {values.mean():.2f}")

# %%
# The figure
# ----------
# The line is the Pareto front: it joins the candidates that no cheaper one beats.

import matplotlib.pyplot as plt

from skltransfer.report import score_against_cost

picture = io.BytesIO()
score_against_cost(frame, picture)
picture.seek(0)
plt.figure(figsize=(7.2, 4.6), layout="tight")
plt.imshow(plt.imread(picture))
plt.axis("off")
plt.show()
