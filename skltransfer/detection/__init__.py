"""Object detection and dense features: what frozen feature maps say of places in images.

`ObjectDetector` learns boxes and classes with estimators of scikit-learn, on maps that the cache keeps; `DenseEmbedder`
hands out the maps. The room reads and writes annotations and draws boxes; it starts no thread.
"""

from skltransfer.detection._dense import DenseEmbedder, FeatureMaps
from skltransfer.detection._detector import ObjectDetector
from skltransfer.detection._precision import average_precision, detection_scorer
from skltransfer.detection._readers import read_coco, read_voc, read_yolo
from skltransfer.detection._writers import draw_boxes, load_detector, save_detector, write_coco

__all__ = [
    "DenseEmbedder",
    "FeatureMaps",
    "ObjectDetector",
    "average_precision",
    "detection_scorer",
    "draw_boxes",
    "load_detector",
    "read_coco",
    "read_voc",
    "read_yolo",
    "save_detector",
    "write_coco",
]
