"""Accuracy: how often the label is among the top_k scores."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..kernel import kernel
from ..layer import Shapes, between, exactly
from ..ops import block_sum
from ._labels import LabelledLayer
from ._loss import NO_LABEL


@kernel(
    "x: T*, label: T*, top_k: int, ignore: int, channels: int, inner: int, count: int -> hit: int*, fault: long*",
    work="2 * channels",
)
def judge(i, x, label, top_k, ignore, channels, inner, count, hit, fault):
    """hit[i]: 1 if fewer than top_k other scores reach the label's (ties count against), 0 if not, -1 ignored."""
    wanted = int(label[i])
    if wanted == ignore:
        hit[i] = -1
        return
    if wanted < 0 or wanted >= channels:
        hit[i] = -1
        fault[0] = i + 1
        return
    start = (i // inner) * channels * inner + i % inner
    score = x[start + wanted * inner]
    better = -1  # the label's own score is as high as itself
    for c in range(channels):
        if x[start + c * inner] >= score:
            better += 1
    hit[i] = 1 if better < top_k else 0


judge.cuda("""
    int wanted = (int)label[i];
    if (wanted == ignore) { hit[i] = -1; return; }
    if (wanted < 0 || wanted >= channels) { hit[i] = -1; fault[0] = i + 1; return; }
    int start = i / inner * channels * inner + i % inner, better = -1;
    T score = x[start + wanted * inner];
    for (int c = 0; c < channels; ++c) better += x[start + c * inner] >= score;
    hit[i] = better < top_k;
""")


@kernel("hit: int*, count: int -> accuracy: T*", over="1", work="count")
def average_hits(i, hit, count, accuracy):
    """accuracy = hits / labels that are not ignored."""
    right = 0
    counted = 0
    for j in range(count):
        if hit[j] >= 0:
            counted += 1
            right += hit[j]
    accuracy[0] = block_sum(right) / max(block_sum(counted), 1)


average_hits.cuda(
    """
    double right = 0, counted = 0;
    for (int j = threadIdx.x; j < count; j += blockDim.x) if (hit[j] >= 0) { ++counted; right += hit[j]; }
    right = block_sum(right); counted = block_sum(counted);
    if (threadIdx.x == 0) accuracy[0] = right / max(counted, 1.0);
    """,
    block=ops.THREADS,
)


@kernel("hit: int*, label: T*, count: int, channels: int -> per_class: T*", over="channels", work="count")
def average_hits_per_class(c, hit, label, count, channels, per_class):
    """The same for the labels of each class; 0 for a class without labels."""
    right = 0
    counted = 0
    for j in range(count):
        if hit[j] >= 0 and int(label[j]) == c:
            counted += 1
            right += hit[j]
    per_class[c] = right / max(counted, 1)


average_hits_per_class.cuda("""
    int right = 0, counted = 0;
    for (int j = 0; j < count; ++j) if (hit[j] >= 0 && (int)label[j] == i) { ++counted; right += hit[j]; }
    per_class[i] = (T)((double)right / max(counted, 1));
""")


class Accuracy(LabelledLayer, type="Accuracy", param="accuracy_param"):
    """Share of labels (x1) among the top_k scores (x0); a second top gets it for each class."""

    bottoms, tops = exactly(2), between(1, 2)
    backward_reads = ()
    differentiable = False

    def setup(self):
        if self.param.top_k < 1:
            raise self.error(f"accuracy_param.top_k: must be at least 1, got {self.param.top_k}")
        self.ignore = self.param.ignore_label if self.param.HasField("ignore_label") else NO_LABEL

    def shapes(self, bottom):
        scores, labels = bottom
        axis = self.axis(self.param.axis, scores, "accuracy_param.axis")
        self.classes, self.inner = scores[axis], math.prod(scores[axis + 1 :])
        self.count = math.prod(scores[:axis]) * self.inner
        self.check_labels(scores, labels, self.count, axis)
        if self.param.top_k > self.classes:
            raise self.error(
                f"accuracy_param.top_k: must be at most the {self.classes} classes, got {self.param.top_k}"
            )
        tops = [(), (self.classes,)][: len(self.message.top)]
        return Shapes(top=tops, scratch={"hit": ((self.count,), np.int32), "fault": ((1,), np.int64)})

    def forward(self, bottom, top):
        x, label = bottom[0].data, bottom[1].data
        judge(x, label, self.param.top_k, self.ignore, self.classes, self.inner, self.count, self.hit, self.fault)
        average_hits(self.hit, self.count, top[0].data)
        if len(top) > 1:
            average_hits_per_class(self.hit, label, self.count, self.classes, top[1].data)
