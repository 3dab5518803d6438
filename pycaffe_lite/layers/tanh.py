"""TanH: y = tanh(x)."""

from __future__ import annotations

from ._elementwise import Elementwise


class TanH(Elementwise, type="TanH", param="tanh_param"):
    """The hyperbolic tangent."""

    formula = "tanh(x)"
    gradient = "dy * (1 - y * y)"
