"""
A classifier of images as a web service
=======================================

A fitted pipeline answers HTTP requests: an image goes in, a class and its probability come out. It needs fastapi,
uvicorn and python-multipart::

    python examples/serve_fastapi.py            # listens on http://127.0.0.1:8000
    curl -F file=@photo.jpg http://127.0.0.1:8000/predict

Many clients at once are served best by one thread for each request and no cache: ``n_jobs=1, cache=None``. The backbone
is opened when the process starts, and an upload that is no image is the client's fault: status 422, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import joblib
from fastapi import FastAPI, HTTPException, UploadFile
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder
from skltransfer.datasets import load_emoji
from skltransfer.errors import SampleError
from skltransfer.serving import warm_up


def load_pipeline() -> Any:
    """Return the pipeline of the file ``PIPELINE``, or one that is fitted on the bundled emoji."""
    if path := os.environ.get("PIPELINE"):
        return joblib.load(path)
    emoji = load_emoji()
    pipeline = make_pipeline(PretrainedEmbedder(), LogisticRegression(max_iter=1000))
    return pipeline.fit(emoji.images, [emoji.target_names[label] for label in emoji.target])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the pipeline and open its backbone, in every worker process."""
    app.state.pipeline = load_pipeline()
    app.state.pipeline[0].set_params(n_jobs=1, cache=None)
    warm_up(app.state.pipeline)
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
def predict(file: UploadFile) -> dict[str, Any]:  # no coroutine: the framework runs it in a thread of its own
    """Classify an uploaded image."""
    try:
        (probabilities,) = app.state.pipeline.predict_proba([file.file.read()])
    except SampleError as err:
        raise HTTPException(422, str(err)) from err
    best = int(probabilities.argmax())
    return {"class": str(app.state.pipeline.classes_[best]), "probability": float(probabilities[best])}


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=8000)
