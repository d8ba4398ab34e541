"""The assembly line: known rows out of the cache, the rest prepared in threads, run in batches, put in place in order.

The room is the only one that starts threads of our own. It knows no estimator.
"""

from skltransfer.stream._embed import Embedded, embed
from skltransfer.stream._line import LINES
from skltransfer.stream._open import open_backbone
from skltransfer.stream._prepare import PREPARERS, Plan, View

__all__ = ["LINES", "PREPARERS", "Embedded", "Plan", "View", "embed", "open_backbone"]
