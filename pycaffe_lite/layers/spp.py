"""SPP: spatial pyramid pooling, which makes as many values of an image of any size (He et al. 2014)."""

from __future__ import annotations

import math

from .. import ops
from ..layer import Shapes
from ._pooling import PoolingBase, Window


class SPP(PoolingBase, type="SPP", param="spp_param"):
    """(N, C, H, W) to (N, C * (1 + 4 + 16 + ...)): level l pools the image into 2^l by 2^l bins."""

    def setup(self):
        if self.param.pyramid_height < 1:
            raise self.error(f"spp_param.pyramid_height: must be at least 1, got {self.param.pyramid_height}")
        self.setup_method(type(self.param).PoolMethod.Name(self.param.pool))

    def shapes(self, bottom):
        (shape,) = bottom
        if len(shape) != 4 or 0 in shape[2:]:
            raise self.error(f"bottom: must have 4 axes (N, C, H, W), none of them 0, got shape {shape}")
        batch, channels, *size = shape
        self.windows = [self.level(batch * channels, size, 2**level) for level in range(self.param.pyramid_height)]
        pools = [(batch, channels, window.oh, window.ow) for window in self.windows]
        scratch = self.method_scratch(*pools)
        if len(pools) == 1:  # as in Caffe, not flattened
            return Shapes(top=pools, scratch=scratch)
        scratch |= {f"level{number}": (pool, None) for number, pool in enumerate(pools)}
        scratch["part"] = (shape, None)  # of the gradient: what one level adds to it
        self.widths = [math.prod(pool[1:]) for pool in pools]
        return Shapes(top=[(batch, sum(self.widths))], scratch=scratch)

    def level(self, planes: int, size: list[int], bins: int) -> Window:
        """The window that cuts an image into so many bins each way, the padding in front and behind alike."""
        kernel_ = [-(-n // bins) for n in size]
        pad = [(k * bins - n + 1) // 2 for k, n in zip(kernel_, size)]
        for n, k, p in zip(size, kernel_, pad):
            if p >= k:
                raise self.error(
                    f"spp_param.pyramid_height: {self.param.pyramid_height} is too much for an image of {n}: "
                    f"{bins} bins would need pad {p} for a kernel of {k}"
                )
            if p and self.method not in ("MAX", "AVE"):
                raise self.error(
                    f"spp_param.pool: STOCHASTIC cannot pad, so an image must divide into {bins} bins, got {n}"
                )
        return Window(planes, *size, bins, bins, *kernel_, *kernel_, *pad)

    def forward(self, bottom, top):
        x, y = bottom[0].data, top[0].data
        if len(self.windows) == 1:
            self.pool(0, x, self.windows[0], y)
            return
        start, rows, pitch = 0, *y.shape
        for number, (window, width) in enumerate(zip(self.windows, self.widths)):
            pooled = getattr(self, f"level{number}")
            self.pool(number, x, window, pooled)
            ops.copy_rows(pooled, rows, width, 0, width, start, pitch, y)
            start += width

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        x, dx, dy = bottom[0].data, bottom[0].diff, top[0].diff
        if len(self.windows) == 1:
            self.pool_grad(0, x, dy, self.windows[0], dx)
            return
        start, rows, pitch = 0, *dy.shape
        for number, (window, width) in enumerate(zip(self.windows, self.widths)):
            pooled = getattr(self, f"level{number}")
            ops.copy_rows(dy, rows, width, start, pitch, 0, width, pooled)
            self.pool_grad(number, x, pooled, window, self.part if number else dx)
            if number:
                ops.add_to(self.part, bottom[0].count, dx)
            start += width
