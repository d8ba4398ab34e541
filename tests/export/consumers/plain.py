"""Run exported files in a Python that has ONNX Runtime and NumPy alone, of any version.

Usage: python plain.py FILE.onnx CASE.json ... prints the largest difference of each output, as a JSON list.
"""

import json
import sys

import numpy as np
import onnxruntime


def difference(found, wanted):
    """Return the largest difference of numbers, or the number of labels that differ."""
    wanted = np.asarray(wanted, found.dtype).reshape(found.shape)
    if found.dtype.kind == "f":
        return float(np.abs(found - wanted).max())
    return float((found != wanted).sum())


def check(path, case):
    """Return the differences of a file, by output."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with open(case) as file:
        case = json.load(file)
    feeds = {
        name: np.array(one["data"], object if one["dtype"] == "str" else one["dtype"]).reshape(one["shape"])
        for name, one in case["feeds"].items()
    }
    found = dict(zip([one.name for one in session.get_outputs()], session.run(None, feeds), strict=True))
    return {name: difference(found[name], wanted) for name, wanted in case["outputs"].items()}


if __name__ == "__main__":
    pairs = zip(sys.argv[1::2], sys.argv[2::2], strict=True)
    foreign = sorted({"sklearn", "skltransfer", "onnx"} & set(sys.modules))
    found = [check(path, case) for path, case in pairs]
    print(json.dumps({"onnxruntime": onnxruntime.__version__, "foreign": foreign, "differences": found}))
