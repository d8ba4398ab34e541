"""Fine-tuning: the last blocks of a backbone, trained on your samples, as an ordinary backbone.

The room stands on `embedder`; PyTorch is imported when something is fitted.
"""

from skltransfer.finetune._embedder import FineTunedEmbedder

__all__ = ["FineTunedEmbedder"]
