"""ContrastiveLoss: pulls pairs that belong together near each other, and others at least `margin` apart."""

from __future__ import annotations

import math
from math import sqrt

import numpy as np

from .. import ops
from ..kernel import T, kernel
from ..layer import Shapes, exactly
from ._loss import LossLayer


@kernel(
    "a: T*, b: T*, similar: T*, margin: T, legacy: int, channels: int, rows: int -> square: T*, partial: double*",
    over="rows",
    work="2 * channels",
    any_order=True,
)
def pair_loss(i, a, b, similar, margin, legacy, channels, rows, square, partial):
    """square = the squared distance of pair i; partial = its loss."""
    total = T(0)
    for c in range(channels):
        d = a[i * channels + c] - b[i * channels + c]
        total += d * d
    square[i] = total
    if int(similar[i]) != 0:
        partial[i] = total
    elif legacy != 0:
        partial[i] = max(margin - total, T(0))
    else:
        short = max(margin - sqrt(total), T(0))
        partial[i] = short * short


pair_loss.cuda("""
    T total = 0;
    for (int c = 0; c < channels; ++c) { T d = a[i * channels + c] - b[i * channels + c]; total += d * d; }
    square[i] = total;
    T left = max(margin - (legacy ? total : sqrt(total)), T(0));
    partial[i] = (int)similar[i] ? total : legacy ? left : left * left;
""")


@kernel(
    "a: T*, b: T*, similar: T*, square: T*, dloss: T*, scale: T, margin: T, legacy: int, channels: int, "
    "rows: int -> dx: T*",
    over="rows",
    work="2 * channels",
)
def pair_loss_grad(i, a, b, similar, square, dloss, scale, margin, legacy, channels, rows, dx):
    """dx = (a - b) times what the loss of pair i asks for: nearer, farther, or (far enough) nothing."""
    pull = scale * dloss[0]
    if int(similar[i]) == 0:
        distance = sqrt(square[i])
        left = margin - (square[i] if legacy != 0 else distance)
        # 1e-4 keeps Caffe's gradient finite where the two are equal
        push = T(1) if legacy != 0 else left / (distance + T(1e-4))
        pull = -pull * push if left > 0 else T(0)
    for c in range(channels):
        dx[i * channels + c] = pull * (a[i * channels + c] - b[i * channels + c])


pair_loss_grad.cuda("""
    T pull = scale * dloss[0];
    if ((int)similar[i] == 0) {
        T distance = sqrt(square[i]), left = margin - (legacy ? square[i] : distance);
        T push = legacy ? T(1) : left / (distance + T(1e-4));
        pull = left > 0 ? -pull * push : T(0);
    }
    for (int j = i * channels; j < (i + 1) * channels; ++j) dx[j] = pull * (a[j] - b[j]);
""")


class ContrastiveLoss(LossLayer, type="ContrastiveLoss", param="contrastive_loss_param"):
    """1/(2N) sum of d^2 for similar pairs (x2 not 0), of max(margin - d, 0)^2 for others; d = |x0 - x1|."""

    bottoms = exactly(3)
    no_gradient_to = (2,)

    def shapes(self, bottom):
        a, b, similar = bottom
        self.check_same_batch(bottom)
        self.check_same_count(bottom)
        self.pairs = a[0]
        for index, shape in enumerate((a, b)):
            if math.prod(shape[2:]) != 1:
                raise self.error(f"bottom {index}: must have shape (N, C), or ones behind, got {shape}")
        if math.prod(similar[1:]) != 1:
            raise self.error(f"bottom 2: must have one number for each pair, shape ({a[0]},), got {similar}")
        self.channels = math.prod(a[1:])
        scratch = {"square": ((self.pairs,), None), "partial": ((self.pairs,), np.float64)}
        return Shapes(top=[()], scratch=scratch)

    def settings(self):
        """What both kernels are told: margin, version, and the sizes."""
        return self.param.margin, int(self.param.legacy_version), self.channels, self.pairs

    def forward(self, bottom, top):
        pair_loss(*(x.data for x in bottom), *self.settings(), self.square, self.partial)
        ops.finish_sum(self.partial, self.pairs, 0.5 / max(1, self.pairs), top[0].data)

    def backward(self, top, propagate_down, bottom):
        inputs = *(x.data for x in bottom), self.square, top[0].diff
        for sign, blob, wanted in zip((1, -1), bottom, propagate_down):
            if wanted:
                pair_loss_grad(*inputs, sign / max(1, self.pairs), *self.settings(), blob.diff)
