"""
Few labels: sentence embeddings against bag of words
====================================================

A bag of words has to meet a word with a label before it knows what the word is worth. A sentence encoder has read the
words before, so it needs fewer labels. How many fewer is shown here, from 20 labels on.

Without arguments the texts are those of the emoji that come with the package, one line each, and the classes are their
eight groups. With a CSV file that has the columns ``text`` and ``label``, such as film reviews with their sentiment::

    python plot_sentiment.py reviews.csv [MODEL]

The figure at the end needs matplotlib: ``pip install 'skltransfer[plot,text]'``.
"""

# %%
# The texts
# ---------
# Half of the texts, at most 2,000, are kept for the test; labels are spent on the others, up to 2,000 of them.

import csv
import sys
from pathlib import Path

from sklearn.model_selection import train_test_split

from skltransfer.datasets import load_emoji

arguments = dict(zip(("file", "model"), sys.argv[1:], strict=False))
MODEL = arguments.get("model", "text-mini")

if "file" in arguments:
    with Path(arguments["file"]).open(newline="", encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
else:
    emoji = load_emoji()
    texts, labels = emoji.texts, [emoji.target_names[i] for i in emoji.target]

kept = min(2000, len(texts) // 2)
pool, test, pool_labels, test_labels = train_test_split(
    texts, labels, test_size=kept, stratify=labels, shuffle=True, random_state=0
)
print(f"{len(pool)} texts to learn from, {len(test)} to test, {len(set(labels))} classes; the first: {pool[0]!r}")

# %%
# The two pipelines
# -----------------
# Both end in the same classifier. The bag of words is the usual one: words and pairs of words, weighted by how rare
# they are. The embeddings come from the backbone and learn nothing here.

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder

pipelines = {
    "TF-IDF": make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    ),
    MODEL: make_pipeline(PretrainedEmbedder(MODEL), LogisticRegression(C=10, max_iter=2000)),
}

# %%
# Accuracy by number of labels
# ----------------------------
# Each number of labels is drawn five times. Every text is embedded once in all: what is known is kept by its content.

import numpy as np

numbers = [n for n in (20, 50, 100, 200, 500, 1000, 2000) if n <= len(pool)]
scores = {name: np.zeros((len(numbers), 5)) for name in pipelines}
for draw in range(5):
    order = np.random.default_rng(draw).permutation(len(pool))
    for i, number in enumerate(numbers):
        chosen = order[:number]
        some, some_labels = [pool[j] for j in chosen], [pool_labels[j] for j in chosen]
        for name, pipeline in pipelines.items():
            scores[name][i, draw] = pipeline.fit(some, some_labels).score(test, test_labels)

print("labels  " + "  ".join(f"{name:>16}" for name in scores))
for i, number in enumerate(numbers):
    cells = (f"{found[i].mean():9.3f} ± {found[i].std():.3f}" for found in scores.values())
    print(f"{number:6}  " + "  ".join(f"{cell:>16}" for cell in cells))

# %%
# The figure
# ----------

import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, found), color in zip(scores.items(), ("#c2571a", "#1f5fbf"), strict=True):
    mean, std = found.mean(axis=1), found.std(axis=1)
    axes.fill_between(numbers, mean - std, mean + std, color=color, alpha=0.15, linewidth=0)
    axes.plot(numbers, mean, "o-", color=color, label=name)
most = max(labels.count(label) for label in set(labels)) / len(labels)
axes.axhline(most, color="grey", linestyle="--", linewidth=1, label="always the commonest class")
axes.set(title="What a label is worth", xlabel="labels", ylabel="accuracy", xscale="log", xticks=numbers)
axes.set_xticks(numbers, [str(n) for n in numbers])
axes.minorticks_off()
axes.legend(frameon=False)
plt.show()
