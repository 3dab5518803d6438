"""Fixtures of the tests of file formats."""

from __future__ import annotations

import numpy as np
import pytest
from small_net import make_net

from pycaffe_lite.net.net import Net


@pytest.fixture
def net() -> Net:
    """The small net, with weights of its own and gradients."""
    made = make_net()
    rng = np.random.default_rng(1)
    for entry in made.graph.learnable:
        entry.blob.diff[...] = rng.standard_normal(entry.blob.shape)
    return made
