"""Estimators that learn from rows: of `PretrainedEmbedder`, or of any other origin."""

from skltransfer.heads._skip import SkipBadRows

__all__ = ["SkipBadRows"]
