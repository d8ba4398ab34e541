"""The assembly line: known rows out of the cache, the rest prepared in threads, run in batches, put in place in order.

The room is the only one that starts threads of our own. It knows no estimator. `batches` yields finished rows while
others run; `embed` collects them in one array.
"""

from skltransfer._engine.stream._batches import batches, open_line
from skltransfer._engine.stream._embed import Embedded, embed
from skltransfer._engine.stream._line import LINES, Line
from skltransfer._engine.stream._open import open_backbone, row_shape, rows_run
from skltransfer._engine.stream._options import Options
from skltransfer._engine.stream._order import Finished

__all__ = [
    "LINES",
    "Embedded",
    "Finished",
    "Line",
    "Options",
    "batches",
    "embed",
    "open_backbone",
    "open_line",
    "row_shape",
    "rows_run",
]
