"""MultinomialLogisticLoss: minus the log of the probability of the right label, for probabilities."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..kernel import T, kernel
from ..layer import Shapes, exactly
from ._labels import LabelledLayer
from ._loss import LOG_FLOOR, NO_LABEL, LossLayer
from .softmax_with_loss import label_loss


@kernel(
    "prob: T*, label: T*, dloss: T*, scale: T, floor: T, classes: int, rows: int -> dx: T*",
    over="rows",
    work="classes",
)
def probability_grad(i, prob, label, dloss, scale, floor, classes, rows, dx):
    """dx = -scale * dloss / prob at the label of row i, 0 elsewhere."""
    wanted = int(label[i])
    for c in range(classes):
        at = i * classes + c
        dx[at] = -scale * dloss[0] / max(prob[at], floor) if c == wanted else T(0)


probability_grad.cuda("""
    int wanted = (int)label[i];
    for (int c = 0; c < classes; ++c) {
        int at = i * classes + c;
        dx[at] = c == wanted ? -scale * dloss[0] / max(prob[at], floor) : T(0);
    }
""")


class MultinomialLogisticLoss(LabelledLayer, LossLayer, type="MultinomialLogisticLoss"):
    """Mean of -log x0[label], x0 (N, classes) being probabilities; SoftmaxWithLoss is for scores."""

    bottoms = exactly(2)
    no_gradient_to = (1,)

    def shapes(self, bottom):
        probabilities, labels = bottom
        self.check_same_batch(bottom)
        self.rows, self.classes = probabilities[0], math.prod(probabilities[1:])
        self.check_labels(probabilities, labels, self.rows, "1 and on")
        n = ops.blocks(self.rows)
        sums = {"partial": ((n,), np.float64), "valid": ((n,), np.float64), "fault": ((1,), np.int64)}
        return Shapes(top=[()], scratch=sums)

    def forward(self, bottom, top):
        prob, label = bottom
        label_loss(
            prob.data, label.data, LOG_FLOOR, NO_LABEL, self.classes, 1, self.rows,
            self.partial, self.valid, self.fault,
        )  # fmt: skip
        ops.finish_sum(self.partial, len(self.partial), 1 / max(1, self.rows), top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            prob, label = bottom
            scale = 1 / max(1, self.rows)
            probability_grad(prob.data, label.data, top[0].diff, scale, LOG_FLOOR, self.classes, self.rows, prob.diff)
