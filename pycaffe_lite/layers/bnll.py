"""BNLL: y = log(1 + exp(x)), the binomial normal log likelihood."""

from __future__ import annotations

from ._elementwise import Elementwise


class BNLL(Elementwise, type="BNLL"):
    """A smooth ReLU (softplus), written so that nothing overflows."""

    formula = "where(x > 0, x, 0) + log1p(exp(-fabs(x)))"
    gradient = "dy / (1 + exp(-x))"
