"""
Score a folder, and go on after an interruption
===============================================

A fitted pipeline over a folder of photographs: one file of results for every 100, each of them whole or absent. What
was interrupted is finished by the same call, and an image that cannot be read is a row with a reason.

This example needs pyarrow, pandas, and matplotlib for the figure: ``pip install 'skltransfer[score,compare]'``.
"""

# %%
# A pipeline and a folder
# -----------------------
# Half of the emoji have labels; all of them are to be scored. Two files are damaged.

import tempfile
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder, score
from skltransfer.datasets import load_emoji

emoji = load_emoji()
pipe = make_pipeline(PretrainedEmbedder(), LogisticRegression(C=0.01, max_iter=1000))
pipe.fit(emoji.images[::2], [emoji.target_names[i] for i in emoji.target[::2]])

folder = Path(tempfile.mkdtemp())
photos, sink = folder / "photos", folder / "scores"
photos.mkdir()
for number, image in enumerate(emoji.images):
    (photos / f"{number:04d}.webp").write_bytes(image if number not in (7, 70) else image[:50])

# %%
# The job
# -------
# A part is lost afterwards, as if the machine had been switched off: the second call makes that one, and no other.

options = {"rows_per_part": 100, "embeddings": "float16", "progress": False}
print(score(pipe, photos, sink, **options))
sorted(sink.glob("part-*"))[3].unlink()
print(score(pipe, photos, sink, **options))
print(score(pipe, photos, sink, **options))

# %%
# The results
# -----------
# One row for each file, in order.

import pandas as pd

scores = pd.concat([pd.read_parquet(part) for part in sorted(sink.glob("part-*.parquet"))])
print(scores[["id", "prediction", "error"]].iloc[5:9])
print(pd.read_parquet(sink / "failures.parquet"))

# %%
# The figure
# ----------
# How sure the classifier is, by what it predicts.

import matplotlib.pyplot as plt

sure = scores.filter(like="probability_").max(axis=1)
names = scores["prediction"].value_counts().index[::-1]
figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
axes.boxplot([sure[scores["prediction"] == name].dropna() for name in names], orientation="horizontal", widths=0.6)
axes.set(title="785 emoji in parts of 100", xlabel="probability of the predicted group", xlim=(0, 1))
axes.set_yticks(range(1, len(names) + 1), names)
plt.show()
