"""`PretrainedEmbedder`: a pretrained backbone as a scikit-learn transformer.

The room owns parameters, tags, names and callbacks, and no machinery: it makes a plan (`catalog`) and one call
(`stream.embed`). It is the only room that uses private names of scikit-learn.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from skltransfer._engine import cache as _cache
from skltransfer._engine import catalog, quantization, runtime, stream
from skltransfer._engine.samples import Samples, unpack
from skltransfer.cards import LONG_TEXTS, POOLS, PRECISIONS, Card
from skltransfer.errors import BadSamplesWarning, InputWarning, ModelError, need

try:  # scikit-learn 1.9, experimental there
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in where scikit-learn has no callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Leave the method as it is."""
        return method


#: A test fold is at most this many times as large as the first training part: a learning curve begins with a tenth.
FOLD = 8
#: Steps a callback sees of one call: a bar needs no more.
STEPS = 100


def _frames_below_the_user() -> int:
    """Count the frames between a warning and the line that called us: scikit-learn wraps methods, and calls them."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("skltransfer", "sklearn"):
        level, frame = level + 1, frame.f_back
    return level


class PretrainedEmbedder(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images, texts or arrays into embeddings of a pretrained backbone.

    Samples go in, one row of float32 numbers per sample comes out; any scikit-learn estimator learns from them. The
    backbone is an ONNX graph, run by ONNX Runtime: on an NVIDIA GPU where there is one, on the CPU where there is none.

    The transformer is stateless: `transform` works without `fit`. `fit` resolves and verifies the model, so that a
    missing file or a wrong layer name is an error at once. Cloning and pickling cost next to nothing, for the open
    backbone belongs to the process and not to the estimator.

    Parameters
    ----------
    model : str, path or Card, default="vision-mini"
        A name from `list_models`, the path of an ``.onnx`` file or of a card folder, an address of the Hugging Face
        Hub such as ``"hf://owner/repo@revision/model.onnx"`` (fetched once, then kept), or a `Card`.
    layer : str, list of str or None, default=None
        Tensor of the graph to take; None is the card's embedding, a list puts several side by side, for the price of
        one run. Earlier layers see texture and edges, later ones things: try some when the images are unlike
        photographs. ``load_card(model).layers()`` lists them. In a search, layers are computed together, see Notes.
    pool : {"auto", "mean", "max", "cls", "last", "gem", "flatten"}, default="auto"
        How a feature map or a token sequence becomes one row: mean or maximum over all places, the first or last token,
        the generalised mean (power 3, between mean and maximum: for finding things that fill a part of the picture), or
        everything (many columns). A layer that is one row already stays as it is. ``"auto"``: as the card says.
    normalize : bool, default=False
        Whether to scale rows to unit L2 norm: for cosine similarity and nearest neighbours.
    precision : {"auto", "fp32", "fp16", "int8"}, default="auto"
        ``"auto"`` computes as the graph was exported; ``"fp32"`` widens a float16 graph, and keeps a GPU from
        multiplying with fewer bits (TF32). ``"fp16"`` and ``"int8"`` run a variant of the model, which is made at first
        use and kept, see `quantization.quantize`: ``"int8"`` is about 1.4 to 2.4 times as fast on a CPU that multiplies
        integers (VNNI, AMX), with rows whose cosine to the original's is 0.99 or more, else it is refused; ``"fp16"``
        is half the file, meant for GPUs, and slower on a CPU.
    max_length : int or None, default=None
        For texts: tokens that are taken of each, special ones included. None is what the card says. Shorter is faster,
        in proportion to the texts that are longer.
    long_text : {"truncate", "windows"}, default="truncate"
        For texts longer than `max_length`: ``"truncate"`` cuts them off, and one warning says how many and how much;
        ``"windows"`` embeds all their parts and takes the mean, at the price of running all of them.
    batch_size : int or "auto", default="auto"
        Samples per run. ``"auto"`` is 2 images of 224 x 224 pixels, more of smaller ones, or texts of 512 tokens in
        all, per worker on the CPU. On a GPU it is 64 such images, or 16,384 tokens; after some batches of images the
        size is doubled for as long as that is worth 5 %, and memory is free. What does not fit is halved, and that
        remembered.
    device : str, default="auto"
        ``"auto"``: a GPU if one works, else the CPU, with a warning if a GPU is present that cannot be used. ``"cpu"``,
        ``"cuda"``, ``"cuda:1"``, ``"tensorrt"``: that one, or a `DeviceError` with the reason; ``"cuda:all"``: every
        GPU, the samples shared out among them.
    n_jobs : int or None, default=None
        Threads that read, decode and, on the CPU, run. None: as many as this process may keep busy (its processors,
        cgroup quota, ``OMP_NUM_THREADS``, or its share as a worker of joblib). -1: all processors.
    cache : "memory", path of a folder, True or None, default="memory"
        Where embeddings are kept, by the content of the sample: every sample is embedded once in a search, whatever the
        number of folds and candidates. ``"memory"`` is bounded and lasts as long as the process; a folder is shared by
        processes and sessions (True: one in the user's cache folder); None does not even fingerprint samples, which is
        fastest for a single pass over samples that differ.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a sample that cannot be read: raise `SampleError`, which names it, or give a row of NaN and warn
        once with the list (`BadSamplesWarning`). Rows are never dropped.
    output : {"numpy", "torch"}, default="numpy"
        What `transform` gives. ``"torch"``, which is experimental, gives a tensor on the device that ran: estimators
        that support scikit-learn's array API go on there. With ``cache=None`` rows never leave a GPU; else they are
        kept in memory or in the folder, as ever, and moved to the device at the end. Needs ``skltransfer[torch]``.
    verbose : int, default=0
        1 shows a progress bar (needs tqdm: ``pip install 'skltransfer[progress]'``), 2 also says how much of what ran
        was padding of texts. In `fit`, scikit-learn's callbacks show more: ``pipeline.set_callbacks(ProgressBar())``.

    Attributes
    ----------
    embedding_dim_ : int
        Number of columns.
    providers_ : tuple of str
        What ONNX Runtime runs the graph on, best first, as tried on this machine.
    model_sha256_ : str
        Fingerprint of the model's files.
    n_features_in_ : int
        Only for backbones that take arrays.

    See Also
    --------
    load_card : What a model is: license, input, layers, figures.
    sklearn.frozen.FrozenEstimator : Wraps an estimator that must not be fitted again; this one is cheap to fit again.

    Notes
    -----
    A sample is an image: its path (``str`` or ``Path``), its encoded ``bytes``, a ``PIL.Image``, or a ``uint8`` array
    (height, width, 3) in RGB or (height, width). X is a list, an array of shape (n,), a 4-D ``uint8`` array, a column
    of pandas or polars, a frame with one column (it is taken as that column), or a generator. Images are turned upright
    as their EXIF data says, what is transparent is put on white, and the first frame of an animation is taken.

    For text backbones (they need ``pip install 'skltransfer[text]'``) a sample is a ``str``; for backbones that take
    numbers X is a numeric array.

    A search over `layer`, `pool` and `normalize` costs little more than one pass: where a layer or a pooling is chosen
    and there is a cache, `fit_transform` runs the whole graph and keeps every layer the card lists (if it lists up to
    24, else those that were asked for), in mean, maximum and, for tokens, first token. What is not shared:
    ``pool="gem"``, ``"last"`` and ``"flatten"``, layers that are not listed, `max_length`, `precision`, another
    `model`; and None, the card's own layer, if it is tried first: name it instead. In a pipeline that is fitted once,
    ``cache=None`` computes only what was asked for, which is faster for an early layer.

    The rows of the same sample agree to 1e-5 across batch sizes and versions on one kind of device; bit equality is not
    promised.

    References
    ----------
    .. [1] Donahue et al., "DeCAF: A Deep Convolutional Activation Feature for Generic Visual Recognition", ICML 2014.
    .. [2] Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2019 (gem).

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import PretrainedEmbedder
    >>> from skltransfer.datasets import load_emoji
    >>> emoji = load_emoji()
    >>> pipeline = make_pipeline(PretrainedEmbedder(), LogisticRegression(max_iter=1000))
    >>> pipeline.fit(emoji.images[::2], emoji.target[::2]).score(emoji.images[1::2], emoji.target[1::2]) > 0.5
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "model": [str, os.PathLike, Card],
        "layer": [str, list, tuple, None],
        "pool": [StrOptions(set(POOLS))],
        "normalize": ["boolean"],
        "precision": [StrOptions(set(PRECISIONS))],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "long_text": [StrOptions(set(LONG_TEXTS))],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "device": [str],
        "n_jobs": [Integral, None],
        "cache": [str, os.PathLike, "boolean", None],
        "on_error": [StrOptions({"raise", "nan"})],
        "output": [StrOptions({"numpy", *runtime.OUTPUTS})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] | Card = "vision-mini",
        *,
        layer: str | list[str] | None = None,
        pool: str = "auto",
        normalize: bool = False,
        precision: str = "auto",
        max_length: int | None = None,
        long_text: str = "truncate",
        batch_size: int | str = "auto",
        device: str = "auto",
        n_jobs: int | None = None,
        cache: str | os.PathLike[str] | bool | None = "memory",
        on_error: str = "raise",
        output: str = "numpy",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.layer = layer
        self.pool = pool
        self.normalize = normalize
        self.precision = precision
        self.max_length = max_length
        self.long_text = long_text
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.cache = cache
        self.on_error = on_error
        self.output = output
        self.verbose = verbose

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> PretrainedEmbedder:
        """Resolve and verify the model; X is looked at, not embedded.

        Parameters
        ----------
        X : iterable of samples
            See the notes of the class. A generator is not consumed.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ModelError, DeviceError
            If the backbone cannot be used.
        """
        with self._reporting(X, y, 0):
            self._settle(X)
        return self

    def transform(self, X: Any) -> Any:
        """Embed samples.

        Parameters
        ----------
        X : iterable of samples
            See the notes of the class.

        Returns
        -------
        ndarray of shape (n_samples, embedding_dim), float32, C-contiguous
            Or a tensor, see `output`.
            In the order of X; with ``set_output``, a frame.

        Raises
        ------
        SampleError
            If a sample cannot be embedded and ``on_error="raise"``.
        """
        self._validate_params()
        samples = self._unpack(X, reset=False)
        with self._bar(samples.n) as progress:
            return self._embed(samples, progress, fitting=False)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit, then embed the same samples; the same as ``fit(X).transform(X)``, with callbacks told of the progress.

        Parameters
        ----------
        X : iterable of samples
            See the notes of the class.
        y : ignored

        Returns
        -------
        ndarray of shape (n_samples, embedding_dim), float32, C-contiguous
            Or a tensor, see `output`.
        """
        samples = self._settle(X)
        with self._bar(samples.n) as bar, self._reporting(X, y, samples.n) as step:
            return self._embed(samples, lambda done: (bar(done), step(done)), fitting=True)

    def __sklearn_is_fitted__(self) -> bool:
        """Say that nothing has to be learned first."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Say what the estimator takes: a column of samples, or numbers, as its backbone does."""
        tags = super().__sklearn_tags__()
        numeric = self._takes_numbers()
        tags.requires_fit = False
        tags.input_tags.one_d_array = tags.input_tags.string = not numeric
        tags.input_tags.two_d_array = numeric
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _takes_numbers(self) -> bool:
        try:
            return catalog.load_card(self.model).modality == "array"
        except (ModelError, TypeError):  # tags are asked of estimators that were never meant to run
            return False

    def _plan(self) -> tuple[stream.Plan, int | None]:
        """Turn the parameters into what is run."""
        device = runtime.resolve(self.device)
        card = quantization.find(catalog.load_card(self.model), self.precision, device)
        return catalog.plan(
            card,
            device,
            layer=self.layer,
            pool=self.pool,
            normalize=self.normalize,
            precision=self.precision,
            **self._changes(card),
        )

    def _changes(self, card: Card) -> dict[str, Any]:
        """Give what is set of the card's input; what is for texts is refused where samples are none."""
        changes: dict[str, Any] = {} if self.max_length is None else {"max_length": self.max_length}
        if card.modality == "text" or self.long_text != "truncate":
            changes["long_text"] = self.long_text
        return changes

    def _settle(self, X: Any) -> Samples:
        """Set the fitted attributes."""
        samples = self._unpack(X, reset=True)
        plan, width = self._plan()
        stream.PREPARERS[type(plan.recipe.input)](plan)  # a tokenizer that cannot be opened is an error here
        self.embedding_dim_ = self._n_features_out = width or self._try_width(plan, samples)
        self.providers_ = runtime.PROVIDERS[plan.device.kind]
        self.model_sha256_ = plan.recipe.graph
        return samples

    def _try_width(self, plan: stream.Plan, samples: Samples) -> int:
        """Count the columns where the graph does not say; where its axes are free they depend on the samples."""
        if not self._takes_numbers():
            return stream.open_backbone(plan).width
        first = next(iter(samples.items))
        return int(stream.open_backbone(plan, first).run(first[np.newaxis]).shape[1])

    def _unpack(self, X: Any, *, reset: bool) -> Samples:
        if catalog.load_card(self.model).modality != "array":  # an unknown model is an error before anything in X is
            return unpack(X)
        X = validate_data(self, X, dtype=np.float32, allow_nd=True, reset=reset)
        return Samples(X, len(X))

    def _embed(self, samples: Samples, progress: Callable[[int], Any], *, fitting: bool) -> Any:
        """Make the one call."""
        plan, width = self._plan()
        cache = _cache.open_cache(self.cache)
        wide = catalog.shared(plan) if cache is not None else None
        if wide is not None and self._may_be_a_search(wide, samples.n, fitting):
            plan, wide = wide, None
        output = runtime.OUTPUTS[self.output]() if self.output in runtime.OUTPUTS else None
        stays = output is not None and cache is None and self.long_text == "truncate"
        embedded = stream.embed(
            samples.items,
            plan,
            count=samples.n,
            width=width,
            workers=runtime.workers(self.n_jobs),
            batch_size=None if isinstance(self.batch_size, str) else int(self.batch_size),
            cache=cache,
            known=wide,
            skip_bad=self.on_error == "nan",
            progress=progress,
            output=output if stays else None,
        )
        if embedded.failures:
            warnings.warn(BadSamplesWarning(embedded.failures), stacklevel=_frames_below_the_user())
        for detail in embedded.details if self.verbose >= 2 else ():
            need("tqdm.auto", extra="progress").tqdm.write(detail)
        for note in embedded.notes:
            warnings.warn(note, InputWarning, stacklevel=_frames_below_the_user())
        return embedded.rows if output is None or stays else output.move(embedded.rows, plan.device)

    def _may_be_a_search(self, wide: stream.Plan, n: int | None, fitting: bool) -> bool:
        """Tell whether other candidates may want other layers or poolings of the same samples.

        The first candidate cannot know of the others; that a layer or a pooling was chosen is the only sign. A call on
        few samples, beside those that the shared graph has run, is taken for a test fold of a search that began.
        """
        run = runtime.open_sessions().get((wide.recipe.key, str(wide.device.each()[0])))
        chosen = self.layer is not None or self.pool != "auto"
        return (fitting and chosen) or (run is not None and n is not None and n <= FOLD * run.rows_run)

    @contextmanager
    def _bar(self, n: int | None) -> Iterator[Callable[[int], None]]:
        """Show a bar if asked to."""
        if not self.verbose:
            yield lambda done: None
            return
        with need("tqdm.auto", extra="progress").tqdm(total=n, desc=type(self).__name__, unit="sample") as bar:
            yield lambda done: bar.update(done - bar.n)

    @contextmanager
    def _reporting(self, X: Any, y: Any, n: int | None) -> Iterator[Callable[[int], None]]:
        """Tell scikit-learn's callbacks of the task and of its steps: hundredths where the length of X is known."""
        if not hasattr(self, "_init_callback_context"):
            yield lambda done: None
            return
        steps = None if n is None else min(n, STEPS)
        context = self._init_callback_context(max_subtasks=steps)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        reached = 0

        def step(done: int) -> None:
            nonlocal reached
            target = done * steps // n if n and steps else reached + 1
            for _ in range(reached, target):
                part = context.subcontext(task_name="samples")
                part.call_on_fit_task_begin(estimator=self)
                part.call_on_fit_task_end(estimator=self)
            reached = target

        yield step
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
