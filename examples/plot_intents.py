"""
Intents, and a map of them
==========================

What does a short text want? A pretrained sentence encoder places texts in a space where like meanings are close, and a
linear classifier, which has seen some examples of each intent, cuts the space up. The same space, flattened to a plane,
is a map on which confused intents are neighbors.

Without arguments the texts are those of the emoji that come with the package and their groups stand for intents. With a
CSV file that has the columns ``text`` and ``label``::

    python plot_intents.py questions.csv [MODEL]

The figure at the end needs matplotlib: ``pip install 'skltransfer[plot,text]'``.
"""

# %%
# The texts
# ---------

import csv
import sys
from pathlib import Path

import numpy as np

from skltransfer.datasets import load_emoji

arguments = dict(zip(("file", "model"), sys.argv[1:], strict=False))
MODEL = arguments.get("model", "text-mini")

if "file" in arguments:
    with Path(arguments["file"]).open(newline="", encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    texts, intents = np.array([row["text"] for row in rows]), np.array([row["label"] for row in rows])
else:
    emoji = load_emoji()
    texts, intents = np.array(emoji.texts), np.array(emoji.target_names)[emoji.target]
print(f"{len(texts)} texts, {len(set(intents))} intents; the first is {intents[0]}: {texts[0]}")

# %%
# The classifier
# --------------
# Every text is predicted by a model that has not seen it. ``normalize`` is a parameter of the embedder like any other:
# on rows of unit length, distances are angles.

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline

from skltransfer import PretrainedEmbedder

embedder = PretrainedEmbedder(MODEL, normalize=True)
pipe = Pipeline([("embed", embedder), ("clf", LogisticRegression(C=10, max_iter=2000))])
folds = StratifiedKFold(5, shuffle=True, random_state=0)
predicted = cross_val_predict(pipe, texts, intents, cv=folds)
print(f"accuracy {accuracy_score(intents, predicted):.3f}")

# %%
# Which intents are taken for which?

names = np.unique(intents)
confused = confusion_matrix(intents, predicted, labels=names)
np.fill_diagonal(confused, 0)
for place in np.argsort(confused, axis=None)[::-1][:5]:
    true, taken = np.unravel_index(place, confused.shape)
    print(f"{confused[true, taken]:4} times '{names[true]}' was taken for '{names[taken]}'")

# %%
# And an unlabeled text:

pipe.fit(texts, intents)
question = ["a warm drink in the morning"]
print(question[0], "->", pipe.predict(question)[0], f"({pipe.predict_proba(question).max():.2f})")

# %%
# The map
# -------
# The embeddings are there already, so the map costs its own computation only. Of many intents the eight commonest are
# shown; t-SNE keeps neighbors together, and nothing is to be read from the distances between far groups.

import matplotlib.pyplot as plt
from sklearn.manifold import TSNE

commonest = sorted(names, key=lambda name: -np.sum(intents == name))[:8]
shown = np.isin(intents, commonest)
places = TSNE(perplexity=20, metric="cosine", random_state=0).fit_transform(embedder.transform(texts[shown]))

figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
for name, color in zip(sorted(commonest), plt.get_cmap("tab10").colors, strict=False):
    mine = intents[shown] == name
    axes.scatter(*places[mine].T, s=14, color=color, label=name)
missed = predicted[shown] != intents[shown]
axes.scatter(*places[missed].T, s=50, facecolors="none", edgecolors="black", linewidths=0.6, label="mistaken")
axes.set(title="A map of texts", xticks=[], yticks=[])
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
plt.show()
