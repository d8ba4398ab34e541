"""
First steps: images in a scikit-learn pipeline
==============================================

785 emoji in eight groups, smileys, animals, food and so on, are classified by a pipeline of two steps: a pretrained
backbone turns each image into a row of numbers, a logistic regression learns from the rows. Nothing is downloaded: the
backbone and the images come with the package.
"""

# %%
# Samples are encoded images here; paths, PIL images and uint8 arrays do as well. The labels are integers, or anything
# else that scikit-learn takes as labels.

from skltransfer.datasets import load_emoji

emoji = load_emoji()
images, y = emoji.images, emoji.target
print(f"{len(images)} images, the first has {len(images[0])} bytes and shows: {emoji.names[0]}")

# %%
# The pipeline
# ------------
# `PretrainedEmbedder` is a transformer like any other. It learns nothing, so it may stand inside the cross-validation
# without a cost: what an image was embedded to is kept by the content of the image, and every further fold finds it.

import re

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder, load_card

embedder = PretrainedEmbedder("vision-mini")
pipe = Pipeline([("embed", embedder), ("scale", StandardScaler()), ("clf", LogisticRegression(C=0.01, max_iter=1000))])
folds = StratifiedKFold(5, shuffle=True, random_state=0)
scores = cross_val_score(pipe, images, y, cv=folds)
print(f"accuracy {scores.mean():.2f} ± {scores.std():.2f}; guessing gives {1 / len(emoji.target_names):.2f}")

# %%
# The rows are ordinary columns of float32 numbers.

rows = embedder.transform(images[:3])
print(rows.shape, rows.dtype, embedder.fit(images).get_feature_names_out()[:2])

# %%
# The search
# ----------
# Any tensor of the backbone can be the embedding, and the choice is a parameter like any other. ``layer=None`` is the
# one the model's card recommends; ``block_1`` to ``block_5`` are feature maps, averaged over their places; a list puts
# several side by side. `GridSearchCV` fits 46 pipelines, and every image is embedded three times: once per choice.

print({name: shape for name, shape in load_card("vision-mini").layers().items() if re.fullmatch(r"block_\d", name)})

choices = {"clf__C": [0.001, 0.01, 0.1], "embed__layer": [None, "block_4", ["block_4", "block_5"]]}
search = GridSearchCV(pipe, choices, cv=folds)
search.fit(images, y)
for parameters, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    print(f"{score:.3f}  {parameters}")

# %%
# The winner
# ----------
# What the search found is fitted on all images and classifies others: here the same emoji as black outlines, a style in
# which it has seen none.

outlines, _ = load_emoji("mono", return_X_y=True)
print(f"accuracy on outlines: {search.score(outlines, y):.2f}")
print("the first is taken for:", emoji.target_names[search.predict(outlines[:1])[0]])
