"""Backbones to test your own code with: tiny, offline, in memory, with rows that can be worked out by hand.

A pipeline with a `PretrainedEmbedder` in it can be tested without a model: the functions here build ONNX graphs of a
few nodes, for images, numbers and texts, save them with a card, and compute the rows they give in NumPy. No file is
fetched and no child process is started, so a test takes milliseconds. No test runner is imported; any will do.

====================  ===================================================  ================
samples               backbone, saved with                                 rows by hand
====================  ===================================================  ================
`noise_images`        `image_backbone`, `save_backbone`                    `image_rows`
numbers               `array_backbone`, `save_backbone`                    `array_rows`
texts of `WORDS`      `text_backbone`, `save_text_backbone`                `text_rows`
====================  ===================================================  ================

Graphs of other nodes come from `make_graph`.

Examples
--------
>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> import numpy as np
>>> from sklearn.linear_model import LogisticRegression
>>> from sklearn.pipeline import make_pipeline
>>> from skltransfer import PretrainedEmbedder, testing
>>> images, labels = testing.noise_images(20), [0, 1] * 10
>>> with TemporaryDirectory() as folder:
...     model = testing.save_backbone(testing.image_backbone(), Path(folder), layer="embedding")
...     pipeline = make_pipeline(PretrainedEmbedder(model, device="cpu"), LogisticRegression()).fit(images, labels)
...     rows = pipeline[:-1].transform(images)
>>> rows.shape
(20, 4)
>>> np.allclose(rows, testing.image_rows(images))
True
"""

from skltransfer.testing._arrays import array_backbone, array_rows
from skltransfer.testing._graph import make_graph
from skltransfer.testing._images import MIX, SIDE, image_backbone, image_rows, noise_images
from skltransfer.testing._save import pinned_card, save_backbone, save_text_backbone
from skltransfer.testing._texts import BERT_INPUTS, POOLED, text_backbone, text_rows
from skltransfer.testing._words import SPECIAL, TABLE, VOCABULARY, WORDS, word_tokenizer

__all__ = [
    "BERT_INPUTS",
    "MIX",
    "POOLED",
    "SIDE",
    "SPECIAL",
    "TABLE",
    "VOCABULARY",
    "WORDS",
    "array_backbone",
    "array_rows",
    "image_backbone",
    "image_rows",
    "make_graph",
    "noise_images",
    "pinned_card",
    "save_backbone",
    "save_text_backbone",
    "text_backbone",
    "text_rows",
    "word_tokenizer",
]
