"""Exp: y = base ^ (shift + scale * x)."""

from __future__ import annotations

from ._base import log_base
from ._elementwise import Elementwise


class Exp(Elementwise, type="Exp", param="exp_param"):
    """A power of `base`, by default of e."""

    formula = "exp(inner * x + offset)"
    gradient = "dy * y * inner"
    constants = "inner offset"

    def setup(self):
        self.log_base = log_base(self)

    def values(self):
        return self.log_base * self.param.scale, self.log_base * self.param.shift
