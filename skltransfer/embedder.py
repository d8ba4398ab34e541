"""`PretrainedEmbedder`: a pretrained backbone as a scikit-learn transformer.

The room owns parameters, tags, names and callbacks, and no machinery: it finds or makes a plan (`planning`) and makes
one call (`stream.embed`). It and `export` are the only rooms that use private names of scikit-learn.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from numbers import Integral
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import validate_data

from skltransfer._engine import cache as _cache
from skltransfer._engine import columns, modalities, planning, progress, runtime, stream
from skltransfer._engine.plan import Plan
from skltransfer._engine.progress import CallbackSupportMixin, with_callbacks
from skltransfer._engine.samples import Samples, refuse_masked, unpack
from skltransfer.cards import LONG_TEXTS, POOLS, PRECISIONS, Card
from skltransfer.errors import BadSamplesWarning, InputWarning, LayerError, need, warn

#: Parameters that skltransfer 0.1 did not have.
ADDED = {"prompt": None, "views": None}


class PretrainedEmbedder(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed images, texts or arrays with a pretrained backbone.

    Samples go in, one row of float32 numbers per sample comes out; any scikit-learn estimator learns from them. The
    backbone is an ONNX graph, run by ONNX Runtime: on an NVIDIA GPU where there is one, on the CPU where there is none.

    `transform` works without `fit`. `fit` resolves and verifies the model, so that a missing file or a wrong layer is
    an error at once; after it, another backbone under the same name is one, too. Clones and pickles are small, for the
    open backbone belongs to the process and not to the estimator.

    Parameters
    ----------
    model : str, path or Card, default="vision-mini"
        A name from `list_models`, the path of an ``.onnx`` file or of a card folder, an address of the Hugging Face
        Hub such as ``"hf://owner/repo@revision/model.onnx"`` (fetched once, then kept), or a `Card`.
    layer : str, list of str or None, default=None
        Tensor of the graph to embed with; None is the card's embedding, a list concatenates several for the price of
        one run. Try earlier layers, which see texture and edges, when the images are unlike photographs.
        ``load_card(model).layers()`` lists them. In a search, layers are computed together, see Notes.
    pool : {"auto", "mean", "max", "cls", "last", "gem", "flatten", "none"}, default="auto"
        How to reduce a feature map or a token sequence to one row: mean or maximum over all places, the first or last
        token, the generalized mean (power 3, for things that fill a part of the picture), or all numbers. A layer that
        is one row already stays as it is. ``"auto"``: as the card says. ``"none"`` keeps maps (n, channels, height,
        width) and sequences (n, tokens, channels), for detection or heat maps; texts are padded with zeros to
        `max_length`, see `token_mask`. Layers in a list must then have the same height and width, and frames
        (``set_output``) are refused.
    normalize : bool, default=False
        Whether to scale rows to unit L2 norm: for cosine similarity and nearest neighbors. With ``pool="none"`` the
        vector of each place or token is scaled.
    precision : {"auto", "fp32", "fp16", "int8"}, default="auto"
        ``"auto"`` computes as the graph was exported. ``"fp32"`` turns a float16 graph into float32, and keeps a GPU
        from multiplying with fewer bits (TF32). ``"fp16"`` and ``"int8"`` run a quantized model, which is created at
        first use, compared with the original and kept, see `quantize`. ``"int8"`` is 1.4 to 2.4 times as fast on a CPU
        that multiplies integers (VNNI, AMX). ``"fp16"`` is half the file, meant for GPUs, and slower on a CPU.
    max_length : int or None, default=None
        Texts only: tokens per text, special ones included. None: as the card says. Shorter is faster.
    long_text : {"truncate", "windows"}, default="truncate"
        Texts only: ``"truncate"`` cuts texts longer than `max_length`, and one warning counts the loss; ``"windows"``
        embeds all their parts and averages, at the price of running all of them.
    prompt : str or None, default=None
        Texts only: name of words of the card that go before every text, such as "query"; see `Card.prompts`.
    views : {"flip"} or None, default=None
        Images only: ``"flip"`` returns the mean of the rows of an image and of its mirror image, at twice the price. A
        few points of accuracy with small backbones; not for letters, or where left and right matter.
    batch_size : int or "auto", default="auto"
        Samples per run. ``"auto"``: 2 images of 224 x 224 pixels, more of smaller ones, or 256 tokens; on a GPU 64 such
        images, doubled while that is 5 % faster, or 16,384 tokens. A batch that does not fit is halved.
    device : str, default="auto"
        ``"auto"``: a GPU if one works, else the CPU, with a warning if a GPU is present that cannot be used. ``"cpu"``,
        ``"cuda"``, ``"cuda:1"``, ``"tensorrt"``: that one, or a `DeviceError`. ``"cuda:all"``: every GPU, a share each.
    n_jobs : int or None, default=None
        Threads that read, decode and, on the CPU, run. None: as many as this process may keep busy (its processors,
        cgroup quota, ``OMP_NUM_THREADS``, or its share as a worker of joblib). -1: all processors.
    cache : "memory", path of a folder, True or None, default="memory"
        Where rows are kept, by the content of the sample: a search embeds every sample once, whatever the number of
        folds and candidates. ``"memory"`` is bounded and lasts as long as the process; a folder is shared by processes
        and sessions (True: one in the user's cache folder); None does not fingerprint samples: fastest for one pass.
    on_error : {"raise", "nan"}, default="raise"
        What to do with a sample that cannot be read: raise `SampleError`, which names it, or return a row of NaN and
        warn once with the list (`BadSamplesWarning`). Rows are never dropped.
    output : {"numpy", "torch"}, default="numpy"
        Type that `transform` returns. ``"torch"`` (experimental) is a tensor on the device that ran, for estimators
        that support scikit-learn's array API. With ``cache=None`` rows never leave a GPU; else they are moved to the
        device at the end. Needs ``skltransfer[torch]``.
    verbose : int, default=0
        1 shows a progress bar (needs ``skltransfer[progress]``), 2 also the share of padding in texts. In `fit`,
        scikit-learn's callbacks work: ``pipeline.set_callbacks(ProgressBar())``.

    Attributes
    ----------
    embedding_dim_ : int
        Number of columns; with ``pool="none"`` the number of channels.
    providers_ : tuple of str
        ONNX Runtime's providers of the graph, best first, as tried on this machine.
    model_sha256_ : str
        Fingerprint of the model's files.
    model_key_ : str
        Identity of the fitted backbone: its files and its input. `transform` refuses another one.
    n_features_in_ : int
        Only for backbones that take arrays.

    See Also
    --------
    load_card : Describe a model: license, input, layers, figures.
    sklearn.frozen.FrozenEstimator : Wraps an estimator that must not be fitted again; this one is cheap to fit again.

    Notes
    -----
    A sample is an image: its path, its encoded ``bytes``, an open file, a ``PIL.Image``, a ``uint8`` array (height,
    width, 3) in RGB, or others that the guide's page on images lists. X is a list, an array of shape (n,), a 4-D
    ``uint8`` array, a column, a frame with one column, or a generator. Images are turned upright as their metadata
    says, and transparent parts are put on white. For text backbones a sample is a ``str``, for others X is numeric.

    A search over `layer`, `pool` and `normalize` costs little more than one pass: where one is chosen and there is a
    cache, `fit_transform` runs the whole graph and keeps every layer the card lists (up to 24, else those in use), in
    mean, maximum and, for tokens, first token. Other poolings, other layers, `max_length`, `precision` and `model` are
    not shared, nor is None, the card's own layer, if tried first: name it. For one fit, use ``cache=None``.

    Rows of a sample agree to 1e-5, not bit by bit, across batch sizes and versions on one kind of device.

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

    #: The HTML of scikit-learn links to the guide that is installed with the package.
    _doc_link_module: ClassVar = "skltransfer"
    _doc_link_template: ClassVar = Path(__file__).with_name("_docs").joinpath("api.md").as_uri()

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "model": [str, os.PathLike, Card],
        "layer": [str, list, tuple, None],
        "pool": [StrOptions(set(POOLS))],
        "normalize": ["boolean"],
        "precision": [StrOptions(set(PRECISIONS))],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "long_text": [StrOptions(set(LONG_TEXTS))],
        "prompt": [str, None],
        "views": [StrOptions({"flip"}), None],
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
        prompt: str | None = None,
        views: str | None = None,
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
        self.prompt = prompt
        self.views = views
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

        Raises
        ------
        ModelError, DeviceError
            If the backbone cannot be used.
        """
        with progress.callbacks(self, X, y, 0):
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
            Or a tensor, see `output`; with ``pool="none"`` of shape (n_samples, channels, height, width) or (n_samples,
            tokens, channels). In the order of X; with ``set_output``, a frame.

        Raises
        ------
        SampleError
            If a sample cannot be embedded and ``on_error="raise"``.
        ModelChangedError
            If it was fitted and the model is another one by now.
        """
        planning.check_fitted(vars(self), planned := self._planned())
        samples = self._unpack(X, planned.plan, reset=False)
        if not self.verbose:
            return self._embed(samples, planned.plan, None, fitting=False)
        with progress.bar(self, samples.n) as report:
            return self._embed(samples, planned.plan, report, fitting=False)

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit, then embed the same samples: ``fit(X).transform(X)`` with callbacks and a shared search.

        Parameters and the result are those of `transform`; y is ignored.
        """
        samples, plan = self._settle(X)
        with progress.bar(self, samples.n) as bar, progress.callbacks(self, X, y, samples.n) as step:
            return self._embed(samples, plan, lambda done: (bar(done), step(done)), fitting=True)

    def token_mask(self, X: Any) -> npt.NDArray[np.bool_]:
        """Mark which tokens of texts are no padding: for the sequences of ``pool="none"``.

        Parameters
        ----------
        X : iterable of str
            Texts, as for `transform`.

        Returns
        -------
        ndarray of shape (n_samples, max_length), bool

        Raises
        ------
        LayerError
            If the backbone takes no texts.
        """
        plan = self._planned().plan
        if (mask := plan.modality.mask) is None:
            raise LayerError(f"{plan.card.name!r} takes {plan.card.modality} samples, which have no tokens.")
        return mask(list(self._unpack(X, plan, reset=False).items), plan.recipe.input, plan.files())

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return names of the columns: the input's name and a number, such as ``photo_0``; without one, the class's."""
        if (names := columns.names(self)) is None or "n_features_in_" in self.__dict__:
            super().get_feature_names_out(input_features)  # checks them; refuses what is not fitted
        return np.asarray(names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: nothing has to be learned first."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Return what the estimator takes: a column of samples, or numbers; no model is looked at for it."""
        tags = super().__sklearn_tags__()
        numeric = self._takes_numbers()
        tags.requires_fit = False
        tags.input_tags.one_d_array = tags.input_tags.string = not numeric
        tags.input_tags.two_d_array = numeric
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle; an estimator of skltransfer 0.1 lacks newer parameters, and knows the hash of its model alone."""
        super().__setstate__({**ADDED, **state})
        if "model_sha256_" in self.__dict__ and "_fitted_with" not in self.__dict__:
            self._fitted_with = (self.model, self.precision)

    def _onnx_parts(self) -> dict[str, Any]:
        """Return what `export` needs to know."""
        planning.check_fitted(vars(self), planned := self._planned())
        return {"backbone": planned.plan}

    def _takes_numbers(self) -> bool:
        """Return whether X is numeric, as far as it is known without a look at the model: by its card, or since fit."""
        kind = self.model.modality if isinstance(self.model, Card) else None
        return "n_features_in_" in self.__dict__ if kind is None else bool(kind) and modalities.of(kind).numeric

    def _planned(self) -> planning.Planned:
        """Find or make the plan of the parameters, which are checked once."""
        key = planning.key_of(self.model, self.layer, _values_of(self))
        if (planned := planning.find(key)) is None:
            self._validate_params()
            planned = planning.make(key, **{name: getattr(self, name) for name in planning.CHOICES})
        return planned

    def _settle(self, X: Any) -> tuple[Samples, Plan]:
        """Set the fitted attributes."""
        planned = self._planned()
        plan = planned.plan
        samples = self._unpack(X, plan, reset=True)
        plan.preparer()  # a tokenizer that cannot be opened is an error here
        shape = plan.shape or stream.row_shape(plan, samples)
        self.embedding_dim_ = self._n_features_out = shape[-1 if len(shape) == 2 else 0]
        self.providers_ = runtime.PROVIDERS[plan.device.kind]
        self.model_sha256_, self.model_key_ = plan.recipe.graph, planned.model_key
        self._fitted_with, self._source = (self.model, self.precision), samples.name
        columns.forget(self)
        return samples, plan

    def _unpack(self, X: Any, plan: Plan, *, reset: bool) -> Samples:
        if (numbers := plan.modality.numbers) is None:
            return unpack(X)
        refuse_masked(X)
        X = validate_data(self, X, dtype=numbers.dtype(plan.recipe.input), allow_nd=True, reset=reset)
        return Samples(numbers.convert(X, plan.recipe.input), len(X))

    def _embed(self, samples: Samples, plan: Plan, report: Callable[[int], Any] | None, *, fitting: bool) -> Any:
        """Run the one call of the stream."""
        self._check_container(plan)
        cache = _cache.open_cache(self.cache)
        if cache is not None:
            chosen = self.layer is not None or self.pool != "auto"
            plan = planning.widened(plan, samples.n, certain=fitting and chosen)
        output = runtime.OUTPUTS[self.output]() if self.output in runtime.OUTPUTS else None
        stays = output is not None and cache is None and not plan.recipe.averaged
        options = stream.Options(
            n_jobs=self.n_jobs,
            batch_size=None if isinstance(self.batch_size, str) else int(self.batch_size),
            skip_bad=self.on_error == "nan",
            output=output if stays else None,
            progress=report,
        )
        embedded = stream.embed(samples, plan, cache=cache, options=options)
        self._warn_of(embedded)
        columns.note(self, embedded.rows, samples.name)
        return embedded.rows if output is None or stays else output.move(embedded.rows, plan.device)

    def _check_container(self, plan: Plan) -> None:
        """Refuse to put maps or sequences into a frame, before they are computed."""
        if len(plan.shape or ()) > 1 and (kind := _get_output_config("transform", self)["dense"]) != "default":
            raise ValueError(
                f"pool='none' returns arrays of shape {('n', *(plan.shape or ()))}, which no {kind} frame can hold. "
                "Use another pool, or set_output(transform='default')."
            )

    def _warn_of(self, embedded: stream.Embedded) -> None:
        if embedded.failures:
            warn(BadSamplesWarning(embedded.failures))
        for detail in embedded.details if self.verbose >= 2 else ():
            need("tqdm.auto", extra="progress").tqdm.write(detail)
        for note in embedded.notes:
            warn(note, InputWarning)


#: Reads every parameter at once.
_values_of = attrgetter(*(name for name in PretrainedEmbedder._parameter_constraints if name not in ("model", "layer")))
