"""
Where in the picture: heat maps from feature maps
=================================================

A classifier that learned from whole pictures can also say where in a larger picture its class is. With ``pool="none"``
the embedder returns the feature map instead of its mean, and a linear classifier of means can be applied to every place
of the map. No box or mask is needed to learn.

The figure at the end needs matplotlib: ``pip install 'skltransfer[plot]'``.
"""

# %%
# Learn from rows
# ---------------
# The row of an emoji is the mean of its feature map over all places. A logistic regression learns to tell faces from
# other emoji.

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.datasets import load_emoji

LAYER = "block_5"

emoji = load_emoji()
faces = emoji.target == emoji.target_names.index("Smileys & Emotion")
classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
pipeline = make_pipeline(PretrainedEmbedder(layer=LAYER, pool="mean"), classifier)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
scores = cross_val_score(pipeline, emoji.images, faces, cv=folds, scoring="roc_auc")
print(f"area under the ROC curve {scores.mean():.2f} ± {scores.std():.2f}")

# %%
# Compose pictures
# ----------------
# Each picture is a board of 4 x 4 emoji that the classifier has not seen, three of which are faces.

import io

from PIL import Image

SIDE, CELLS = 80, 4

random = np.random.default_rng(0)
test = random.permutation(len(emoji.images))[:150]
train = np.setdiff1d(np.arange(len(emoji.images)), test)
pipeline.fit([emoji.images[i] for i in train], faces[train])


def board():
    """Compose a picture, and return it with the cells that hold faces."""
    members = [*random.choice(test[faces[test]], 3), *random.choice(test[~faces[test]], CELLS**2 - 3)]
    members = random.permutation(members)
    picture = np.full((CELLS * SIDE, CELLS * SIDE, 3), 255, np.uint8)
    for place, member in enumerate(members):
        top, left = (SIDE * n + 4 for n in divmod(place, CELLS))
        picture[top : top + 72, left : left + 72] = Image.open(io.BytesIO(emoji.images[member])).convert("RGB")
    return picture, faces[members].reshape(CELLS, CELLS)


pictures, cells = zip(*(board() for _ in range(3)), strict=True)

# %%
# Apply to every place
# --------------------
# The backbone is convolutional, so a card with another ``size`` accepts the larger picture. An emoji of 72 pixels was
# scaled to 96 for the classifier, so the board is scaled by the same factor. The map has a place for every 32 pixels.

size = CELLS * SIDE * 96 // 72 // 32 * 32
card = load_card("vision-mini", size=(size, size), resize="squash")
maps = PretrainedEmbedder(card, layer=LAYER, pool="none").transform(list(pictures))
print(maps.shape)

places = np.moveaxis(maps, 1, -1)
heat = classifier.decision_function(places.reshape(-1, maps.shape[1])).reshape(places.shape[:-1])

# %%
# How good is it? Of two cells, one with a face and one without, how often is the one with the face warmer?

from sklearn.metrics import roc_auc_score

centers = ((np.arange(CELLS) + 0.5) * heat.shape[1] / CELLS).astype(int)
warmth = heat[:, centers][:, :, centers]
print(f"area under the ROC curve over the cells: {roc_auc_score(np.ravel(cells), warmth.ravel()):.2f}")

# %%
# The figure
# ----------

import matplotlib.pyplot as plt

figure, axes = plt.subplots(2, len(pictures), figsize=(7.5, 5), layout="constrained")
low, high = np.percentile(heat, (60, 99))
for (above, below), picture, warm in zip(axes.T, pictures, heat, strict=True):
    above.imshow(picture)
    below.imshow(picture.mean(axis=2), cmap="gray", vmax=255)
    below.imshow(
        warm, cmap="YlOrRd", vmin=low, vmax=high, alpha=0.6, interpolation="bilinear",
        extent=(0, picture.shape[1], picture.shape[0], 0),
    )  # fmt: skip
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
axes[0, 0].set_title("Pictures", loc="left")
axes[1, 0].set_title("Where faces are found", loc="left")
plt.show()
