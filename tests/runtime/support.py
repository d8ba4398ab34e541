"""What the tests of sessions share."""

import numpy as np

from skltransfer import testing
from skltransfer._engine import runtime
from skltransfer._engine.runtime import Device

CPU = Device()
NUMBERS = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)


def doubled(batch="n") -> runtime.Session:
    return runtime.Session(
        testing.array_backbone(batch=batch).SerializeToString(), CPU, batch_size=None if batch == "n" else batch
    )


def bound(batch="n"):
    """A session as on a GPU: through buffers of its own, in few shapes."""
    model = testing.array_backbone(batch=batch).SerializeToString()
    return runtime.Session(model, CPU, bound=True, batch_size=None if batch == "n" else batch)
