"""Sigmoid: y = 1 / (1 + exp(-x))."""

from __future__ import annotations

from ._elementwise import Elementwise


class Sigmoid(Elementwise, type="Sigmoid", param="sigmoid_param"):
    """y = 1 / (1 + exp(-x)), written as Caffe does so that nothing overflows."""

    formula = "0.5 * tanh(0.5 * x) + 0.5"
    gradient = "dy * y * (1 - y)"
