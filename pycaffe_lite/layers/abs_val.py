"""AbsVal: y = |x|."""

from __future__ import annotations

from ._elementwise import Elementwise


class AbsVal(Elementwise, type="AbsVal"):
    """The absolute value; its gradient at 0 is 0."""

    formula = "fabs(x)"
    gradient = "dy * (where(x > 0, 1, 0) - where(x < 0, 1, 0))"
    diff_in_place = False

    def setup(self):
        self.refuse_in_place()
