"""What a layer costs: multiply-adds, and the other arithmetic operations, of one forward pass.

A multiply-add is one element of a matrix product or convolution, as papers count them (zeros of the
padding included); everything else is counted in operations an element. FLOPs are twice the first plus
the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """Multiply-adds and other operations of one forward pass."""

    multiply_adds: int = 0
    others: int = 0

    @property
    def flops(self) -> int:
        return 2 * self.multiply_adds + self.others


def cost(node: Any) -> Cost:
    """The cost of a layer in its place (a Node of a Graph)."""
    kind = node.layer.type
    if kind in PRODUCTS:
        return PRODUCTS[kind](node)
    count = node.top[0].count if node.top else 0
    if kind in PER_ELEMENT:
        return Cost(others=PER_ELEMENT[kind] * count)
    if kind in OTHERS:
        return Cost(others=OTHERS[kind](node))
    return Cost()


def convolution(node: Any) -> Cost:
    """Every output takes one filter's weights; a bias is one addition more."""
    weight = node.layer.blobs[0]
    outputs = sum(top.count for top in node.top)
    biased = len(node.layer.blobs) > 1
    return Cost(outputs * weight.count // max(1, weight.shape[0]), outputs * biased)


def deconvolution(node: Any) -> Cost:
    """Every input is spread with one filter's weights."""
    weight = node.layer.blobs[0]
    inputs, outputs = sum(b.count for b in node.bottom), sum(t.count for t in node.top)
    return Cost(inputs * weight.count // max(1, weight.shape[0]), outputs * (len(node.layer.blobs) > 1))


def inner_product(node: Any) -> Cost:
    """Rows of the bottom times the weight matrix."""
    weight, outputs = node.layer.blobs[0], node.top[0].count
    rows = outputs // max(1, node.layer.message.inner_product_param.num_output)
    return Cost(rows * weight.count, outputs * (len(node.layer.blobs) > 1))


def recurrent(node: Any) -> Cost:
    """The weight matrices, once for every time step and stream (a static input only once a stream)."""
    steps, streams = node.bottom[0].shape[:2]
    matrices = [b.count for b in node.layer.blobs if len(b.shape) == 2]
    static = matrices.pop(1) if len(matrices) > (2 if node.layer.type == "LSTM" else 3) else 0
    return Cost(streams * (steps * sum(matrices) + static), 10 * node.top[0].count)


def pooling(node: Any) -> int:
    """One comparison or addition for each element of each window."""
    p, (height, width) = node.layer.message.pooling_param, node.bottom[0].shape[-2:]
    if p.global_pooling:
        return node.bottom[0].count
    return node.top[0].count * min((p.kernel_h or p.kernel_size) * (p.kernel_w or p.kernel_size), height * width)


def normalization(node: Any) -> int:
    """LRN: a square, a sum over the neighbours, a power and a product for each element."""
    p = node.layer.message.lrn_param
    neighbours = p.local_size**2 if p.norm_region == p.WITHIN_CHANNEL else p.local_size
    return node.top[0].count * (neighbours + 4)


def eltwise(node: Any) -> int:
    """One operation for each further bottom."""
    return node.top[0].count * (len(node.bottom) - 1)


def per_bottom(node: Any) -> int:
    """One operation for each element of the first bottom."""
    return node.bottom[0].count


PRODUCTS: dict[str, Callable[[Any], Cost]] = {
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    "InnerProduct": inner_product,
    "RNN": recurrent,
    "LSTM": recurrent,
}
# Operations for each element of the (first) top
PER_ELEMENT = {
    "ReLU": 1, "PReLU": 2, "ELU": 3, "Sigmoid": 4, "TanH": 5, "Swish": 5, "BNLL": 4, "AbsVal": 1, "Exp": 2, "Log": 2,
    "Power": 3, "Clip": 2, "Threshold": 1, "Scale": 2, "Bias": 1, "BatchNorm": 2, "MVN": 6, "Softmax": 4,
    "LSTMUnit": 10,
}  # fmt: skip
OTHERS: dict[str, Callable[[Any], int]] = {
    "Pooling": pooling,
    "LRN": normalization,
    "Eltwise": eltwise,
    "Reduction": per_bottom,
    "SoftmaxWithLoss": lambda node: 5 * node.bottom[0].count,
    "SigmoidCrossEntropyLoss": lambda node: 6 * node.bottom[0].count,
    "EuclideanLoss": lambda node: 3 * math.prod(node.bottom[0].shape),
}
