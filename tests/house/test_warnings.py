"""Every warning points at the line of the user."""

import re
import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedEmbedder
from skltransfer.testing import noise_images
from tests import graphs
from tests.paths import PACKAGE


def test_warnings_are_issued_in_one_place():
    used = [p.name for p in PACKAGE.rglob("*.py") if re.search(r"\bwarnings\.warn\(", p.read_text("utf8"))]
    assert used == ["_warn.py"]


@pytest.mark.parametrize("inside", ["transformer", "pipeline"])
@pytest.mark.parametrize("what", ["bad sample", "dependent rows"])
def test_warning_points_at_the_line_of_the_user(tmp_path, what, inside):
    graph = graphs.mates() if what == "dependent rows" else None
    embedder = PretrainedEmbedder(graphs.save_images(tmp_path, graph), on_error="nan")
    estimator = make_pipeline("passthrough", embedder) if inside == "pipeline" else embedder
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = estimator.transform([*noise_images(3), *([None] if what == "bad sample" else [])])
    assert np.isfinite(rows[:3]).all()
    ours = [warning for warning in caught if "skltransfer" in str(warning.category)]
    assert ours
    assert {warning.filename for warning in ours} == {__file__}
