"""HingeLoss: every wrong score should stay below -1, and the right one above 1."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..kernel import T, kernel
from ..layer import Shapes, exactly
from ..proto import caffe_pb2
from ._labels import LabelledLayer
from ._loss import LossLayer

SQUARED = caffe_pb2.HingeLossParameter.L2


@kernel(
    "x: T*, label: T*, squared: int, classes: int, rows: int -> partial: double*, fault: long*",
    over="rows",
    work="4 * classes",
)
def hinge_loss(i, x, label, squared, classes, rows, partial, fault):
    """partial[i] = the sum of max(0, 1 + x), or of its square, over row i; the label's x counts as -x."""
    wanted = int(label[i])
    total = 0.0
    if wanted < 0 or wanted >= classes:
        fault[0] = i + 1
    for c in range(classes):
        value = x[i * classes + c]
        margin = max(T(0), T(1) + (-value if c == wanted else value))
        total += margin * margin if squared != 0 else margin
    partial[i] = total


hinge_loss.cuda("""
    int wanted = (int)label[i];
    double total = 0;
    if (wanted < 0 || wanted >= classes) fault[0] = i + 1;
    for (int c = 0; c < classes; ++c) {
        T value = x[i * classes + c], margin = max(T(0), T(1) + (c == wanted ? -value : value));
        total += squared ? margin * margin : margin;
    }
    partial[i] = total;
""")


@kernel(
    "x: T*, label: T*, dloss: T*, scale: T, squared: int, classes: int, rows: int -> dx: T*",
    over="rows",
    work="4 * classes",
)
def hinge_loss_grad(i, x, label, dloss, scale, squared, classes, rows, dx):
    """dx = the sign of what x is in the margin, times 2 margin if squared, times scale * dloss."""
    wanted = int(label[i])
    for c in range(classes):
        value = x[i * classes + c]
        sign = T(-1) if c == wanted else T(1)
        margin = max(T(0), T(1) + sign * value)
        slope = T(2) * margin if squared != 0 else (T(1) if margin > 0 else T(0))
        dx[i * classes + c] = sign * slope * scale * dloss[0]


hinge_loss_grad.cuda("""
    int wanted = (int)label[i];
    for (int c = 0; c < classes; ++c) {
        T sign = c == wanted ? T(-1) : T(1), margin = max(T(0), T(1) + sign * x[i * classes + c]);
        T slope = squared ? T(2) * margin : margin > 0 ? T(1) : T(0);
        dx[i * classes + c] = sign * slope * scale * dloss[0];
    }
""")


class HingeLoss(LabelledLayer, LossLayer, type="HingeLoss", param="hinge_loss_param"):
    """One-against-all hinge loss of scores x0 (N, classes) for labels x1, or its square, over N."""

    bottoms = exactly(2)
    no_gradient_to = (1,)

    def shapes(self, bottom):
        scores, labels = bottom
        self.check_same_batch(bottom)
        self.rows, self.classes = scores[0], math.prod(scores[1:])
        self.check_labels(scores, labels, self.rows, "1 and on")
        return Shapes(top=[()], scratch={"partial": ((self.rows,), np.float64), "fault": ((1,), np.int64)})

    def forward(self, bottom, top):
        x, label = bottom
        squared = int(self.param.norm == SQUARED)
        hinge_loss(x.data, label.data, squared, self.classes, self.rows, self.partial, self.fault)
        ops.finish_sum(self.partial, self.rows, 1 / max(1, self.rows), top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            x, label = bottom
            squared = int(self.param.norm == SQUARED)
            hinge_loss_grad(
                x.data,
                label.data,
                top[0].diff,
                1 / max(1, self.rows),
                squared,
                self.classes,
                self.rows,
                x.diff,
            )
