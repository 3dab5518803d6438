"""Loss scaling for float16: gradients are made large enough for its small range, and small again for the update.

The loss is multiplied by a scale, which halves when a gradient is too large for float16 (that update is left out),
and doubles after `INTERVAL` updates without that. All of it happens on the device; bfloat16 has the range of
float32 and needs none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..backend.gpu.training import adapt_scale, scale_loss, unscale
from ..device import fetch, put
from ..kernel import recording
from ..logs import log
from ..net.net import Net
from ..net.script import Extra
from . import rules

FIRST, LEAST, MOST = 2.0**16, 1.0, 2.0**24
INTERVAL = 2000


class LossScaling:
    """The scale of a net's losses, for training on a device whose products are of float16."""

    def __init__(self, net: Net):
        self.net, self.device = net, net.device
        self.numbers = self.device.upload(np.array([FIRST, 0, 0], np.float64))  # as adapt_scale says
        self._told = 0

    @property
    def extra(self) -> Extra:
        """What backward starts from: every loss weight times the scale."""
        program = self.device.program(self.net.graph.dtype)
        tops = [(t, w) for n in self.net.graph.nodes for t, w in zip(n.top, n.loss_weights) if w]
        with recording(program):
            for top, weight in tops:
                scale_loss(self.numbers, weight, top.count, top.diff_memory.array_on(self.device))
        return Extra(program, writes=[top.diff_memory for top, _ in tops])

    def record(self, gradients: Any, count: int, numbers: Any) -> None:
        """Record, in front of an update, that gradients get their size back, and whether the update is made."""
        partial = self.device.zeros(ops.blocks(count), np.int32)
        unscale(self.numbers, count, gradients, partial)
        go = rules.NUMBERS.index("go")
        adapt_scale(partial, partial.size, INTERVAL, LEAST, MOST, go, self.numbers, numbers)

    def tell(self) -> None:
        """Log how many updates were left out since this was last asked."""
        scale, _, left_out = fetch(self.numbers)
        if left_out > self._told:
            log.info("fp16: %d update(s) left out, gradients being too large; the loss scale is now %g", *(
                left_out - self._told, scale,
            ))  # fmt: skip
            if scale <= LEAST:
                log.warning("fp16: gradients are too large even with a loss scale of 1: try --precision bf16 or fp32")
        self._told = left_out

    def state(self) -> list[float]:
        """What a resumed run needs."""
        return fetch(self.numbers).tolist()

    def restore(self, state: list[float]) -> None:
        """Take over what `state` returned."""
        put(self.numbers, state)
        self._told = state[2]
