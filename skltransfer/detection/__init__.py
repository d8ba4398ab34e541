"""Object detection from frozen feature maps."""

from skltransfer.detection._detector import ObjectDetector
from skltransfer.detection._precision import average_precision, detection_scorer

__all__ = ["ObjectDetector", "average_precision", "detection_scorer"]
