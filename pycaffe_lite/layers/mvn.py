"""MVN: each channel of each sample (or each sample) less its mean, over its standard deviation."""

from __future__ import annotations

from ..layer import Layer, Shapes
from ._channels import four_axes, see
from ._standardize import standardize, standardize_grad, statistics


class MVN(Layer, type="MVN", param="mvn_param"):
    """y = (x - mean) / (standard deviation + eps), or y = x - mean. The gradient takes eps for 0, as in Caffe.

    The top has at least four axes, as in Caffe: (N, C) becomes (N, C, 1, 1).
    """

    in_place = True
    backward_reads = ("top",)

    def setup(self):
        if not self.param.normalize_variance:
            self.backward_reads = ()

    def shapes(self, bottom):
        (shape,) = bottom
        self.view = see(shape, 0, min(len(shape), 1 if self.param.across_channels else 2))
        return Shapes(top=[four_axes(shape)], scratch=statistics(self.view.channels))

    def forward(self, bottom, top):
        divide, eps = self.param.normalize_variance, self.param.eps
        standardize(
            bottom[0].data,
            0,
            eps,
            divide,
            *self.view,
            top[0].data,
            self.sums,
            self.mean,
            self.variance,
            self.inverse,
        )

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            divide, dy = self.param.normalize_variance, top[0].diff
            y = top[0].data if divide else dy  # not used where nothing is divided
            standardize_grad(y, dy, self.inverse, divide, *self.view, bottom[0].diff, self.sums, self.products)
