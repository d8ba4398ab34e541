"""Variants: the same backbone in fewer bits, converted once, compared with the original, and kept.

A variant is a card folder of its own, ``NAME.fp16`` or ``NAME.int8``. It lies beside the original's files if those are
the user's, else in the store of models, and names in ``source`` what it was made of: of another file it is none.
"""

from skltransfer._engine.quantization._make import MIN_COSINE, find, kept, quantize

__all__ = ["MIN_COSINE", "find", "kept", "quantize"]
