"""What the losses share: LossParameter's normalisation and ignore_label."""

from __future__ import annotations

from typing import Any

from ..kernel import kernel
from ..layer import Layer
from ..proto import caffe_pb2

MODES = caffe_pb2.LossParameter
NO_LABEL = -(2**31)  # stands for "no ignore_label": no label can be it


@kernel("partial: double*, valid: double*, fixed: double, blocks: int -> normalizer: double*, loss: T*", over="1", work="blocks")
def finish_loss(i, partial, valid, fixed, blocks, normalizer, loss):
    """loss = sum of partial / max(1, normalizer); the normalizer is `fixed`, or the valid count if that is below 0."""
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
