"""What the pool of a convolution leaves out."""

from __future__ import annotations

import numpy as np
from chains import built, source_of

from pycaffe_lite.net import passes


def test_a_pool_is_taken_from_planes_that_nobody_else_gets_to_see():
    """Written they are where a person may read them, or backward does."""
    written = {}
    for chain in ("convolution and pool", "convolution, ReLU and pool"):
        for options in ({}, {"share_memory": True}, {"share_memory": True, "forward_only": True}):
            net = built(source_of(chain), dtype=np.float32, **options)
            joined = next(s for s in passes.schedule(net.graph, "forward").steps if s.node.layer.type == "Pooling")
            assert len(joined.nodes) == chain.count(",") + 2
            written[chain, len(options)] = joined.nodes[0].top[0].data_memory in joined.writes
    assert list(written.values()) == [True, False, False, True, True, False]
