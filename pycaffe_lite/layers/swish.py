"""Swish: y = x * sigmoid(beta * x)."""

from __future__ import annotations

from ._elementwise import Elementwise

SIGMOID = "(1 / (1 + exp(0 - beta * x)))"


class Swish(Elementwise, type="Swish", param="swish_param"):
    """Between x / 2 (beta 0) and ReLU (large beta)."""

    formula = f"x * {SIGMOID}"
    gradient = f"dy * {SIGMOID} * (1 + beta * x * (1 - {SIGMOID}))"
    constants = "beta"

    def values(self):
        return (self.param.beta,)
