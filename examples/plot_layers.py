"""
Which layer suits the images
============================

A backbone sees edges and texture first and things last. Its last layer is the best embedding for photographs like those
it was trained on; the less alike the images are, the more an earlier layer may have to offer. Here each layer is scored
on emoji, in color and as black outlines.

The figure at the end needs matplotlib: ``pip install 'skltransfer[plot]'``.
"""

# %%
# The layers
# ----------
# A card lists the layers with their shapes: the feature maps after each block, and the embedding. A feature map becomes
# a row by the mean over its places, so its number of columns is its number of channels.

import re

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.datasets import load_emoji

MODEL = "vision-mini"

card = load_card(MODEL)
layers = [name for name in card.layers() if re.fullmatch(r"block_\d+", name)]
for name in layers:
    print(f"{name:12} {card.layers()[name]}")

# %%
# The scores
# ----------
# Several layers come side by side for the price of one run, so each image is embedded once, and each layer is a slice
# of the columns. They differ in scale, hence the `StandardScaler`.

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

widths = [card.layers()[name][0] for name in layers]
slices = [slice(end - width, end) for width, end in zip(widths, np.cumsum(widths), strict=True)]
classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
folds = StratifiedKFold(5, shuffle=True, random_state=0)

scores = {}
for domain in ("noto", "mono"):
    images, y = load_emoji(domain, return_X_y=True)
    rows = PretrainedEmbedder(MODEL, layer=layers).transform(images)
    scores[domain] = np.array([cross_val_score(classifier, rows[:, columns], y, cv=folds) for columns in slices])
    scores[domain + " all"] = cross_val_score(classifier, rows, y, cv=folds)

# %%
# A layer can be worth more together with others than alone: the last line has all of them.

print(f"{'layer':12} {'columns':>7}  color  outlines")
for i, name in enumerate(layers):
    print(f"{name:12} {widths[i]:7}  {scores['noto'][i].mean():6.3f}  {scores['mono'][i].mean():8.3f}")
print(f"{'all':12} {sum(widths):7}  {scores['noto all'].mean():6.3f}  {scores['mono all'].mean():8.3f}")

# %%
# The figure
# ----------

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for domain, label, color in (("noto", "in color", "#1f5fbf"), ("mono", "outlines", "#c2571a")):
    mean, std = scores[domain].mean(axis=1), scores[domain].std(axis=1)
    axes.fill_between(layers, mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
    axes.plot(layers, mean, "o-", color=color, label=label)
axes.axhline(1 / 8, color="grey", linestyle="--", linewidth=1, label="guessing")
axes.set(title="What each layer knows of emoji", ylabel="accuracy", ylim=(0, 1))
axes.tick_params(axis="x", rotation=45)
axes.legend(frameon=False)
plt.show()
