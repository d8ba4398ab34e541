"""Batch scoring: a fitted pipeline over any number of rows, in parts that are whole or absent, so that it can resume.

The room owns sources, sinks, jobs and their driver. Engines (loky, Dask, Ray, Spark) are backends of joblib.
"""

from skltransfer.scoring._compact import compact
from skltransfer.scoring._engines import ENGINES, opened
from skltransfer.scoring._formats import FORMATS
from skltransfer.scoring._score import Scored, score
from skltransfer.scoring._supervise import end_on_sigterm, end_with_parent, is_finished, supervise

__all__ = [
    "ENGINES",
    "FORMATS",
    "Scored",
    "compact",
    "end_on_sigterm",
    "end_with_parent",
    "is_finished",
    "opened",
    "score",
    "supervise",
]
