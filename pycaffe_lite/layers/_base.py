"""What Exp and Log share: the logarithm of their base."""

from __future__ import annotations

import math

from ..layer import Layer


def log_base(layer: Layer) -> float:
    """log(base), 1 for the base -1, which stands for e; refuses a base without logarithm."""
    base = layer.param.base
    if base == -1:
        return 1.0
    if not 0 < base < math.inf:
        raise layer.error(f"{layer.param_field}.base: must be positive and finite (or -1 for e), got {base:g}")
    return math.log(base)
