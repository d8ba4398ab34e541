"""Quantized models: a backbone in fewer bits, converted once, compared with the original, and kept.

A quantized model is a card folder of its own, ``NAME.fp16`` or ``NAME.int8``. It lies beside the original's files if
those are the user's, else in the store of models. The ``source`` of its card names the file it was converted from, and
it is used for that file only.
"""

from skltransfer._engine.quantization._quantize import MIN_COSINE, find_quantized, quantize, quantized_card

__all__ = ["MIN_COSINE", "find_quantized", "quantize", "quantized_card"]
