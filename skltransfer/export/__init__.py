"""Export of a fitted pipeline, backbone and head, to one ONNX file that was compared with it.

The file runs in ONNX Runtime of any language, without Python, scikit-learn or skltransfer. It is written only after it
was opened again and agreed with the pipeline on the user's samples.
"""

# Names in `__all__` are public; the others, imported `as` themselves, are for the command line.
from skltransfer.export._export import ACCEPTED as ACCEPTED
from skltransfer.export._export import LABELS as LABELS
from skltransfer.export._export import LEVELS as LEVELS
from skltransfer.export._export import Exported, to_onnx
from skltransfer.export._load import load_pipeline as load_pipeline
from skltransfer.export._metadata import SCHEMA
from skltransfer.export._reader import is_exported as is_exported
from skltransfer.export._reader import read_metadata
from skltransfer.export._triton import write_triton

__all__ = [
    "SCHEMA",
    "Exported",
    "read_metadata",
    "to_onnx",
    "write_triton",
]
