"""Pretrained ONNX backbones as scikit-learn transformers.

``PretrainedEmbedder`` turns images or texts into embeddings inside a `sklearn.pipeline.Pipeline`; no deep-learning
framework is needed. Importing the package is light: ONNX Runtime, onnx and Pillow are imported when first used.

References
----------
ONNX Runtime is run with its telemetry off, see ``ORT_DISABLE_TELEMETRY`` in the guide.
"""

from skltransfer._engine.cache import cache_info
from skltransfer._engine.catalog import list_models, load_card
from skltransfer._engine.process import reset
from skltransfer._engine.quantization import quantize
from skltransfer._engine.settings import config_context, get_config, set_config
from skltransfer._engine.stream import rows_run
from skltransfer._version import __version__
from skltransfer._versions import show_versions
from skltransfer.cards import Card
from skltransfer.embedder import PretrainedEmbedder
from skltransfer.selection import compare_backbones, near_duplicate_groups

#: Types of a saved pipeline that skops is to trust: ``skops.io.load(FILE, trusted=skltransfer.TRUSTED)``.
TRUSTED = [
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",  # of Python 3.13
    "pathlib._local.WindowsPath",
    "skltransfer.adapt._classifier.AdaptedClassifier",
    "skltransfer.adapt._scaler.DomainScaler",
    "skltransfer.cards._card.Card",
    "skltransfer.cards._card.ModelFile",
    "skltransfer.cards._inputs.ArraySpec",
    "skltransfer.cards._inputs.ImageSpec",
    "skltransfer.cards._inputs.TextSpec",
    "skltransfer.detection._cells.Cells",
    "skltransfer.detection._detector.ObjectDetector",
    "skltransfer.detection._maps.Projection",
    "skltransfer.detection._regions.Regions",
    "skltransfer.detection._regions.Scaler",
    "skltransfer.embedder.PretrainedEmbedder",
    "skltransfer.heads._multitask.MultiTask",
    "skltransfer.heads._skip.SkipBadRows",
]

__all__ = [
    "Card",
    "PretrainedEmbedder",
    "TRUSTED",
    "__version__",
    "cache_info",
    "compare_backbones",
    "config_context",
    "get_config",
    "list_models",
    "load_card",
    "near_duplicate_groups",
    "quantize",
    "reset",
    "rows_run",
    "set_config",
    "show_versions",
]
