"""ONNX in, ONNX out: read a graph's facts, refuse what is unsafe, and build the graph that gives final rows.

Pure: files are read, graphs are returned, nothing is run. What a recipe asks for - preparation of samples, cut at a
layer, pooling, normalisation - becomes nodes of one graph, so that a single run turns pixels or token ids into rows.
"""

from skltransfer.graph._build import build, check_layers, filled
from skltransfer.graph._editor import INPUT, OUTPUT, opset
from skltransfer.graph._integers import OLDEST_OF_ROWS, in_blocks, in_rows, products
from skltransfer.graph._pool import pooled_width, shared_pools
from skltransfer.graph._precision import typed, widen, with_old_names
from skltransfer.graph._read import Facts, Shape, load, read, scan
from skltransfer.graph._write import pieces

__all__ = [
    "INPUT",
    "OLDEST_OF_ROWS",
    "OUTPUT",
    "Facts",
    "Shape",
    "build",
    "check_layers",
    "filled",
    "in_blocks",
    "in_rows",
    "load",
    "opset",
    "pieces",
    "pooled_width",
    "products",
    "read",
    "scan",
    "shared_pools",
    "typed",
    "widen",
    "with_old_names",
]
