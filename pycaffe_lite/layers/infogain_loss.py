"""InfogainLoss: log loss in which a matrix H says how much each label cares about each class."""

from __future__ import annotations

import math
from math import log

import numpy as np

from .. import ops
from ..errors import CaffeError
from ..formats.blobproto import to_array
from ..kernel import kernel
from ..layer import Shapes, between
from ..ops import BLOCK, block_sum
from ..paths import find_path
from ..proto import BlobProto, binary
from ._labels import LabelledLayer
from ._loss import LOG_FLOOR, LossLayer, finish_loss, fixed_normalizer, ignored_label, mode_of
from .softmax import softmax


@kernel(
    "prob: T*, label: T*, h: T*, floor: double, ignore: int, channels: int, inner: int, count: int"
    " -> partial: double*, valid: double*, fault: long*",
    over=ops.BLOCKS,
    work="4096 * 10 * channels",
)
def infogain_loss(i, prob, label, h, floor, ignore, channels, inner, count, partial, valid, fault):
    """Sums of -(row of H for the label) . log(prob), and of valid labels, over block i of the labels."""
    total = 0.0
    counted = 0.0
    for j in range(i * BLOCK, min(count, (i + 1) * BLOCK)):
        wanted = int(label[j])
        if wanted == ignore:
            continue
        if wanted < 0 or wanted >= channels:
            fault[0] = j + 1
            continue
        start = (j // inner) * channels * inner + j % inner
        for c in range(channels):
            p = prob[start + c * inner]
            total -= h[wanted * channels + c] * (log(max(p, floor)) if p == p else p)
        counted += 1
    partial[i] = block_sum(total)
    valid[i] = block_sum(counted)


infogain_loss.cuda(
    """
    double total = 0, counted = 0;
    for (int j = i * BLOCK + threadIdx.x; j < min(count, (i + 1) * BLOCK); j += blockDim.x) {
        int wanted = (int)label[j];
        if (wanted == ignore) continue;
        if (wanted < 0 || wanted >= channels) { fault[0] = j + 1; continue; }
        const T* column = prob + j / inner * channels * inner + j % inner;
        for (int c = 0; c < channels; ++c) {
            T p = column[c * inner];
            total -= h[wanted * channels + c] * (p == p ? log(max((double)p, floor)) : p);
        }
        counted += 1;
    }
    total = block_sum(total); counted = block_sum(counted);
    if (threadIdx.x == 0) { partial[i] = total; valid[i] = counted; }
    """,
    block=ops.THREADS,
)


@kernel(
    "prob: T*, label: T*, h: T*, dloss: T*, normalizer: double*, ignore: int, channels: int, inner: int, "
    "count: int -> dx: T*",
    work="4 * channels",
)
def infogain_loss_grad(i, prob, label, h, dloss, normalizer, ignore, channels, inner, count, dx):
    """dx = (prob * the sum of H's row for the label - that row) * dloss / normalizer in column i."""
    wanted = int(label[i])
    start = (i // inner) * channels * inner + i % inner
    if wanted == ignore or wanted < 0 or wanted >= channels:
        for c in range(channels):
            dx[start + c * inner] = 0
        return
    scale = dloss[0] / normalizer[0]
    gain = h[0] * 0
    for c in range(channels):
        gain += h[wanted * channels + c]
    for c in range(channels):
        at = start + c * inner
        dx[at] = (prob[at] * gain - h[wanted * channels + c]) * scale


infogain_loss_grad.cuda("""
    int wanted = (int)label[i], start = i / inner * channels * inner + i % inner;
    if (wanted == ignore || wanted < 0 || wanted >= channels) {
        for (int c = 0; c < channels; ++c) dx[start + c * inner] = 0;
        return;
    }
    T scale = dloss[0] / normalizer[0], gain = 0;
    for (int c = 0; c < channels; ++c) gain += h[wanted * channels + c];
    for (int c = 0; c < channels; ++c) {
        int at = start + c * inner;
        dx[at] = (prob[at] * gain - h[wanted * channels + c]) * scale;
    }
""")


class InfogainLoss(LabelledLayer, LossLayer, type="InfogainLoss", param="infogain_loss_param"):
    """-H[label] . log(softmax(x0)), averaged over labels x1; H is x2 or a file. Second top: the softmax."""

    bottoms, tops = between(2, 3), between(1, 2)
    backward_reads = ("bottom", "top")
    no_gradient_to = (1, 2)

    def setup(self):
        if self.message.loss_param.HasField("normalize"):
            raise self.error("loss_param.normalize: this type takes only its successor, loss_param.normalization")
        self.ignore, self.mode = ignored_label(self), mode_of(self)
        if len(self.message.bottom) < 3 and not self.param.source:
            raise self.error("infogain_loss_param.source: must name the file of H when there is no third bottom")

    def shapes(self, bottom):
        scores, labels, *h = bottom
        self.check_same_batch(bottom[:2])
        axis = self.axis(self.param.axis, scores, "infogain_loss_param.axis")
        outer, self.classes, inner = math.prod(scores[:axis]), scores[axis], math.prod(scores[axis + 1 :])
        self.check_labels(scores, labels, outer * inner, axis)
        self.columns, self.fixed = (outer, self.classes, inner), fixed_normalizer(self.mode, outer, inner)
        matrix = None if h else self.read_matrix()
        size = h[0] if h else matrix.shape
        if math.prod(size) != self.classes**2:
            rule = f"must have {self.classes} x {self.classes} values for scores of shape {scores}"
            raise self.error(f"H ({'bottom 2' if h else self.param.source}): {rule}, got shape {size}")
        n = ops.blocks(outer * inner)
        scratch = {
            "partial": ((n,), np.float64), "valid": ((n,), np.float64),
            "normalizer": ((1,), np.float64), "fault": ((1,), np.int64),
        }  # fmt: skip
        if matrix is not None:
            scratch["matrix"] = matrix.astype(self.dtype)
        if len(self.message.top) < 2:
            scratch["prob"] = (scores, None)
        return Shapes(top=[(), scores][: max(1, len(self.message.top))], scratch=scratch)

    def read_matrix(self) -> np.ndarray:
        """H from its file, a BlobProto."""
        path = find_path(self.param.source, self.folder)
        try:
            with open(path, "rb") as file:
                return to_array(binary.decode(file.read(), BlobProto(), path), where=path)
        except (OSError, CaffeError) as error:
            raise self.error(f"infogain_loss_param.source: cannot be read: {error}") from error

    def inputs(self, bottom, top):
        """Probabilities, labels and H."""
        prob = top[1].data if len(top) > 1 else self.prob
        return prob, bottom[1].data, bottom[2].data if len(bottom) > 2 else self.matrix

    def forward(self, bottom, top):
        outer, channels, inner = self.columns
        prob, label, h = self.inputs(bottom, top)
        softmax(bottom[0].data, *self.columns, prob)
        infogain_loss(
            prob, label, h, LOG_FLOOR, self.ignore, channels, inner, outer * inner,
            self.partial, self.valid, self.fault,
        )  # fmt: skip
        finish_loss(self.partial, self.valid, self.fixed, len(self.partial), self.normalizer, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            outer, channels, inner = self.columns
            infogain_loss_grad(
                *self.inputs(bottom, top), top[0].diff, self.normalizer,
                self.ignore, channels, inner, outer * inner, bottom[0].diff,
            )  # fmt: skip
