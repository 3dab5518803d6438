"""SoftmaxWithLoss: minus the log of the softmax probability of the right label, averaged."""

from __future__ import annotations

import math
from math import exp, log

import numpy as np

from .. import ops
from ..kernel import T, kernel
from ..layer import Shapes, between, exactly
from ..ops import BLOCK, block_sum
from ._labels import LabelledLayer
from ._loss import LossLayer, finish_loss, fixed_normalizer, ignored_label, mode_of
from .softmax import softmax

SMALL = 4096  # scores that one block of threads has done before three launches are over
FLT_MIN = 1.1754943508222875e-38  # Caffe's floor under probabilities: -log of it is the well-known 87.3365


@kernel(
    "prob: T*, label: T*, floor: double, ignore: int, channels: int, inner: int, count: int"
    " -> partial: double*, valid: double*, fault: long*",
    over=ops.BLOCKS,
    work=ops.BLOCK_WORK,
)
def label_loss(i, prob, label, floor, ignore, channels, inner, count, partial, valid, fault):
    """Sums of -log(prob of label, at least `floor`) and of valid labels over block i of the labels."""
    total = 0.0
    counted = 0.0
    for j in range(i * BLOCK, min(count, (i + 1) * BLOCK)):
        wanted = int(label[j])
        if wanted == ignore:
            continue
        if wanted < 0 or wanted >= channels:
            fault[0] = j + 1
            continue
        p = prob[((j // inner) * channels + wanted) * inner + j % inner]
        total -= log(max(p, floor)) if p == p else p
        counted += 1
    partial[i] = block_sum(total)
    valid[i] = block_sum(counted)


label_loss.cuda(
    """
    double total = 0, counted = 0;
    for (int j = i * BLOCK + threadIdx.x; j < min(count, (i + 1) * BLOCK); j += blockDim.x) {
        int wanted = (int)label[j];
        if (wanted == ignore) continue;
        if (wanted < 0 || wanted >= channels) { fault[0] = j + 1; continue; }
        T p = prob[(j / inner * channels + wanted) * inner + j % inner];
        total -= p == p ? log(max((double)p, floor)) : p;
        counted += 1;
    }
    total = block_sum(total); counted = block_sum(counted);
    if (threadIdx.x == 0) { partial[i] = total; valid[i] = counted; }
    """,
    block=ops.THREADS,
)


@kernel(
    "x: T*, label: T*, floor: double, ignore: int, fixed: double, channels: int, inner: int, count: int"
    " -> prob: T*, normalizer: double*, loss: T*, fault: long*",
    over="1",
    work="50 * count * channels",
)
def small_loss(i, x, label, floor, ignore, fixed, channels, inner, count, prob, normalizer, loss, fault):
    """softmax, label_loss and finish_loss in one: for few values three launches cost more than what they compute."""
    total = 0.0
    counted = 0.0
    for j in range(i, count):
        start = (j // inner) * channels * inner + j % inner
        largest = x[start]
        for c in range(1, channels):
            value = x[start + c * inner]
            largest = value if value > largest else largest
        exps = T(0)
        for c in range(channels):
            prob[start + c * inner] = exp(x[start + c * inner] - largest)
            exps += prob[start + c * inner]
        for c in range(channels):
            prob[start + c * inner] /= exps
        wanted = int(label[j])
        if wanted == ignore:
            continue
        if wanted < 0 or wanted >= channels:
            fault[0] = j + 1
            continue
        p = prob[start + wanted * inner]
        total -= log(max(p, floor)) if p == p else p
        counted += 1
    total, counted = block_sum(total), block_sum(counted)
    normalizer[0] = max(1.0, fixed if fixed >= 0 else counted)
    loss[0] = total / normalizer[0]


small_loss.cuda(
    """
    double total = 0, counted = 0;
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
        int start = j / inner * channels * inner + j % inner;
        T largest = x[start], exps = 0;
        for (int c = 1; c < channels; ++c) largest = max(largest, x[start + c * inner]);
        for (int c = 0; c < channels; ++c) exps += prob[start + c * inner] = exp(x[start + c * inner] - largest);
        for (int c = 0; c < channels; ++c) prob[start + c * inner] /= exps;
        int wanted = (int)label[j];
        if (wanted == ignore) continue;
        if (wanted < 0 || wanted >= channels) { fault[0] = j + 1; continue; }
        T p = prob[start + wanted * inner];
        total -= p == p ? log(max((double)p, floor)) : p;
        counted += 1;
    }
    total = block_sum(total); counted = block_sum(counted);
    if (threadIdx.x > 0) return;
    normalizer[0] = max(1.0, fixed >= 0 ? fixed : counted);
    loss[0] = total / normalizer[0];
    """,
    block=ops.THREADS,
)


@kernel(
    "prob: T*, label: T*, dloss: T*, normalizer: double*, ignore: int, channels: int, inner: int, count: int -> dx: T*",
    work="4 * channels",
)
def label_loss_grad(i, prob, label, dloss, normalizer, ignore, channels, inner, count, dx):
    """dx = (prob - [channel is the label]) * dloss / normalizer in column i; 0 where the label is ignored."""
    wanted = int(label[i])
    scale = dloss[0] / normalizer[0]
    start = (i // inner) * channels * inner + i % inner
    for c in range(channels):
        at = start + c * inner
        hit = 1 if c == wanted else 0
        dx[at] = 0 if wanted == ignore else (prob[at] - hit) * scale


label_loss_grad.cpu("losses", "label_loss_grad")
label_loss_grad.cuda("""
    int wanted = (int)label[i], start = i / inner * channels * inner + i % inner;
    T scale = dloss[0] / normalizer[0];
    for (int c = 0; c < channels; ++c) {
        int at = start + c * inner;
        dx[at] = wanted == ignore ? (T)0 : (prob[at] - (c == wanted)) * scale;
    }
""")


class SoftmaxWithLoss(LabelledLayer, LossLayer, type="SoftmaxWithLoss", param="softmax_param"):
    """Multinomial logistic loss of softmax(x0) for labels x1; a second top gets the probabilities."""

    bottoms, tops = exactly(2), between(1, 2)
    backward_reads = ("bottom", "top")
    no_gradient_to = (1,)

    def setup(self):
        self.ignore, self.mode = ignored_label(self), mode_of(self)

    def shapes(self, bottom):
        scores, labels = bottom
        self.check_same_batch(bottom)
        axis = self.axis(self.param.axis, scores, "softmax_param.axis")
        outer, self.classes, inner = math.prod(scores[:axis]), scores[axis], math.prod(scores[axis + 1 :])
        self.check_labels(scores, labels, outer * inner, axis)
        self.columns, self.fixed = (outer, self.classes, inner), fixed_normalizer(self.mode, outer, inner)
        n = ops.blocks(outer * inner)
        scratch = {
            "partial": ((n,), np.float64), "valid": ((n,), np.float64),
            "normalizer": ((1,), np.float64), "fault": ((1,), np.int64),
        }  # fmt: skip
        if len(self.message.top) < 2:
            scratch["prob"] = (scores, None)
        return Shapes(top=[(), scores][: max(1, len(self.message.top))], scratch=scratch)

    def probabilities(self, top):
        return top[1].data if len(top) > 1 else self.prob

    def forward(self, bottom, top):
        outer, channels, inner = self.columns
        prob = self.probabilities(top)
        if outer * channels * inner <= SMALL:
            small_loss(
                bottom[0].data, bottom[1].data, FLT_MIN, self.ignore, self.fixed, channels, inner, outer * inner,
                prob, self.normalizer, top[0].data, self.fault,
            )  # fmt: skip
            return
        softmax(bottom[0].data, *self.columns, prob)
        label_loss(
            prob, bottom[1].data, FLT_MIN, self.ignore, channels, inner, outer * inner,
            self.partial, self.valid, self.fault,
        )  # fmt: skip
        finish_loss(self.partial, self.valid, self.fixed, len(self.partial), self.normalizer, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        outer, channels, inner = self.columns
        label_loss_grad(
            self.probabilities(top), bottom[1].data, top[0].diff, self.normalizer,
            self.ignore, channels, inner, outer * inner, bottom[0].diff,
        )  # fmt: skip
