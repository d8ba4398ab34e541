"""Domain adaptation of rows: of `PretrainedEmbedder`, or of any other origin."""

from skltransfer.adapt._circular import circular_validation
from skltransfer.adapt._classifier import AdaptedClassifier
from skltransfer.adapt._scaler import DomainScaler

__all__ = ["AdaptedClassifier", "DomainScaler", "circular_validation"]
