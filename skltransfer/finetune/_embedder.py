"""`FineTunedEmbedder`: trains the last blocks of a backbone, and embeds with what comes out."""

from __future__ import annotations

import dataclasses
import os
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from skltransfer._engine import cache as _cache
from skltransfer._engine import progress, stream
from skltransfer._engine.plan import Plan
from skltransfer._engine.progress import CallbackSupportMixin, with_callbacks
from skltransfer.embedder import PretrainedEmbedder
from skltransfer.errors import ModelChangedError, need
from skltransfer.finetune import _cuts, _objectives, _store, _train, _trunk

#: Samples up to which there are `VIEWS` of each; beyond, two.
MANY, VIEWS = 2_500, 8
#: Samples that a training sees about, and the fewest and most epochs. Texts have no views: they are soon memorized.
SEEN, SEEN_TEXTS, EPOCHS = 30_000, 3_000, (3, 12)
#: Peak of the learning rate where the card says none: it never did worse than the backbone in the room's study.
LEARNING_RATE = 1e-4


class FineTunedEmbedder(CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Train the last blocks of a pretrained backbone on labeled samples; embed with the result.

    A transformer like `PretrainedEmbedder`: any scikit-learn estimator follows. What lies before the blocks, the trunk,
    is run once for each view of a sample; what lies behind is trained by PyTorch, and put back into the ONNX graph,
    which ONNX Runtime runs. Needs ``pip install 'skltransfer[torch]'`` to fit, and nothing more to transform.

    Parameters
    ----------
    embedder : PretrainedEmbedder, default=None
        The backbone, and how samples are embedded; None: ``PretrainedEmbedder()``.
    blocks : int, default=2
        How many blocks are trained, counted from the rows.
    cut : str or None, default=None
        Tensor behind which all is trained, in place of `blocks`.
    objective : {"auto", "classes", "numbers", "labels", "contrast"}, default="auto"
        What rows are trained for. ``"auto"``: as y is; classes of up to 1,500 texts are contrasted: those of one class
        come together, which needs no head. A frame of several targets, with labels missing (None, NaN), trains for all
        of them at once.
    views : int or "auto", default="auto"
        Views of an image: itself, its mirror image, and random parts. ``"auto"``: 8, of more than 2,500 samples 2.
        Other samples have one.
    mixup : float, default=0.5
        Parameter of the Beta distribution from which the shares are drawn in which activations of two samples, and
        their losses, are mixed [1]_; 0: they are not. Sequences and contrasts are never mixed.
    epochs : int or "auto", default="auto"
        Passes over the samples: ``"auto"``: 30,000 / n_samples, of texts 3,000 / n_samples, between 3 and 12. There is
        no early stopping.
    learning_rate : float or None, default=None
        Its peak; None: as the card says, else 0.0001.
    weight_decay : float, default=0.01
        Of matrices and kernels.
    average : float or None, default=None
        Share of the weights as they were: 0.5 keeps a strong backbone from harm by few labels.
    adapter : {"lora"} or None, default=None
        ``"lora"`` trains factors of rank 8 of each matrix's change [2]_, which are a small part of its size.
    batch_size : int, default=32
        Samples of a step.
    class_weight : dict, "balanced" or None, default=None
        Weights of classes in the loss, as in scikit-learn.
    device : str, default="cpu"
        Where PyTorch trains: ``"cuda"`` for a GPU.
    n_jobs : int or None, default=None
        Threads of PyTorch; None: 1. The last digits of the weights depend on it.
    random_state : int, RandomState or None, default=0
        Order, shares and views of a batch.
    verbose : int, default=0
        1 shows a progress bar of epochs (needs ``skltransfer[progress]``).

    Attributes
    ----------
    cut_ : str
        The tensor behind which weights were trained.
    tuned_ : dict of str to ndarray, float32
        Trained weights by the names of initializers of the graph; of ``adapter="lora"`` the two factors of each.
    n_trained_ : int
        How many numbers they are.
    parent_sha256_ : str
        Fingerprint of the backbone's files.
    objective_ : str
        What was trained for.
    embedding_dim_ : int
        Number of columns.
    model_sha256_ : str
        Fingerprint of the tuned backbone's files.

    See Also
    --------
    PretrainedEmbedder : The backbone as it is; compare the two by `cross_val_score` before you choose.

    Notes
    -----
    A training is kept in the store of models under a key of everything that decides it: a search over the head's
    parameters trains once for each fold. Rows of samples that were trained on are too good to measure anything by:
    score the whole pipeline in cross-validation.

    References
    ----------
    .. [1] Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden States", ICML 2019.
    .. [2] Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer.finetune import FineTunedEmbedder
    >>> pipeline = make_pipeline(FineTunedEmbedder(blocks=2), LogisticRegression(max_iter=1000))
    >>> pipeline.fit(photographs, labels).predict(others)  # doctest: +SKIP
    """

    _doc_link_module: ClassVar = "skltransfer"
    _doc_link_template: ClassVar = Path(__file__).parents[1].joinpath("_docs", "api.md").as_uri()

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "embedder": [PretrainedEmbedder, None],
        "blocks": [Interval(Integral, 1, None, closed="left")],
        "cut": [str, None],
        "objective": [StrOptions({"auto", *_objectives.OBJECTIVES})],
        "views": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "mixup": [Interval(Real, 0, None, closed="left")],
        "epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "average": [Interval(Real, 0, 1, closed="left"), None],
        "adapter": [StrOptions({"lora"}), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "device": [str],
        "n_jobs": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        embedder: PretrainedEmbedder | None = None,
        *,
        blocks: int = 2,
        cut: str | None = None,
        objective: str = "auto",
        views: int | str = "auto",
        mixup: float = 0.5,
        epochs: int | str = "auto",
        learning_rate: float | None = None,
        weight_decay: float = 0.01,
        average: float | None = None,
        adapter: str | None = None,
        batch_size: int = 32,
        class_weight: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: Any = 0,
        verbose: int = 0,
    ) -> None:
        self.embedder = embedder
        self.blocks = blocks
        self.cut = cut
        self.objective = objective
        self.views = views
        self.mixup = mixup
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.average = average
        self.adapter = adapter
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> FineTunedEmbedder:
        """Train the last blocks.

        Parameters
        ----------
        X : iterable of samples
            As `PretrainedEmbedder` takes them.
        y : array-like of shape (n_samples,) or (n_samples, n_labels), or frame of targets
            Classes, numbers, indicators, or a column for each of several targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights in the loss.

        Raises
        ------
        TuningError
            If the backbone has no such blocks, or y is none of these.
        SampleError
            If a sample cannot be read.
        MissingDependencyError
            If PyTorch is not installed.
        """
        need("torch", extra="torch")
        embedder = self._backbone()
        plan = embedder._planned().plan
        samples = list(embedder._unpack(X, plan, reset=True).items)
        settings = self._settings(plan, len(samples))
        weights = np.asarray(_check_sample_weight(sample_weight, np.zeros((len(samples), 1))), np.float64)
        goal = _objectives.goal(
            y, self.objective, weights, self.class_weight, texts=plan.recipe.input.longest is not None
        )
        parts = _cuts.taken_apart(plan)
        tail = _cuts.chosen(parts, plan, int(self.blocks), self.cut)
        held = self._activations(samples, plan, tail.cut, embedder)
        choices = [plan.recipe.key, tail.cut, dataclasses.asdict(settings), [one.name for one in goal.objectives]]
        key = _store.key_of(choices, *_arrays(held, goal))
        if (tuned := _store.kept(key)) is None:
            with progress.bar(self, settings.epochs) as bar, progress.callbacks(self, X, y, settings.epochs) as step:
                tuned = _train.trained(parts, tail, held, goal, settings, lambda done: (bar(done), step(done)))
        self.tuned_, self.cut_, self._key = tuned, tail.cut, key
        self.n_trained_ = sum(weight.size for weight in tuned.values())
        self.parent_sha256_ = plan.recipe.graph
        self.objective_ = "+".join(one.name for one in goal.objectives)
        self._facts = {"cut": repr(tail.cut), "samples": len(samples), "objective": self.objective_}
        fitted = self._fitted().fit(samples[:1])
        self.embedding_dim_ = self._n_features_out = fitted.embedding_dim_
        self.model_sha256_ = fitted.model_sha256_
        if "n_features_in_" in vars(embedder):
            self.n_features_in_ = embedder.n_features_in_
        return self

    def transform(self, X: Any) -> Any:
        """Embed samples with the tuned backbone.

        Parameters
        ----------
        X : iterable of samples
            As `PretrainedEmbedder` takes them.

        Returns
        -------
        ndarray of shape (n_samples, embedding_dim), float32

        Raises
        ------
        ModelChangedError
            If the tuned backbone has to be made again and its parent is not the one that was fitted.
        """
        check_is_fitted(self, "tuned_")
        return self._fitted().transform(X)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the tuned backbone as a card folder, for ``PretrainedEmbedder(folder)``.

        Its card names the parent and what it was tuned on, in numbers; it inherits the license. No sample is in it.

        Parameters
        ----------
        folder : path
            It must not exist.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        TuningError
            If it exists, or cannot be made.
        """
        check_is_fitted(self, "tuned_")
        plan = self._parent()
        _store.save(Path(folder), plan, self.tuned_, self.cut_, self._facts)
        return Path(folder)

    def _onnx_parts(self) -> dict[str, Any]:
        """Return what `export` needs to know."""
        check_is_fitted(self, "tuned_")
        return {"backbone": self._fitted()._planned().plan}

    def __sklearn_tags__(self) -> Any:
        """Return what the estimator takes: what its backbone does, and y."""
        tags = super().__sklearn_tags__()
        tags.input_tags = (self.embedder or PretrainedEmbedder()).__sklearn_tags__().input_tags
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _backbone(self) -> PretrainedEmbedder:
        """Return the backbone as it is trained: in float32, whatever it runs in afterwards."""
        embedder = self._given()
        embedder.precision = "fp32" if embedder.precision == "fp32" else "auto"
        return embedder

    def _given(self) -> PretrainedEmbedder:
        embedder: PretrainedEmbedder = PretrainedEmbedder() if self.embedder is None else clone(self.embedder)
        return embedder

    def _settings(self, plan: Plan, n: int) -> _train.Settings:
        """Return the choices of a training on so many samples."""
        texts = plan.recipe.input.longest is not None
        rate = self.learning_rate or plan.card.learning_rate or LEARNING_RATE
        seen = round((SEEN_TEXTS if texts else SEEN) / n)
        epochs = int(np.clip(seen, *EPOCHS)) if isinstance(self.epochs, str) else int(self.epochs)
        return _train.Settings(
            epochs=epochs,
            batch_size=int(self.batch_size),
            learning_rate=float(rate),
            weight_decay=float(self.weight_decay),
            mixup=float(self.mixup),
            average=float(self.average or 0.0),
            adapter=self.adapter,
            threads=int(self.n_jobs or 1),
            device=self.device,
            seed=int(check_random_state(self.random_state).randint(2**31)),
            head_rate=10.0 if texts else 1.0,
        )

    def _activations(
        self, samples: list[Any], plan: Plan, cut: str, embedder: PretrainedEmbedder
    ) -> _trunk.Activations:
        views = (VIEWS if len(samples) <= MANY else 2) if isinstance(self.views, str) else int(self.views)
        size = None if isinstance(embedder.batch_size, str) else int(embedder.batch_size)
        options = stream.Options(n_jobs=embedder.n_jobs, batch_size=size)
        return _trunk.activations(samples, plan, cut, views, _cache.open_cache(embedder.cache), options)

    def _fitted(self) -> PretrainedEmbedder:
        """Return an embedder with the tuned backbone, which is made again where it is not in the store."""
        folder = _store.place(self._key)
        if not (folder / "card.json").is_file():
            plan = self._parent()
            folder = _store.keep(self._key, plan, self.tuned_, self.cut_, self._facts)
        embedder = self._given()
        embedder.model = str(folder)
        return embedder

    def _parent(self) -> Plan:
        """Return the plan of the backbone that was tuned."""
        plan = self._backbone()._planned().plan
        if plan.recipe.graph != self.parent_sha256_:
            raise ModelChangedError(
                f"This estimator tunes the backbone with the SHA-256 {self.parent_sha256_}; {plan.card.name!r} has "
                f"{plan.recipe.graph} here. Bring back its files, or fit again."
            )
        return plan


def _arrays(held: _trunk.Activations, goal: _objectives.Goal) -> list[npt.NDArray[Any]]:
    """Return everything of the samples that decides a training."""
    rows = [np.concatenate(view) if held.ragged else view for view in held.views]
    return [*rows, held.lengths(), *(array for one in goal.objectives for array in (one.target, one.weights))]
