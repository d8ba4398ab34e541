"""Export of a fitted pipeline, backbone and head, to one ONNX file that was compared with it.

The file runs in ONNX Runtime of any language, without Python, scikit-learn or skltransfer. It is written only after it
was opened again and agreed with the pipeline on the user's samples.
"""

from skltransfer.export._export import Exported, to_onnx
from skltransfer.export._metadata import SCHEMA
from skltransfer.export._reader import read_metadata

__all__ = [
    "SCHEMA",
    "Exported",
    "read_metadata",
    "to_onnx",
]
