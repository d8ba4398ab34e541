"""Readers of your own folders and tables, and small labeled data sets bundled with the package.

This room lists and reads; it decodes nothing and knows nothing of models. Images are returned as paths or as encoded
bytes and texts as strings, as users would pass them.
"""

from skltransfer.datasets._emoji import load_emoji
from skltransfer.datasets._folder import load_folder
from skltransfer.datasets._table import load_table

__all__ = ["load_emoji", "load_folder", "load_table"]
