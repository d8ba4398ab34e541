"""
Your own photographs, some of them damaged
==========================================

A folder with one subfolder of images per class is listed by `load_folder`, which opens nothing. One of the files
cannot be read; the pipeline works all the same, and says which. Here the folder is made of emoji.
"""

# %%
# A folder as it lies about: three classes, a file that the system left, and a download that was cut off.

import tempfile
import warnings
from pathlib import Path

from skltransfer.datasets import load_emoji, load_folder

photos = Path(tempfile.mkdtemp(), "photos")
emoji = load_emoji()
for group, name in enumerate(["activities", "animals", "food"]):
    (photos / name).mkdir(parents=True)
    for i in (emoji.target == group).nonzero()[0][:40]:
        (photos / name / f"{i:03}.webp").write_bytes(emoji.images[i])
(photos / "food" / ".DS_Store").touch()
(photos / "food" / "999.webp").write_bytes(emoji.images[0][:100])
(photos / "notes.txt").write_text("by Ann")

data = load_folder(photos)
print(f"{len(data.paths)} images of {', '.join(data.target_names)}; skipped: {[Path(p).name for p in data.skipped]}")

# %%
# Rows that are missing
# ---------------------
# With ``on_error="nan"`` the embedder returns a row of NaN for what it cannot read. `SkipBadRows` leaves such rows out
# of `fit`, gives them a missing label in `predict`, and scores the others.

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder
from skltransfer.heads import SkipBadRows

pipe = make_pipeline(PretrainedEmbedder(on_error="nan"), SkipBadRows(LogisticRegression(C=0.01, max_iter=1000)))
names = [data.target_names[k] for k in data.target]
folds = StratifiedKFold(4, shuffle=True, random_state=0)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    scores = cross_val_score(pipe, data.paths, names, cv=folds)
    labels = pipe.fit(data.paths, names).predict([data.paths[0], photos / "food" / "999.webp"])
print(f"accuracy {scores.mean():.2f} ± {scores.std():.2f}; labels: {labels.tolist()}")
print(said[-1].message)
