"""What tests of the extras need of torch and its neighbours."""

import importlib
import importlib.util
import sys

OPERATORS = ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d")


def torchvision_beside_any_torch() -> None:
    """Import torchvision, which others import too; a wheel built for CUDA cannot beside a CPU build of torch.

    It looks up operators (for object detection) whose library it cannot load then: they are declared, and never run.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        import torch

        for operator in OPERATORS:
            torch.library.define(f"torchvision::{operator}", "(Tensor x) -> Tensor")
            torch.library.define(f"torchvision::_{operator}_backward", "(Tensor x) -> Tensor")
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        importlib.import_module("torchvision")
