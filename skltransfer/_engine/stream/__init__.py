"""The assembly line: known rows out of the cache, the rest prepared in threads, run in batches, put in place in order.

The room is the only one that starts threads of our own. It knows no estimator.
"""

from skltransfer._engine.stream._embed import Embedded, embed
from skltransfer._engine.stream._line import LINES
from skltransfer._engine.stream._open import open_backbone
from skltransfer._engine.stream._prepare import PREPARERS, Plan, View

__all__ = ["LINES", "PREPARERS", "Embedded", "Plan", "View", "embed", "open_backbone"]
