"""SigmoidCrossEntropyLoss: cross entropy of independent probabilities, one sigmoid for each."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..kernel import T, kernel, where
from ..layer import Shapes, exactly
from ..ops import BLOCK, block_sum
from ..squash import exponential, log_one_more, sigmoid
from ._loss import MODES, LossLayer, finish_loss, fixed_normalizer, ignored_label, mode_of


@kernel(
    "x: T*, target: T*, ignore: int, count: int -> partial: double*, valid: double*",
    over=ops.BLOCKS,
    work="4 * 4096",
    any_order=True,
)
def cross_entropy(i, x, target, ignore, count, partial, valid):
    """Sums over block i of -target log(s(x)) - (1 - target) log(1 - s(x)), and of valid targets."""
    total = 0.0
    counted = 0.0
    for j in range(i * BLOCK, min(count, (i + 1) * BLOCK)):
        wanted = T(0) if int(target[j]) == ignore else T(1)
        # written so that exp cannot overflow: its argument is -|x|
        positive = T(1) if x[j] >= 0 else T(0)
        loss = x[j] * (target[j] - positive) - log_one_more(exponential(x[j] - T(2) * x[j] * positive))
        total -= where(wanted > 0, loss, T(0))
        counted += wanted
    partial[i] = block_sum(total)
    valid[i] = block_sum(counted)


cross_entropy.cpu("losses", "cross_entropy")
cross_entropy.cuda(
    """
    double total = 0, counted = 0;
    for (int j = i * BLOCK + threadIdx.x; j < min(count, (i + 1) * BLOCK); j += blockDim.x) {
        if ((int)target[j] == ignore) continue;
        T positive = x[j] >= 0 ? T(1) : T(0);
        total -= x[j] * (target[j] - positive) - log1p(exp(x[j] - 2 * x[j] * positive));
        counted += 1;
    }
    total = block_sum(total); counted = block_sum(counted);
    if (threadIdx.x == 0) { partial[i] = total; valid[i] = counted; }
    """,
    block=ops.THREADS,
)


@kernel("x: T*, target: T*, dloss: T*, normalizer: double*, ignore: int, count: int -> dx: T*", work="12")
def cross_entropy_grad(i, x, target, dloss, normalizer, ignore, count, dx):
    """dx = (s(x) - target) * dloss / normalizer; 0 where the target is ignored."""
    scale = dloss[0] / normalizer[0]
    dx[i] = T(0) if int(target[i]) == ignore else (sigmoid(x[i]) - target[i]) * scale


cross_entropy_grad.cpu("losses", "cross_entropy_grad")
cross_entropy_grad.cuda("""
    T scale = dloss[0] / normalizer[0];
    dx[i] = (int)target[i] == ignore ? T(0) : (sigmoid(x[i]) - target[i]) * scale;
""")


class SigmoidCrossEntropyLoss(LossLayer, type="SigmoidCrossEntropyLoss"):
    """Loss of scores x0 for probabilities x1, divided by the batch size unless loss_param says otherwise."""

    bottoms = exactly(2)
    no_gradient_to = (1,)

    def setup(self):
        self.ignore, self.mode = ignored_label(self), mode_of(self, MODES.BATCH_SIZE)

    def shapes(self, bottom):
        scores, _ = bottom
        self.check_same_batch(bottom)
        self.check_same_count(bottom)
        self.fixed = fixed_normalizer(self.mode, scores[0], math.prod(scores[1:]))
        n = ops.blocks(math.prod(scores))
        sums = {"partial": ((n,), np.float64), "valid": ((n,), np.float64), "normalizer": ((1,), np.float64)}
        return Shapes(top=[()], scratch=sums)

    def forward(self, bottom, top):
        scores, target = bottom
        cross_entropy(scores.data, target.data, self.ignore, scores.count, self.partial, self.valid)
        finish_loss(self.partial, self.valid, self.fixed, len(self.partial), self.normalizer, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x, target = bottom
            cross_entropy_grad(x.data, target.data, top[0].diff, self.normalizer, self.ignore, x.count, x.diff)
