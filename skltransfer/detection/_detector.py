"""`ObjectDetector`: boxes and classes from the frozen maps of a backbone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skltransfer._engine import progress
from skltransfer._engine.progress import CallbackSupportMixin, with_callbacks
from skltransfer._engine.samples import unpack
from skltransfer.cards import PRECISIONS, Card
from skltransfer.detection import _boxes, _fit
from skltransfer.detection._backbone import MULTIPLE, Backbone, open_backbone, sized
from skltransfer.detection._boxes import FORMATS, from_xyxy
from skltransfer.detection._cells import IGNORED, Scene
from skltransfer.detection._maps import Level, Settings
from skltransfer.detection._precision import detection_scorer
from skltransfer.detection._projection import generic
from skltransfer.detection._pyramid import choose_scales, read_some, seen
from skltransfer.detection._regions import Regions
from skltransfer.detection._targets import Target, check_inside, check_targets, classes_of, named
from skltransfer.errors import Failure, InputWarning, ModelChangedError, warn

#: Exponent of the first stage's score in that of a detection (of 0, .3 and .6 the best on images of the development).
CELL_POWER = 0.3
#: Penalties of the estimators where none are passed, for standardized columns.
BOX_ALPHA, CLASS_C = 10_000.0, 0.001
#: Detections below it are noise: no average precision changes in its third digit.
LEAST_SCORE = 0.001


class ObjectDetector(CallbackSupportMixin, BaseEstimator):
    """Placeholder docstring."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [str, os.PathLike, Card],
        "layers": [StrOptions({"auto"}), list, tuple],
        "scales": [StrOptions({"auto"}), list, tuple],
        "object_size": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "components": [list, tuple],
        "mirror": ["boolean"],
        "n_proposals": [Interval(Integral, 1, None, closed="left")],
        "stages": [Interval(Integral, 1, None, closed="left")],
        "cell_alpha": [Interval(Real, 0, None, closed="neither")],
        "box_classifier": [HasMethods(["fit", "predict_proba"]), None],
        "box_regressor": [HasMethods(["fit", "predict"]), None],
        "kernel": [HasMethods(["fit", "transform"]), None],
        "score_threshold": [Interval(Real, 0, 1, closed="both")],
        "nms_threshold": [Interval(Real, 0, 1, closed="both")],
        "max_detections": [Interval(Integral, 1, None, closed="left")],
        "box_format": [StrOptions(set(FORMATS))],
        "random_state": ["random_state"],
        "precision": [StrOptions(set(PRECISIONS))],
        "device": [str],
        "n_jobs": [Integral, None],
        "cache": [str, os.PathLike, "boolean", None],
        "on_error": [StrOptions({"raise", "nan"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | os.PathLike[str] | Card = "vision-mini",
        *,
        layers: str | Sequence[str] = "auto",
        scales: str | Sequence[int] = "auto",
        object_size: float | str = "auto",
        components: Sequence[int] = (16, 48, 64),
        mirror: bool = True,
        n_proposals: int = 100,
        stages: int = 2,
        cell_alpha: float = 1000.0,
        box_classifier: Any = None,
        box_regressor: Any = None,
        kernel: Any = None,
        score_threshold: float = 0.5,
        nms_threshold: float = 0.5,
        max_detections: int = 100,
        box_format: str = "xyxy",
        random_state: Any = 0,
        precision: str = "auto",
        device: str = "auto",
        n_jobs: int | None = None,
        cache: str | os.PathLike[str] | bool | None = "memory",
        on_error: str = "raise",
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.scales = scales
        self.object_size = object_size
        self.components = components
        self.mirror = mirror
        self.n_proposals = n_proposals
        self.stages = stages
        self.cell_alpha = cell_alpha
        self.box_classifier = box_classifier
        self.box_regressor = box_regressor
        self.kernel = kernel
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.box_format = box_format
        self.random_state = random_state
        self.precision = precision
        self.device = device
        self.n_jobs = n_jobs
        self.cache = cache
        self.on_error = on_error
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: Any, y: Any) -> ObjectDetector:
        """Learn to detect.

        Parameters
        ----------
        X : iterable of images
            As `PretrainedEmbedder` takes them.
        y : sequence of dict
            For each image ``boxes`` and ``labels``.

        Returns
        -------
        ObjectDetector
            Itself.

        Raises
        ------
        ValueError
            If a box cannot be: the message names the image and the row.
        SampleError
            If an image cannot be read and ``on_error="raise"``.
        """
        self._validate_params()
        samples, targets = list(unpack(X).items), check_targets(y, self.box_format)
        if len(samples) != len(targets):
            raise ValueError(f"X has {len(samples)} images and y has {len(targets)} targets; they must be the same.")
        with progress.bar(self, len(samples)) as bar, progress.callbacks(self, X, y, len(samples)) as step:
            self._fit(samples, targets, lambda done: (bar(done), step(done)))
        return self

    def _fit(self, samples: list[Any], targets: list[Target], report: Any) -> None:
        """Fit to checked targets."""
        backbone = open_backbone(self.backbone, self.layers)
        random = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        self._settle(backbone, classes_of(targets))
        failures: list[Failure] = []
        scenes = self._scenes(samples, targets, failures, report)
        self.unreachable_ = _fit.unreachable(scenes, self.object_size_)
        self._warn_of_unreachable(scenes)
        proposed = _fit.fit_proposals(
            scenes,
            _fit.halves(scenes, self.unreachable_, random),
            len(self.classes_),
            object_size=self.object_size_,
            alpha=self.cell_alpha,
            n_proposals=self.n_proposals,
            random=random,
        )
        self.cells_, self.proposal_recall_ = proposed.cells, proposed.recall
        self.regions_ = self._regions().fit(proposed.samples, len(self.classes_))
        self.n_images_in_ = len(samples)
        self._warn_of(failures)

    def predict(self, X: Any, score_threshold: float | None = None) -> list[dict[str, npt.NDArray[Any]]]:
        """Detect objects.

        Parameters
        ----------
        X : iterable of images
            As `PretrainedEmbedder` takes them.
        score_threshold : float, default=None
            Least score of a detection; None: the parameter of the detector. 0 keeps all, as average precision wants.

        Returns
        -------
        list of dict
            For each image ``boxes`` (n, 4), float64, in the detector's ``box_format``, ``labels`` (n,) and ``scores``
            (n,), float64, the best first.

        Raises
        ------
        SampleError
            If an image cannot be read and ``on_error="raise"``.
        ModelChangedError
            If the backbone is another one than in `fit`.
        """
        check_is_fitted(self)
        least = self.score_threshold if score_threshold is None else score_threshold
        samples, settings = list(unpack(X).items), self._settings(self._unchanged())
        failures: list[Failure] = []
        skipped = failures if self.on_error == "nan" else None
        with progress.bar(self, len(samples)) as bar:
            views = seen(samples, self.scales_, settings, failures=skipped, progress=bar)
            found = [self._detect(() if one is None else one.views[0], least) for one in views]
        self._warn_of(failures)
        return found

    def score(self, X: Any, y: Any) -> float:
        """Return the mean average precision over IoU .5 to .95, of all detections whatever their score.

        Parameters
        ----------
        X : iterable of images
            As in `fit`.
        y : sequence of dict
            As in `fit`.

        Returns
        -------
        float
            See `average_precision`.
        """
        return detection_scorer("map")(self, X, y)

    def __sklearn_tags__(self) -> Any:
        """Return what the estimator takes: a column of images, and targets."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` was called."""
        return "regions_" in vars(self)

    def _settle(self, backbone: Backbone, classes: npt.NDArray[Any]) -> None:
        """Set what is known before an image is decoded."""
        if len(self.components) != len(backbone.layers):
            raise ValueError(
                f"components={self.components!r} has {len(self.components)} numbers, and {len(backbone.layers)} layers "
                f"are read: {', '.join(backbone.layers)}. Give one number for each."
            )
        self.classes_ = classes
        self.layers_ = backbone.layers
        size = backbone.spec.size
        self.object_size_ = float(min(size) if isinstance(self.object_size, str) else self.object_size)
        self.projections_ = generic(backbone, self.components, self._choices())
        self.model_sha256_ = self._fingerprint(backbone)

    def _choices(self) -> dict[str, Any]:
        """Return the parameters that a plan is made of."""
        return {"device": self.device, "precision": self.precision}

    def _fingerprint(self, backbone: Backbone) -> str:
        """Return the SHA-256 of the backbone's files."""
        return sized(backbone, (MULTIPLE, MULTIPLE), self._choices()).plan.recipe.graph

    def _settings(self, backbone: Backbone) -> Settings:
        return Settings(backbone, self.projections_, self._choices(), self.cache, self.n_jobs)

    def _unchanged(self) -> Backbone:
        """Open the backbone, and refuse another than that of `fit`."""
        backbone = open_backbone(self.backbone, self.layers_)
        if (found := self._fingerprint(backbone)) != self.model_sha256_:
            raise ModelChangedError(
                f"This detector was fitted with a backbone {backbone.card.name!r} whose SHA-256 was "
                f"{self.model_sha256_}; now it is {found}. Fit again, or bring back the files."
            )
        return backbone

    def _scenes(self, samples: list[Any], targets: list[Target], failures: list[Failure], report: Any) -> list[Scene]:
        """Compute the maps of all images, at scales chosen by their boxes."""
        settings = self._settings(open_backbone(self.backbone, self.layers_))
        skip = self.on_error == "nan"
        placed: dict[int, Target] = {}
        for index, picture in enumerate(read_some(samples, settings, [] if skip else None)):
            if picture is not None:
                placed[index] = check_inside(targets[index], picture.size, named(index, picture.path))
        self.scales_ = self._chosen_scales(placed)
        views = seen(
            samples,
            self.scales_,
            settings,
            mirror=self.mirror,
            failures=failures if skip else None,
            progress=report,
        )
        scenes: list[Scene] = []
        for index, one in enumerate(views):
            if one is not None:
                scenes += _fit.scenes_of(one, placed[index], self._codes(placed[index]), index)
        return scenes

    def _chosen_scales(self, placed: dict[int, Target]) -> tuple[int, ...]:
        """Return the scales of the parameter, or those that the boxes ask for."""
        if not isinstance(self.scales, str):
            return tuple(sorted({int(scale) for scale in self.scales}))
        learned = [target.boxes[~target.ignored] for target in placed.values()]
        sides = [
            np.full(len(own), max(target.size or (1, 1))) for own, target in zip(learned, placed.values(), strict=True)
        ]
        shares = np.sqrt(_boxes.areas(np.concatenate(learned))) / np.concatenate(sides)
        return choose_scales(shares, self.object_size_)

    def _codes(self, target: Target) -> npt.NDArray[np.intp]:
        """Return the class of each box as a number."""
        numbers = {label: code for code, label in enumerate(self.classes_.tolist())}
        codes = [
            IGNORED if skip else numbers[label]
            for label, skip in zip(target.labels.tolist(), target.ignored, strict=True)
        ]
        return np.array(codes, np.intp)

    def _regions(self) -> Regions:
        """Return the second stage, with the estimators of the parameters."""
        regressor = Ridge(alpha=BOX_ALPHA) if self.box_regressor is None else self.box_regressor
        classifier = LogisticRegression(C=CLASS_C, max_iter=200) if self.box_classifier is None else self.box_classifier
        return Regions(regressor, classifier, self.kernel, stages=self.stages, object_size=self.object_size_)

    def _detect(self, levels: Sequence[Level], least: float) -> dict[str, npt.NDArray[Any]]:
        """Detect the objects of an image; there is none in an image that cannot be read."""
        if not levels:
            return self._named(np.zeros((0, 4)), np.zeros(0, np.intp), np.zeros(0))
        boxes, first = self.cells_.propose(levels, self.n_proposals)
        boxes, shares, quality = self.regions_.judge(levels, boxes, len(self.classes_))
        scores = shares * quality[:, None] * first[:, None] ** CELL_POWER
        row, code = np.nonzero(scores > max(least, LEAST_SCORE))
        scores = scores[row, code]
        kept = _boxes.nms(boxes[row], scores, self.nms_threshold, code)[: self.max_detections]
        return self._named(boxes[row][kept], code[kept], scores[kept])

    def _named(self, boxes: _boxes.Boxes, codes: npt.NDArray[np.intp], scores: Any) -> dict[str, npt.NDArray[Any]]:
        return {"boxes": from_xyxy(boxes, self.box_format), "labels": self.classes_[codes], "scores": scores}

    def _warn_of_unreachable(self, scenes: Sequence[Scene]) -> None:
        """Warn of boxes that no scale fits."""
        if n := len(self.unreachable_):
            image, row = self.unreachable_[0]
            warn(
                f"{n} boxes are too small or too large for scales {self.scales_} and cannot be detected: the first is "
                f"boxes[{row}] of image {image}; `unreachable_` lists them. Add a scale, such as "
                f"scales={(*self.scales_, 2 * self.scales_[-1])}, which costs time.",
                InputWarning,
            )

    def _warn_of(self, failures: Sequence[Failure]) -> None:
        """Warn of images that were left out."""
        if failures:
            shown = "; ".join(map(str, failures[:3]))
            warn(f"{len(failures)} images cannot be read and have no boxes: {shown}.", InputWarning)
