"""skada, where it is installed, takes the rows and domains as the guide says, and agrees on one domain at a time."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skltransfer.adapt import DomainScaler

skada = pytest.importorskip(
    "skada", reason="skada is not installed: pip install 'skltransfer[adapt]'", exc_type=ImportError
)

RNG = np.random.default_rng(0)
CLASSES = np.repeat([0, 1, 2], 40)
SOURCE = RNG.normal(size=(120, 6)) + 4 * np.eye(6)[CLASSES]
TARGET = (RNG.normal(size=(120, 6)) + 4 * np.eye(6)[CLASSES]) * [2, 0.5, 3, 1, 1, 1] + 10
X = np.vstack([SOURCE, TARGET])
DOMAIN = np.repeat([1, -2], 120)


@pytest.mark.filterwarnings("ignore")  # skada's own
def test_subspace_alignment_takes_rows_as_the_guide_says():
    labels = np.concatenate([CLASSES, np.full(120, -1)])
    adapter = skada.SubspaceAlignmentAdapter(n_components=3)
    model = skada.make_da_pipeline(StandardScaler(), adapter, LogisticRegression())
    found = model.fit(X, labels, sample_domain=DOMAIN).predict(TARGET, sample_domain=DOMAIN[120:])
    assert set(found) <= {0, 1, 2}


@pytest.mark.filterwarnings("ignore")  # skada's own
def test_scaling_each_domain_agrees_up_to_the_scale_of_the_source():
    theirs = skada.make_da_pipeline(skada.PerDomain(StandardScaler()), LogisticRegression())
    theirs.fit(X, np.concatenate([CLASSES, np.full(120, -1)]), sample_domain=DOMAIN)
    rows = DomainScaler(reference=1).fit_transform(X, sample_domain=DOMAIN)
    ours = LogisticRegression().fit(StandardScaler().fit_transform(SOURCE), CLASSES)
    scaled = StandardScaler().fit(SOURCE).transform(rows[120:])
    np.testing.assert_array_equal(theirs.predict(TARGET, sample_domain=DOMAIN[120:]), ours.predict(scaled))
