"""What the losses share: checks of their bottoms, LossParameter's normalisation and ignore_label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..kernel import kernel
from ..layer import Layer
from ..proto import caffe_pb2

MODES = caffe_pb2.LossParameter
NO_LABEL = -(2**31)  # stands for "no ignore_label": no label can be it
LOG_FLOOR = 1e-20  # Caffe's kLOG_THRESHOLD: the smallest probability that a logarithm is taken of


class LossLayer(Layer):
    """A layer whose top is a loss: a scalar with loss weight 1, unless the prototxt says otherwise."""

    is_loss = True
    backward_reads = ("bottom",)

    def check_same_batch(self, bottom: Sequence[tuple[int, ...]]) -> None:
        """Refuse bottoms that do not all have the same first axis."""
        if () in bottom:
            raise self.error(f"bottoms: must have a first axis, the batch, got shapes {listed(bottom)}")
        if any(shape[0] != bottom[0][0] for shape in bottom):
            raise self.error(f"bottoms: must have the same first axis, got shapes {listed(bottom)}")

    def check_same_count(self, bottom: Sequence[tuple[int, ...]]) -> None:
        """Refuse two first bottoms of different counts."""
        if math.prod(bottom[0]) != math.prod(bottom[1]):
            raise self.error(f"bottoms: must have the same count, got shapes {listed(bottom[:2])}")


def listed(shapes: Sequence[tuple[int, ...]]) -> str:
    """Shapes in words: "(2, 3), (2, 1) and (2,)"."""
    *most, last = map(str, shapes)
    return f"{', '.join(most)} and {last}"


@kernel(
    "partial: double*, valid: double*, fixed: double, blocks: int -> normalizer: double*, loss: T*",
    over="1",
    work="blocks",
)
def finish_loss(i, partial, valid, fixed, blocks, normalizer, loss):
    """loss = sum of partial / max(1, normalizer), which is `fixed`, or the valid count if that is below 0."""
    total = 0.0
    counted = 0.0
    for block in range(blocks):
        total += partial[block]
        counted += valid[block]
    normalizer[0] = max(1.0, fixed if fixed >= 0 else counted)
    loss[0] = total / normalizer[0]


finish_loss.cuda("""
    double total = 0, counted = 0;
    for (int b = 0; b < blocks; ++b) { total += partial[b]; counted += valid[b]; }
    normalizer[0] = max(1.0, fixed >= 0 ? fixed : counted);
    loss[0] = total / normalizer[0];
""")


def mode_of(layer: Layer, default: int = MODES.VALID) -> int:
    """The normalisation asked for; the deprecated `normalize: true` means VALID, `false` BATCH_SIZE."""
    param: Any = layer.message.loss_param
    if param.HasField("label_smoothing"):
        raise layer.error("loss_param.label_smoothing: is NVIDIA's, and not supported by caffe-lite")
    if not param.HasField("normalization") and param.HasField("normalize"):
        return MODES.VALID if param.normalize else MODES.BATCH_SIZE
    return param.normalization if param.HasField("normalization") else default


def fixed_normalizer(mode: int, outer: int, inner: int) -> float:
    """The normaliser where it follows from the shape; -1 for VALID, where it is the count of valid labels."""
    return {MODES.FULL: outer * inner, MODES.BATCH_SIZE: outer, MODES.NONE: 1}.get(mode, -1)


def ignored_label(layer: Layer) -> int:
    """loss_param.ignore_label, or a value no label has."""
    param: Any = layer.message.loss_param
    return param.ignore_label if param.HasField("ignore_label") else NO_LABEL
