"""ONNX in, ONNX out: inspect a graph, refuse unsafe ones, quantize, and build the graph that computes final rows.

Files are read and graphs are returned; nothing is run. Preprocessing, the cut at a layer, pooling and normalization
become nodes of one graph, so that a single run turns pixels or token ids into rows.
"""

from skltransfer._engine.graph._build import build, check_layers
from skltransfer._engine.graph._constants import beside, filled
from skltransfer._engine.graph._cut import reads
from skltransfer._engine.graph._editor import INPUT, OUTPUT, opset
from skltransfer._engine.graph._facts import Measured, read
from skltransfer._engine.graph._integers import OLDEST_OF_ROWS, matmuls, quantize_blockwise, quantize_per_row
from skltransfer._engine.graph._measure import SHAPE_OF, shaped, shapes_of
from skltransfer._engine.graph._pool import check_pool, check_same_places, joined_shape, row_shape, shared_pools
from skltransfer._engine.graph._precision import float16_to_float32, typed, with_old_names
from skltransfer._engine.graph._read import load, scan
from skltransfer._engine.graph._resize import other_size, resized
from skltransfer._engine.graph._tail import Parts, Tail, write_back
from skltransfer._engine.graph._write import pieces

__all__ = [
    "INPUT",
    "Measured",
    "OLDEST_OF_ROWS",
    "OUTPUT",
    "SHAPE_OF",
    "beside",
    "build",
    "check_layers",
    "filled",
    "quantize_blockwise",
    "quantize_per_row",
    "load",
    "opset",
    "pieces",
    "row_shape",
    "joined_shape",
    "other_size",
    "resized",
    "check_pool",
    "check_same_places",
    "matmuls",
    "read",
    "reads",
    "shaped",
    "shapes_of",
    "scan",
    "shared_pools",
    "typed",
    "float16_to_float32",
    "with_old_names",
    "Parts",
    "Tail",
    "write_back",
]
