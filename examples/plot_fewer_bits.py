"""
What fewer bits cost
====================

The same backbone in 8 bits is faster on a CPU, and its rows are nearly the same. A search shows whether the classifier
notices: precision is a parameter like any other.

The figure at the end needs matplotlib: ``pip install 'skltransfer[plot]'``.
"""

# %%
# Converted, and compared
# -----------------------
# ``precision="int8"`` quantizes at first use, on synthetic samples. Here the emoji calibrate: every second one fixes
# the scales of the activations, and the two models are compared on the others.

from skltransfer import PretrainedEmbedder, quantize
from skltransfer.datasets import load_emoji

images, y = load_emoji(return_X_y=True)
quantized = quantize("vision-mini", "int8", images)
print(f"{quantized.name}, in {quantized.folder}")
for what, figure in quantized.measured.items():
    print(f"  {what}: {figure}")

# %%
# The search
# ----------

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
search = GridSearchCV(
    make_pipeline(PretrainedEmbedder("vision-mini"), classifier),
    {"pretrainedembedder__precision": ["auto", "int8"]},
    cv=StratifiedKFold(5, shuffle=True, random_state=0),
).fit(images, y)
accuracy = search.cv_results_["mean_test_score"]
print(f"accuracy as exported: {accuracy[0]:.3f}, in 8 bits: {accuracy[1]:.3f}")

# %%
# The figure
# ----------
# Cosines of the rows of each emoji: the lower, the more its numbers moved.

import matplotlib.pyplot as plt
import numpy as np

exported, rounded = (PretrainedEmbedder(precision=precision).transform(images) for precision in ("auto", "int8"))
cosines = (exported * rounded).sum(axis=1) / np.linalg.norm(exported, axis=1) / np.linalg.norm(rounded, axis=1)

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.hist(cosines, bins=40, color="#1f5fbf")
axes.set(title="Rows of 785 emoji in 8 bits", xlabel="cosine with the row as exported", ylabel="emoji")
plt.show()
