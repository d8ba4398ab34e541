"""
Text and numbers in one frame
=============================

A table has a column of prose beside its numbers and categories. Each kind of column gets a transformer of its own; for
the prose that is a pretrained sentence encoder. What comes out is one frame of numbers for any model.

It needs ``pip install 'skltransfer[plot,text]' pandas``; one part also skrub, and is left out where that is missing.
"""

# %%
# The frame
# ---------
# Synthetic, around the texts of the bundled emoji: a text, two numbers, a category, and a price to be predicted. The
# price depends on the numbers, on the category, and on the topic of the text, which no column holds.

import numpy as np
import pandas as pd

from skltransfer.datasets import load_emoji

MODEL = "text-mini"

emoji = load_emoji()
random = np.random.default_rng(0)
n = len(emoji.texts)
frame = pd.DataFrame(
    {
        "review": emoji.texts,
        "weight": random.gamma(2, 1, n),
        "age": random.integers(0, 30, n),
        "shop": random.choice(["corner", "market", "web"], n),
    }
)
worth = np.linspace(0, 10, len(emoji.target_names))[emoji.target]
price = worth + frame["weight"] - 0.1 * frame["age"] + (frame["shop"] == "web") + random.normal(0, 1, n)
print(frame.head(3))

# %%
# A ColumnTransformer
# -------------------
# The text column is named by a string, or by a list with that one string. With ``set_output`` the result is a frame
# whose columns say where they come from.

from sklearn.compose import ColumnTransformer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skltransfer import PretrainedEmbedder

numbers = ("numbers", StandardScaler(), ["weight", "age"])
shop = ("shop", OneHotEncoder(sparse_output=False), ["shop"])
columns = ColumnTransformer([("text", PretrainedEmbedder(MODEL), "review"), numbers, shop])
print(columns.set_output(transform="pandas").fit_transform(frame).iloc[:3, [0, 1, -5, -4, -3, -2, -1]].round(3))

# %%
# What the text is worth
# ----------------------
# The same model with and without the column of prose. Every text is embedded once, whatever the number of folds.

ridge, folds = RidgeCV(np.logspace(-2, 3, 11)), KFold(5, shuffle=True, random_state=0)
scores = {}
for name, steps in {"without the text": [numbers, shop], "with the text": columns.transformers}.items():
    pipe = make_pipeline(ColumnTransformer(steps), ridge)
    scores[name] = cross_val_score(pipe, frame, price, cv=folds)
    print(f"{name:17} R² {scores[name].mean():.2f} ± {scores[name].std():.2f}")

# %%
# skrub's TableVectorizer
# -----------------------
# skrub looks at a frame and chooses a transformer per column. `PretrainedEmbedder` fits into the slot for text: columns
# of strings with at least ``cardinality_threshold`` values. Three things to know: two text columns give columns of the
# same name, to which skrub adds a suffix; a category with many values lands in this slot as well, unless the threshold
# is raised or ``specific_transformers`` names its columns; and a missing text is an error, unless ``on_error="nan"``
# makes it a row of NaN.

import importlib.util

if importlib.util.find_spec("skrub"):
    from skrub import TableVectorizer

    vectorizer = TableVectorizer(high_cardinality=PretrainedEmbedder(MODEL))
    scores["skrub"] = cross_val_score(make_pipeline(vectorizer, StandardScaler(), ridge), frame, price, cv=folds)
    print(f"{'skrub':17} R² {scores['skrub'].mean():.2f} ± {scores['skrub'].std():.2f}")
    print(vectorizer.fit(frame).column_to_kind_)

# %%
# The figure
# ----------

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
axes.barh(list(scores), [s.mean() for s in scores.values()], xerr=[s.std() for s in scores.values()], color="#1f5fbf")
axes.set(title="What a column of prose adds", xlabel="R²", xlim=(0, 1))
axes.invert_yaxis()
plt.show()
