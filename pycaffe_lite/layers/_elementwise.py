"""Elementwise layers: one formula for y, one for dx, and everything else follows from them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from ..kernel import Kernel, expression
from ..layer import Layer, Shapes


class Elementwise(Layer):
    """A layer y = f(x), element by element.

    `formula` gives y from x, `gradient` gives dx from dy and x or y, both legal in Python and in CUDA C;
    `constants` names the scalars in them, whose values `values()` returns. Which forward values
    backward reads, and whether the layer may work in place, is read off the gradient.
    """

    formula: ClassVar[str]
    gradient: ClassVar[str]
    constants: ClassVar[str] = ""
    run: ClassVar[Kernel]
    run_gradient: ClassVar[Kernel]
    diff_in_place = True

    def __init_subclass__(cls, type: str | None = None, param: str | None = None, **rest: Any):
        super().__init_subclass__(type=type, param=param, **rest)
        if type is None:
            return
        name = re.sub(r"\W", "_", type).lower()
        used = [end for end in ("x", "y") if re.search(rf"\b{end}\b", cls.gradient)]
        cls.backward_reads = tuple({"x": "bottom", "y": "top"}[end] for end in used)
        cls.in_place = "x" not in used
        cls.run = expression(f"{name}_forward", "y", "x", cls.formula, cls.constants)
        cls.run_gradient = expression(f"{name}_grad", "dx", " ".join([*used, "dy"]), cls.gradient, cls.constants)

    def values(self) -> tuple[float, ...]:
        """Values of the constants, in the order in which they are named."""
        return ()

    def shapes(self, bottom):
        return Shapes(top=bottom)

    def forward(self, bottom, top):
        self.run(bottom[0].data, *self.values(), top[0].count, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            kept = [(bottom if end == "bottom" else top)[0].data for end in self.backward_reads]
            self.run_gradient(*kept, top[0].diff, *self.values(), top[0].count, bottom[0].diff)
