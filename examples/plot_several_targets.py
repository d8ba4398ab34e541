"""
Several targets, few labels of one
==================================

What group is an emoji of, what subgroup, and is it a person? Three questions, one embedding pass. Somebody has sorted
all emoji into groups, but only a fifth into subgroups: a label may be missing, and each head learns from the rows that
have one.

This example needs pandas, and matplotlib for the figure: ``pip install 'skltransfer[compare]'``.
"""

# %%
# The targets
# -----------
# One column for each, in a frame. What is missing is None: not -1, which would be a class.

import numpy as np
import pandas as pd

from skltransfer.datasets import load_emoji

emoji = load_emoji()
groups, subgroups = np.array(emoji.target_names), np.array(emoji.subgroup_names)
y = pd.DataFrame({"group": groups[emoji.target], "subgroup": subgroups[emoji.subgroup]})
y["person"] = y["group"] == "People & Body"
hidden = np.random.default_rng(0).uniform(size=len(y)) < 0.8
y["subgroup"] = y["subgroup"].where(~hidden, None)
print(y.head(4))
print(y.count())

# %%
# A head for each
# ---------------
# Each head is an estimator of its own, with its own parameters: ``heads__group__C``. The folds have to be stratified by
# three targets at once, of which one is nearly empty.

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder, rows_run
from skltransfer.heads import MultiTask, TaskStratifiedKFold, task_scores

heads = MultiTask({name: LogisticRegression(C=0.01, max_iter=1000) for name in y})
pipe = Pipeline([("embed", PretrainedEmbedder()), ("scale", StandardScaler()), ("heads", heads)])
folds = TaskStratifiedKFold(5, shuffle=True, random_state=0)
search = GridSearchCV(pipe, {"heads__subgroup__C": [0.001, 0.01, 0.1]}, cv=folds).fit(emoji.images, y)
print(search.best_params_, "rows run:", rows_run())
print(search.predict(emoji.images[:3]))

# %%
# Scores by task
# --------------
# ``task_scores`` has a column for each task. For comparison: the subgroup with all its labels.

found = cross_validate(search.best_estimator_, emoji.images, y, cv=folds, scoring=task_scores)
complete = y.assign(subgroup=subgroups[emoji.subgroup])
best = cross_validate(search.best_estimator_, emoji.images, complete, cv=folds, scoring=task_scores)
scores = {name: (found[f"test_{name}"], best[f"test_{name}"]) for name in y}
for name, (some, every) in scores.items():
    print(f"{name:9} {some.mean():.2f} ± {some.std():.2f}; with all labels {every.mean():.2f}")

# %%
# The figure
# ----------
# What is learned stands above the line, which is the share of the commonest class.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
places = np.arange(len(scores))
for i, (label, color) in enumerate([("labels as they are", "#1f5fbf"), ("all labels", "#9db8e0")]):
    means, errors = zip(*((s[i].mean(), s[i].std()) for s in scores.values()), strict=True)
    axes.bar(places + 0.36 * i - 0.18, means, 0.34, yerr=errors, color=color, label=label)
guesses = [complete[name].value_counts(normalize=True).max() for name in scores]
axes.hlines(guesses, places - 0.4, places + 0.4, color="black", lw=1.5, label="always the commonest class")
names = [f"{name}\n{complete[name].nunique()} classes, {y[name].count()} labels" for name in scores]
axes.set(title="Three targets of 785 emoji, embedded once", ylabel="accuracy", ylim=(0, 1), xticks=places)
axes.set_xticks(places, names)
axes.legend(frameon=False, loc="upper left")
plt.show()
