"""Variants: the same backbone in fewer bits, converted once, compared with the original, and kept.

A variant is a card folder of its own, ``NAME.fp16`` or ``NAME.int8``. It lies beside the original's files if those are
the user's, else in the store of models, and names in ``source`` what it was made of: of another file it is none.
"""

from skltransfer.variants._make import MARKS, find, kept, make_variant

__all__ = ["MARKS", "find", "kept", "make_variant"]
