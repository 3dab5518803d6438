"""Log: y = log(shift + scale * x), to a base."""

from __future__ import annotations

from ._base import log_base
from ._elementwise import Elementwise


class Log(Elementwise, type="Log", param="log_param"):
    """The logarithm to `base`, by default the natural one."""

    formula = "log(shift + scale * x) * factor"
    gradient = "dy * scale * factor / (shift + scale * x)"
    constants = "scale shift factor"

    def setup(self):
        log = log_base(self)
        if log == 0:
            raise self.error("log_param.base: there is no logarithm to the base 1")
        self.factor = 1 / log

    def values(self):
        return self.param.scale, self.param.shift, self.factor
