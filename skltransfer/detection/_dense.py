"""`DenseEmbedder`: images of any size to feature maps that keep their proportions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions

from skltransfer._engine import progress
from skltransfer._engine.samples import unpack
from skltransfer.cards import PRECISIONS, Card
from skltransfer.detection._backbone import Backbone, open_backbone
from skltransfer.detection._maps import Level, Settings
from skltransfer.detection._projection import generic
from skltransfer.detection._pyramid import seen


class FeatureMaps(NamedTuple):
    """The maps of an image.

    Attributes
    ----------
    maps : tuple of ndarray of shape (channels, height, width), float32
        One for each layer.
    cells : tuple of (float, float)
        Width and height, in pixels of the upright image, of a cell of each map; the cell in row r and column c begins
        at (c * width, r * height).
    size : (int, int)
        Width and height of the image in pixels.
    """

    maps: tuple[npt.NDArray[np.float32], ...]
    cells: tuple[tuple[float, float], ...]
    size: tuple[int, int]


class DenseEmbedder(TransformerMixin, BaseEstimator):
    """Embed images of any size as feature maps: for heat maps, counting, and segmentation with few labels.

    Where ``PretrainedEmbedder(pool="none")`` crops or squashes each image to one size, this one scales the longer side
    and keeps the proportions, so each image has maps of its own shape, and says where each cell lies.

    Parameters
    ----------
    backbone : str, path or Card, default="vision-mini"
        A convolutional backbone of images, as `PretrainedEmbedder` takes it.
    layers : "auto" or list of str, default="auto"
        Tensors to return; ``"auto"``: the deepest with a cell for every 8, 16 and 32 pixels.
    longer_side : int, default=320
        Pixels of the longer side in the input. Larger sees smaller things, and costs by its square.
    components : list of int or None, default=None
        Principal components to keep of each layer, computed once from images of the package, not from X; None keeps
        all channels. A few dozen take a tenth of the memory.
    precision, device, n_jobs, cache
        As in `PretrainedEmbedder`. Maps are kept as float16.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    layers_ : tuple of str
        Names of the layers, the finest first.

    Examples
    --------
    >>> from skltransfer.datasets import load_emoji
    >>> from skltransfer.detection import DenseEmbedder
    >>> (found,) = DenseEmbedder(longer_side=96, components=(8, 8, 8)).fit_transform(load_emoji().images[:1])
    >>> [one.shape for one in found.maps], found.cells[-1]
    ([(8, 12, 12), (8, 6, 6), (8, 3, 3)], (24.0, 24.0))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": [str, os.PathLike, Card],
        "layers": [StrOptions({"auto"}), list, tuple],
        "longer_side": [Interval(Integral, 1, None, closed="left")],
        "components": [list, tuple, None],
        "precision": [StrOptions(set(PRECISIONS))],
        "device": [str],
        "n_jobs": [Integral, None],
        "cache": [str, os.PathLike, "boolean", None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | os.PathLike[str] | Card = "vision-mini",
        *,
        layers: str | Sequence[str] = "auto",
        longer_side: int = 320,
        components: Sequence[int] | None = None,
        precision: str = "auto",
        device: str = "auto",
        n_jobs: int | None = None,
        cache: str | os.PathLike[str] | bool | None = "memory",
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.longer_side = longer_side
        self.components = components
        self.precision = precision
        self.device = device
        self.n_jobs = n_jobs
        self.cache = cache
        self.verbose = verbose

    def fit(self, X: Any = None, y: Any = None) -> DenseEmbedder:
        """Find the backbone and its layers; X is not looked at."""
        self._validate_params()
        self.layers_ = self._opened().layers
        return self

    def transform(self, X: Any) -> list[FeatureMaps]:
        """Embed images.

        Parameters
        ----------
        X : iterable of images
            As `PretrainedEmbedder` takes them.

        Returns
        -------
        list of FeatureMaps
            In the order of X.

        Raises
        ------
        SampleError
            If an image cannot be read.
        """
        self._validate_params()
        backbone, samples = self._opened(), list(unpack(X).items)
        choices = {"device": self.device, "precision": self.precision}
        projections = None if self.components is None else generic(backbone, self.components, choices)
        settings = Settings(backbone, projections, choices, self.cache, self.n_jobs)
        with progress.bar(self, len(samples)) as bar:
            return [
                _cropped(one.views[0][0]) for one in seen(samples, [self.longer_side], settings, progress=bar) if one
            ]

    def __sklearn_tags__(self) -> Any:
        """Return what the estimator takes: a column of images."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: nothing has to be learned first."""
        return True

    def _opened(self) -> Backbone:
        return open_backbone(self.backbone, self.layers)


def _cropped(level: Level) -> FeatureMaps:
    """Return the maps of an image without the cells that lie in its padding."""
    place, maps, cells = level.placement, [], []
    for one in level.maps():
        shape = one.shape[1::-1]  # columns and rows, as sizes are width and height
        cell = tuple(side / n * scale for side, n, scale in zip(place.size, shape, place.scale, strict=True))
        columns, rows = (int(np.ceil(round(n / side, 6))) for n, side in zip(place.original, cell, strict=True))
        maps.append(np.ascontiguousarray(np.moveaxis(one[:rows, :columns], -1, 0)))
        cells.append((cell[0], cell[1]))
    return FeatureMaps(tuple(maps), tuple(cells), place.original)
