"""ELU: y = x where x > 0, else alpha * (exp(x) - 1)."""

from __future__ import annotations

from ..kernel import expression
from ._elementwise import Elementwise

grad_by_input = expression(
    "elu_grad_by_input", "dx", "x dy", "dy * scale * where(x > 0, 1, alpha * exp(x))", "alpha scale"
)


class ELU(Elementwise, type="ELU", param="elu_param"):
    """Exponential linear units; NVIDIA's `lambda` multiplies both branches."""

    formula = "scale * where(x > 0, x, alpha * (exp(x) - 1))"
    gradient = "dy * where(y > 0, scale, y + scale * alpha)"
    constants = "alpha scale"

    def setup(self):
        alpha, scale = self.values()
        if alpha < 0 or scale <= 0:  # then the sign of y is not that of x
            self.run_gradient, self.in_place, self.backward_reads = grad_by_input, False, ("bottom",)

    def values(self):
        return self.param.alpha, getattr(self.param, "lambda")
