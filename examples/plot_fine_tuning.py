"""
Fine-tuning the last blocks
===========================

A backbone has seen photographs; yours may be drawings. `FineTunedEmbedder` trains its last blocks on labels, and
gives an ordinary backbone back. Here are learning curves on emoji: of the backbone as it is, of two views, and tuned.

This example needs PyTorch, and matplotlib for the figure: ``pip install 'skltransfer[torch,plot]'``.
"""

# %%
# Three pipelines
# ---------------
# The same head behind all. The mean of an emoji's rows and those of its mirror image costs twice the embedding and no
# training. To be tuned, the backbone is cut two blocks before its rows; what lies before is run once for each of eight
# views of an emoji, what lies behind is trained.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedEmbedder
from skltransfer.datasets import load_emoji
from skltransfer.finetune import FineTunedEmbedder

emoji = load_emoji()
order = np.random.default_rng(0).permutation(len(emoji.target))
images, groups = [emoji.images[i] for i in order], emoji.target[order]
test = slice(500, None)
backbone = PretrainedEmbedder("vision-mini")
embedders = {
    "as it is": backbone,
    "mean of two views": PretrainedEmbedder("vision-mini", views="flip"),
    "two blocks tuned": FineTunedEmbedder(backbone, blocks=2),
}

# %%
# Learning curves
# ---------------
# Samples that are tested are never trained on. A tuned backbone must be judged like this, by whole pipelines: rows of
# its own training samples are memorized.

sizes = [125, 250, 500]
curves = {}
for name, embedder in embedders.items():
    curves[name] = []
    for size in sizes:
        pipe = make_pipeline(embedder, StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        curves[name].append(pipe.fit(images[:size], groups[:size]).score(images[test], groups[test]))
    print(name, [f"{score:.3f}" for score in curves[name]])

# %%
# What was trained
# ----------------

tuned = pipe[0]
print(f"{tuned.n_trained_:,} numbers behind {tuned.cut_!r}, for {tuned.objective_}")

# %%
# The figure
# ----------

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
for name, scores in curves.items():
    axis.plot(sizes, scores, marker="o", label=name)
axis.set(xscale="log", xlabel="labeled emoji", ylabel="accuracy on others", xticks=sizes, xticklabels=sizes)
axis.minorticks_off()
axis.legend(frameon=False)
plt.show()
