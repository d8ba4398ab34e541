"""
Labels in color, samples in black and white
===========================================

Emoji in color have labels. The same kinds of things as black outlines have none, and a classifier that has only seen
color is lost: to the backbone, an outline of a cat resembles the outline of a house more than a cat in color. Moving
the rows of both domains onto each other wins some of it back, without a label.

The figure at the end needs matplotlib: ``pip install 'skltransfer[plot]'``.
"""

# %%
# Two domains
# -----------
# One half of the emoji in color, with labels; the other half as outlines. None is a missing label, which marks the
# target.

import numpy as np

from skltransfer.datasets import load_emoji

color, outlines = load_emoji("noto"), load_emoji("mono")
order = np.random.default_rng(0).permutation(len(color.images))
one, other = order[: len(order) // 2], order[len(order) // 2 :]
names = np.array(color.target_names)
X = [color.images[i] for i in one] + [outlines.images[i] for i in other]
y = [names[color.target[i]] for i in one] + [None] * len(other)
target, truth = [outlines.images[i] for i in other], names[color.target[other]]

# %%
# Source only, aligned, self-trained
# ----------------------------------
# ``align`` moves the rows, ``rounds`` lets the classifier learn from the outlines that it is surest of. The truth is
# used for the score and nowhere else. This is one draw and one direction; the guide has the mean of four.

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder
from skltransfer.adapt import AdaptedClassifier, DomainScaler, circular_validation

classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
methods = {
    "source only": {"align": None, "rounds": 0},
    "moments": {"rounds": 0},
    "moments and self-training": {},
}
accuracy = {}
for name, method in methods.items():
    pipe = make_pipeline(PretrainedEmbedder(), AdaptedClassifier(classifier, **method)).fit(X, y)
    accuracy[name] = pipe.score(target, truth)
    print(f"{name:26} {accuracy[name]:.2f}, without the truth, there and back: {circular_validation(pipe, X, y):.2f}")

# %%
# Rows before and after
# ---------------------
# The two directions in which all rows vary most. Before, the domains lie apart; after, they share the same places.
# Every image was embedded before, so this costs nothing.

from sklearn.decomposition import PCA

rows = PretrainedEmbedder().fit_transform(X)
domain = np.repeat(["color", "outlines"], [len(one), len(other)])
moved = DomainScaler(reference="color").fit_transform(rows, sample_domain=domain)

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained", width_ratios=[1, 1, 0.8])
scale = StandardScaler().fit(rows[domain == "color"])
for ax, title, shown in zip(axes, ("before", "after"), (rows, moved), strict=False):
    points = PCA(2, random_state=0).fit_transform(scale.transform(shown))
    for name, style in (("color", "#c2571a"), ("outlines", "black")):
        ax.scatter(*points[domain == name].T, s=8, color=style, alpha=0.6, linewidth=0, label=name)
    ax.set(title=f"Rows {title}", xticks=[], yticks=[])
axes[0].legend(frameon=False, markerscale=2)
axes[2].bar(range(3), list(accuracy.values()), color=["#9db8e0", "#5f8fd0", "#1f5fbf"])
axes[2].set(title="Accuracy on outlines", ylim=(0, 0.7))
axes[2].set_xticks(range(3), [name.replace(" and ", "\nand ") for name in accuracy])
axes[2].tick_params(axis="x", labelsize=8)
plt.show()
