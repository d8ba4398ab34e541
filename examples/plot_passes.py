"""
What a search costs in passes of the backbone
=============================================

Cross-validation transforms the same samples again and again: once per candidate and fold. A backbone is the slow part
of a pipeline, so the number of rows that go through it is what a search costs. Here they are counted: without a
cache, with scikit-learn's ``Pipeline(memory=)``, and with the cache of `PretrainedEmbedder`, which is on by default and
keeps one row per sample and backbone.

The figure at the end needs matplotlib: ``pip install 'skltransfer[plot]'``.
"""

# %%
# Three pipelines
# ---------------

import tempfile

import joblib
import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline

from skltransfer import PretrainedEmbedder, reset, rows_run
from skltransfer.datasets import load_emoji

images, y = load_emoji(return_X_y=True)
some = np.concatenate([np.flatnonzero(y == label)[:10] for label in np.unique(y)])
images, y = [images[i] for i in some], y[some]


def pipeline(cache, memory=None):
    return Pipeline([("embed", PretrainedEmbedder(cache=cache)), ("clf", RidgeClassifier())], memory=memory)


folder = tempfile.TemporaryDirectory()
store = joblib.Memory(folder.name, verbose=0)
pipelines = {
    "no cache": pipeline(None),
    "Pipeline(memory=)": pipeline(None, store),
    "skltransfer": pipeline("memory"),
}

# %%
# Four ways to select a model
# ---------------------------

strengths = {"clf__alpha": [10, 100, 1000, 10000]}
layers = {"embed__layer": ["block_2", "block_3", "block_4", "block_5"], "embed__pool": ["mean", "max"]}
searches = {
    "cross_validate, 5 folds": lambda pipe: cross_validate(pipe, images, y, cv=5),
    "search of 4 x 5 folds": lambda pipe: GridSearchCV(pipe, strengths, cv=5).fit(images, y),
    "over 4 layers x 2 poolings": lambda pipe: GridSearchCV(pipe, layers, cv=5).fit(images, y),
    "nested, 5 x (4 x 5)": lambda pipe: cross_validate(GridSearchCV(pipe, strengths, cv=5), images, y, cv=5),
}

# %%
# Rows that went through the backbone
# -----------------------------------
# A pass is as many rows as there are images. `rows_run` counts the rows that the open backbones of this process have
# run. `reset` closes them and forgets the rows in memory, so every search begins cold.


def passes(search, pipe):
    reset()
    store.clear(warn=False)
    search(pipe)
    return rows_run() / len(images)


counted = {name: [passes(search, pipe) for search in searches.values()] for name, pipe in pipelines.items()}
folder.cleanup()
print(f"{'':28}" + "".join(f"{name:>20}" for name in pipelines))
for i, search in enumerate(searches):
    print(f"{search:28}" + "".join(f"{counted[name][i]:20.1f}" for name in pipelines))

# %%
# The figure
# ----------

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
places = np.arange(len(searches))
for i, (name, color) in enumerate(zip(pipelines, ("#c2571a", "#8d8d96", "#1f5fbf"), strict=True)):
    bars = axes.barh(places + 0.27 * (i - 1), counted[name], 0.25, label=name, color=color)
    axes.bar_label(bars, fmt="{:.0f}", padding=3)
axes.set_yticks(places, searches)
axes.invert_yaxis()
axes.set(title="Passes of the backbone", xscale="log", xlim=(0.8, 200))
axes.legend(frameon=False)
plt.show()
