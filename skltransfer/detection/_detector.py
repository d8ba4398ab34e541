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
from skltransfer.detection._cells import Scene
from skltransfer.detection._maps import Level, Settings
from skltransfer.detection._precision import detection_scorer
from skltransfer.detection._projection import generic
from skltransfer.detection._pyramid import seen
from skltransfer.detection._regions import Regions
from skltransfer.detection._targets import Target, check_targets, classes_of
from skltransfer.errors import Failure, ModelChangedError

#: Exponent of the first stage's score in that of a detection (of 0, .3 and .6 the best on images of the development).
CELL_POWER = 0.3
#: Penalties of the estimators where none are passed, for standardized columns.
BOX_ALPHA, CLASS_C = 10_000.0, 0.001
#: Detections below it are noise: no average precision changes in its third digit.
LEAST_SCORE = 0.001


class ObjectDetector(CallbackSupportMixin, BaseEstimator):
    """Detect objects with the frozen maps of a pretrained backbone and estimators of scikit-learn.

    For a first detector out of 50 to 300 images, for annotations to correct, for counting: training takes seconds to a
    minute on one core. There is no training loop. A detector fine-tuned on COCO with a GPU finds more.

    Images are seen at a few scales. Each cell of the maps says whether it is in the middle of an object and proposes a
    box (ridge regressions solved from sums); features pooled from the proposed boxes move them, name their class and
    estimate how well they fit. The score of a detection is the product of class probability, estimated overlap, and
    the proposal's score to the power of 0.3.

    Parameters
    ----------
    backbone : str, path or Card, default="vision-mini"
        A convolutional backbone of images, as `PretrainedEmbedder` takes it.
    layers : "auto" or list of str, default="auto"
        Feature maps to use; ``"auto"``: the deepest with a cell for every 8, 16 and 32 pixels.
    scales : "auto" or list of int, default="auto"
        Pixels of the longer side at which images are seen; ``"auto"`` chooses so that the training boxes have 0.5 to
        1.8 times the object size at one of them, up to 1,024 pixels. Time grows with their squares.
    object_size : "auto" or float, default="auto"
        Pixels of objects as the backbone knows them; ``"auto"``: the shorter side of its card's input.
    components : list of int, default=(16, 64, 96)
        Principal components that are used of each layer, the finest first. Doubling them gains little.
    mirror : bool, default=True
        Whether to learn from mirror images, too, at twice the price. Not for letters, or where left and right matter.
    n_proposals : int, default=200
        Boxes of an image that the second stage looks at.
    stages : int, default=3
        How often boxes are moved.
    cell_alpha : float, default=1000
        Penalty of the first stage.
    box_classifier : classifier, default=None
        Names the class of pooled features; needs `predict_proba`. None: ``LogisticRegression(C=0.001)``. In a search
        pass one, and vary ``box_classifier__C``.
    box_regressor : regressor, default=None
        Moves boxes, and estimates overlap. None: ``Ridge(alpha=10000)``.
    kernel : transformer, default=None
        Applied to the pooled features, such as ``Nystroem(n_components=1000)``; None: they stay linear.
    score_threshold : float, default=0.5
        Least score of what `predict` returns.
    nms_threshold : float, default=0.5
        IoU above which the worse of two boxes of a class is dropped. Raise it for crowded objects.
    max_detections : int, default=100
        Detections of an image.
    box_format : {"xyxy", "xywh", "cxcywh"}, default="xyxy"
        Of targets and of detections: corners; left upper corner and size; center and size. In pixels of the upright
        image.
    random_state : int, RandomState instance or None, default=0
        Chooses background to learn from, and halves of the images.
    precision, device, n_jobs, cache
        As in `PretrainedEmbedder`. The cache keeps the maps: folds and candidates of a search share them.
    on_error : {"raise", "nan"}, default="raise"
        ``"nan"`` leaves images that cannot be read out of `fit`, and detects nothing in them, with a warning.
    verbose : int, default=0
        1 shows a progress bar of the images.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    scales_ : tuple of int
        Pixels of the longer side.
    proposal_recall_ : dict of float to float
        Share of the training objects that a proposal overlaps by an IoU of 0.5 and 0.7, in images its stage has not
        seen. If it is low, no classifier helps: look at `scales_` and `unreachable_`.
    unreachable_ : ndarray of shape (n, 2), int
        Image and row of training boxes that are too small or too large for `scales_`.
    object_size_ : float
        Pixels.
    layers_, projections_, cells_, regions_
        What is run: layers, their principal components, first and second stage.
    model_sha256_ : str
        Fingerprint of the backbone. `predict` refuses another one.
    n_images_in_ : int
        Images seen in `fit`.

    Notes
    -----
    A target is a dict of ``boxes`` (n, 4) and ``labels`` (n,); n = 0 is an image without objects. Boxes marked by
    ``iscrowd`` or ``difficult`` (n,) are neither learned, nor background, nor scored. ``size``, (width, height), is
    compared with the image. Use ``KFold`` or, with near duplicates, ``GroupKFold``; targets cannot be stratified.

    References
    ----------
    .. [1] Girshick et al., "Rich feature hierarchies for accurate object detection", CVPR 2014.
    .. [2] Maiettini et al., "Speeding-up object detection training for robotics with FALKON", IROS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer.detection import ObjectDetector
    >>> image = np.full((96, 96, 3), 255, np.uint8)
    >>> image[30:70, 20:60] = (200, 30, 30)
    >>> targets = [{"boxes": [[20, 30, 60, 70]], "labels": ["square"]}, {"boxes": [], "labels": []}]
    >>> detector = ObjectDetector(n_jobs=1).fit([image, np.full_like(image, 255)], targets)
    >>> detector.predict([image])[0]["labels"][:1].tolist()
    ['square']
    """

    not_exported: ClassVar[str] = "it runs the backbone at several sizes, with regressions and suppression in between"
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
        components: Sequence[int] = (16, 64, 96),
        mirror: bool = True,
        n_proposals: int = 200,
        stages: int = 3,
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
        _fit.warn_of_unreachable(self.unreachable_, self.scales_)
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
        _fit.warn_of_failures(failures)

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
        _fit.warn_of_failures(failures)
        return found

    def score(self, X: Any, y: Any) -> float:
        """Return the mean average precision over IoU .5 to .95, of all detections whatever their score.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        float
            See `average_precision`.
        """
        return detection_scorer("map")(self, X, y)

    def __sklearn_tags__(self) -> Any:
        """Return what the estimator takes: images, and targets."""
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
        self.model_sha256_ = self._fingerprint(backbone)

    def _choices(self) -> dict[str, Any]:
        return {"device": self.device, "precision": self.precision}

    def _fingerprint(self, backbone: Backbone) -> str:
        """Return the SHA-256 of the backbone's files."""
        return sized(backbone, (MULTIPLE, MULTIPLE), self._choices()).plan.recipe.graph

    def _settings(self, backbone: Backbone, *, shrink: bool = False) -> Settings:
        return Settings(backbone, self.projections_, self._choices(), self.cache, self.n_jobs, shrink)

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
        skip = self.on_error == "nan"
        placed = _fit.placed(samples, targets, skip=skip)
        given = () if isinstance(self.scales, str) else tuple(sorted({int(scale) for scale in self.scales}))
        self.scales_ = given or _fit.scales_for(placed.values(), self.object_size_)
        backbone = open_backbone(self.backbone, self.layers_)
        self.projections_ = generic(backbone, self.components, self._choices())
        settings, unreadable = self._settings(backbone, shrink=True), failures if skip else None
        views = seen(samples, self.scales_, settings, mirror=self.mirror, failures=unreadable, progress=report)
        return _fit.scenes(views, placed, self.classes_)

    def _regions(self) -> Regions:
        """Return the second stage, with the estimators of the parameters."""
        regressor = Ridge(alpha=BOX_ALPHA, copy_X=False) if self.box_regressor is None else self.box_regressor
        classifier = LogisticRegression(C=CLASS_C, max_iter=500) if self.box_classifier is None else self.box_classifier
        return Regions(regressor, classifier, self.kernel, stages=self.stages, object_size=self.object_size_)

    def _detect(self, levels: Sequence[Level], least: float) -> dict[str, npt.NDArray[Any]]:
        """Detect the objects of an image; there is none in an image that cannot be read."""
        if not levels:
            return self._named(np.zeros((0, 4)), np.zeros(0, np.intp), np.zeros(0))
        boxes, first = self.cells_.propose(levels, self.n_proposals)
        if not len(boxes):  # an image of a few pixels
            return self._detect((), least)
        boxes, shares, quality = self.regions_.judge(levels, boxes, len(self.classes_))
        scores = shares * quality[:, None] * first[:, None] ** CELL_POWER
        row, code = np.nonzero(scores > max(least, LEAST_SCORE))
        scores = scores[row, code]
        kept = _boxes.nms(boxes[row], scores, self.nms_threshold, code)[: self.max_detections]
        return self._named(boxes[row][kept], code[kept], scores[kept])

    def _named(self, boxes: _boxes.Boxes, codes: npt.NDArray[np.intp], scores: Any) -> dict[str, npt.NDArray[Any]]:
        return {"boxes": from_xyxy(boxes, self.box_format), "labels": self.classes_[codes], "scores": scores}
