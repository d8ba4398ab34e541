"""`to_onnx`: walk through the pipeline, build the graph, write it, open it again, compare, and only then keep it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skltransfer._engine import graph as backbones
from skltransfer._engine.nested import nested
from skltransfer.errors import ExportError, InputWarning, nearest, warn
from skltransfer.export import _metadata, _outputs, _parity, _write
from skltransfer.export._forms import Form, form_of
from skltransfer.export._graph import Graph
from skltransfer.export._images import WARNING
from skltransfer.export._inputs import Input
from skltransfer.export._outputs import Output, Reference
from skltransfer.export._rebuild import on_cpu
from skltransfer.export._walk import Raw, Walk, parts_of

if TYPE_CHECKING:
    import onnx

    from skltransfer._engine.plan import Plan

LEVELS = ("tensors", "bytes")
LABELS = ("index", "string")
#: What `accept` may say.
ACCEPTED = ("trusted-images",)


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it agreed.

    Attributes
    ----------
    path : Path
        The file.
    inputs, outputs : tuple of str
        Names, in the order of the graph.
    parity : dict
        Figures of the comparison, as in the metadata.
    bytes : int
        Size of the file.
    seconds : float
        Time it took, the comparison included.
    files : tuple of Path
        Written beside it, such as tokenizer.json.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parity: dict[str, Any]
    bytes: int
    seconds: float
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        """Return what was written and the figures, a line each."""
        parity = self.parity
        lines = [
            f"{self.path}: {self.bytes / 1e6:.2f} MB, {', '.join(self.inputs)} -> {', '.join(self.outputs)}",
            f"compared on {parity['samples']} samples in batches of {' and '.join(map(str, parity['batches']))}:",
            *(f"  {name}: {_parity.describe(figures)}" for name, figures in parity["outputs"].items()),
        ]
        return "\n".join(lines + [f"beside it: {file.name}" for file in self.files])


def to_onnx(
    pipeline: Any,
    path: str | os.PathLike[str],
    *,
    samples: Any,
    level: str = "tensors",
    labels: str = "index",
    opset: int = 17,
    pure: bool = False,
    accept: str | None = None,
) -> Exported:
    """Write a fitted pipeline, backbone and head, as one ONNX file, if the file agrees with it.

    Parameters
    ----------
    pipeline : estimator
        Fitted: a `PretrainedEmbedder`, a FeatureUnion of some or a ColumnTransformer over columns of images, texts and
        numbers, then transformers of rows and a head, perhaps inside a search.
    path : path
        File to write, ``.onnx``.
    samples : array-like of shape (n_samples, ...)
        At least 200 samples as `predict` takes them, of every class, that were not trained on. The file is compared
        with the pipeline on them, one by one and seven at a time.
    level : {"tensors", "bytes"}, default="tensors"
        ``"tensors"``: the file takes prepared samples, uint8 pixels of the backbone's size or token ids; its metadata
        say how they are prepared, and the tokenizer lies beside it. ``"bytes"`` (experimental): it takes texts, or the
        bytes of image files, and needs onnxruntime-extensions wherever it runs.
    labels : {"index", "string"}, default="index"
        Labels as int64 indices of the classes, which metadata list, or as strings, which TensorRT, WebGPU and others
        do not know.
    opset : int, default=17
        Version of ONNX's operators, or that of the backbone where it is newer. 17 runs in ONNX Runtime 1.16.3.
    pure : bool, default=False
        Refuse operators of ``ai.onnx.ml``, which TensorRT, CoreML and WebGPU lack: for linear models and MLP.
    accept : str or None, default=None
        For ``level="bytes"`` and images: ``"trusted-images"``, once you have read what that means in the guide.

    Returns
    -------
    Exported

    Raises
    ------
    ExportError
        If a part cannot be converted, or the file disagrees; nothing is written then. The message has the figures.
    MissingDependencyError
        If a library is not installed: ``pip install 'skltransfer[export]'``.

    Warns
    -----
    InputWarning
        The backbone was fitted on draft pixels, which other programs do not see; or the file decodes images.

    Notes
    -----
    Outputs are ``label`` and ``probabilities``, or ``scores`` where there are none; ``prediction`` of a regressor;
    ``features`` of a pipeline without a head; of `MultiTask` each with the name of its task, as ``kind_label``.

    Rows agree if labels are equal wherever the margin is more than twice the tolerance; probabilities to 1e-4, scores
    and numbers to 1e-5 of their largest, those of trees and nearest rows to 1e-6 but for one row in 1,000 that lies at
    a threshold, which is named.

    References
    ----------
    .. [1] ONNX, https://onnx.ai

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import PretrainedEmbedder, load_card
    >>> from skltransfer.datasets import load_emoji
    >>> from skltransfer.export import to_onnx
    >>> emoji = load_emoji()
    >>> embedder = PretrainedEmbedder(load_card("vision-mini", draft=False))
    >>> pipeline = make_pipeline(embedder, LogisticRegression(max_iter=1000))
    >>> pipeline = pipeline.fit(emoji.images[::2], emoji.target[::2])
    >>> with TemporaryDirectory() as folder:
    ...     done = to_onnx(pipeline, f"{folder}/emoji.onnx", samples=emoji.images[1::2])
    >>> done.outputs
    ('label', 'probabilities')
    """
    start = time.monotonic()
    path = Path(path)
    _check(path, level=level, labels=labels)
    reference = Reference(on_cpu(pipeline), samples if hasattr(samples, "__len__") else list(samples))
    plans = _plans(reference.pipeline)
    forms = [form_of(plan) for plan in plans] if level == "bytes" else []
    _check_pixels(plans, forms, accept)
    walk = Walk(Graph(_newest(opset, plans, forms), pure=pure), reference.X, raw=level == "bytes")
    outputs = _walked(walk, labels, reference)
    choices = {"level": level, "labels": labels, "opset": walk.graph.opset, "pure": pure}
    choices |= {"warning": WARNING} if any(form.pixels for form in forms) else {}
    model = walk.graph.model(_metadata.before(walk.inputs, outputs, choices))
    parity, files = _kept(path, model, walk.inputs, outputs, reference)
    names = tuple(one.name for one in walk.inputs), tuple(one.name for one in outputs)
    return Exported(path, *names, parity, path.stat().st_size, time.monotonic() - start, files)


def _check(path: Path, *, level: str, labels: str) -> None:
    for name, value, known in (("level", level, LEVELS), ("labels", labels, LABELS)):
        if value not in known:
            raise ExportError(f"{name}={value!r} must be one of {', '.join(known)}.{nearest(str(value), known)}")
    if path.suffix != ".onnx":
        raise ExportError(f"{str(path)!r} does not end in .onnx.")
    if not path.absolute().parent.is_dir():
        raise ExportError(f"There is no folder {str(path.absolute().parent)!r} to write {path.name!r} to.")


def _plans(pipeline: Any) -> list[Plan]:
    """Return the plans of the fitted backbones; those that are not fitted are parameters, as of a search."""
    inner = list(nested(pipeline))
    for part in inner:
        if reason := getattr(part, "not_exported", None):
            raise ExportError(f"{type(part).__name__} cannot be exported: {reason}.")
    fitted = [part for part in inner if hasattr(part, "model_sha256_")]
    found = [parts["backbone"] for part in fitted if "backbone" in (parts := parts_of(part))]
    if not found:
        raise ExportError(f"{type(pipeline).__name__} holds no fitted PretrainedEmbedder; skl2onnx converts it alone.")
    return found


def _check_pixels(plans: list[Plan], forms: list[Form], accept: str | None) -> None:
    """Refuse a file that decodes images, unless that was accepted; warn of pixels that other programs do not see."""
    if accept is not None and accept not in ACCEPTED:
        raise ExportError(f"accept={accept!r} must be None or {ACCEPTED[0]!r}.")
    for plan, form in zip(plans, forms, strict=False):
        form.check(plan, accept)
    if any(form.pixels for form in forms):
        warn(WARNING, InputWarning)
    elif accept is not None:
        raise ExportError(f"accept={accept!r} is for level='bytes' of images; this file decodes none.")
    elif drafts := sorted({plan.card.name for plan in plans if getattr(plan.recipe.input, "draft", False)}):
        warn(
            f"{drafts[0]!r} was fitted on draft pixels, which only skltransfer sees: other programs that scale JPEG "
            "files pass other pixels, and probabilities differ. Refit with "
            f"PretrainedEmbedder(load_card({drafts[0]!r}, draft=False)).",
            InputWarning,
        )


def _newest(opset: int, plans: list[Plan], forms: list[Form]) -> int:
    """Return the version of operators that all parts can have."""
    return max([opset, *(backbones.opset(plan.load()) for plan in plans), *(form.opset for form in forms)])


def _walked(walk: Walk, labels: str, reference: Reference) -> list[Output]:
    """Add the pipeline to the graph; return the outputs."""
    heads = walk.heads(reference.pipeline, Raw())
    if heads:
        return _outputs.add(walk.graph, heads, labels, reference)
    return _outputs.add_features(walk.graph, walk.transform(reference.pipeline, Raw()))


def _kept(
    path: Path, model: onnx.ModelProto, inputs: list[Input], outputs: list[Output], reference: Reference
) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Write the model, compare it, and keep it; return the figures and the files beside it."""
    with _write.draft_of(path, model) as temporary:
        parity = _parity.compare(temporary, inputs, outputs, reference)
        beside = _metadata.tokenizers([one for one in inputs if one.form is None], path)
        pieces = {one.name: one.pieces(reference.X[: _metadata.GOLDEN]) for one in inputs}
        golden = _metadata.golden(_parity.open_session(temporary, inputs), inputs, pieces)
        _write.append_metadata(temporary, _metadata.after(parity, golden, _metadata.digests(beside)))
        _parity.open_session(temporary, inputs)
        written = _write.beside(beside)
        try:
            _write.publish({**written, path: temporary})
        finally:
            _write.discard(written)
    return parity, tuple(written)
