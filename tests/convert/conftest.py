"""Fixtures of the tests of `convert`."""

import pytest


@pytest.fixture(autouse=True)
def seeded():
    import torch

    torch.manual_seed(0)
