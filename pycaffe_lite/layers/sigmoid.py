"""Sigmoid: y = 1 / (1 + exp(-x))."""

from __future__ import annotations

from ._elementwise import Elementwise


class Sigmoid(Elementwise, type="Sigmoid", param="sigmoid_param"):
    """y = 1 / (1 + exp(-x)); where exp overflows, 0 is right."""

    formula = "1 / (1 + exp(-x))"
    gradient = "dy * y * (1 - y)"
