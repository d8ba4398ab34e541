"""What a file that prepares samples itself (``level="bytes"``) makes of them, against our own preparation.

Usage: ``python tests/bench/export_bytes.py ../shared/data/clothing_small ../shared/data/text/banking77/test.csv``: a
folder of JPEG files and a table of texts. Prints the largest differences of pixels, in levels of 255, of a color and of
gray, and the share of texts whose tokens are the same; then 20 odd strings, one by one.
"""

from __future__ import annotations

import csv
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from skltransfer import PretrainedEmbedder, load_card
from skltransfer.export import _forms, _texts
from skltransfer.export._graph import BATCH, Graph

#: Shares of red, green and blue in gray, as in JPEG.
GRAY = np.array([0.299, 0.587, 0.114])
ODD = (
    "naïve café|Straße GROẞ|İstanbul|日本語 テキスト|한국어|Ελληνικά|Привет|a\0b|\ufeffx|[PAD] [MASK]|don't|e\u0301|x"
    + "y" * 120
    + "|tabs\tand\nlines|  |…—|👍🏽|ﬁ|ё|ﾊﾝｶｸ"
).split("|")


def preparation(plan: Any) -> Callable[[Any], np.ndarray]:
    """Return a function that runs the nodes of the preparation alone."""
    form = _forms.form_of(plan)
    graph = Graph(form.opset)
    tensor = form.emit(graph, graph.input(form.name, form.dtype, form.shape), plan)
    shape = [BATCH, None] if form.dtype == "str" else [1, *plan.recipe.input.size, 3]
    graph.output("prepared", tensor, "int32" if form.dtype == "str" else "uint8", shape)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(_texts.library())
    content = graph.model({}).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda samples: session.run(None, {form.name: form.stack(samples)})[0]


def plan_of(model: Any) -> Any:
    return PretrainedEmbedder(model)._onnx_parts()["backbone"]


def pictures(folder: Path, count: int = 400) -> None:
    plan = plan_of(load_card("vision-mini", draft=False))
    run, preparer = preparation(plan), plan.preparer()
    files = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[:count]]
    pairs = [
        (run([file])[0].astype(float), preparer.prepare([preparer.read(file)])[0][0].astype(float)) for file in files
    ]
    colors = [np.abs(ours - pillows) for ours, pillows in pairs]
    grays = [np.abs((ours - pillows) @ GRAY).max() for ours, pillows in pairs]
    most, differ = max(gap.max() for gap in colors), np.mean([(gap > 0).mean() for gap in colors])
    print(f"{len(files)} JPEG: at most {most:.0f} levels of a color, {max(grays):.2f} of gray; {differ:.2%} differ")


def same(run: Callable[[Any], np.ndarray], preparer: Any, texts: list[str]) -> list[bool]:
    wanted = [parts[0].tolist() for parts in preparer.prepare([preparer.read(text) for text in texts])]
    return [[n for n in run([text])[0].tolist() if n >= 0] == ids for text, ids in zip(texts, wanted, strict=True)]


def texts(table: Path) -> None:
    plan = plan_of("text-mini")
    run, preparer = preparation(plan), plan.preparer()
    with table.open(encoding="utf8") as file:
        rows = [row["text"] for row in csv.DictReader(file)]
    print(f"{len(rows)} texts: tokens of {np.mean(same(run, preparer, rows)):.3%} are the same")
    found = same(run, preparer, ODD)
    print(
        f"{sum(found)} of {len(ODD)} odd strings; not {[text for text, ok in zip(ODD, found, strict=True) if not ok]}"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    pictures(Path(sys.argv[1]))
    for table in sys.argv[2:]:
        texts(Path(table))
