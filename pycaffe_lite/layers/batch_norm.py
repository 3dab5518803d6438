"""BatchNorm: each channel less its mean, over its standard deviation, of the batch or as learnt from many."""

from __future__ import annotations

from math import sqrt

from ..kernel import T, kernel
from ..layer import Layer, Param, Shapes
from ..proto import caffe_pb2
from ._channels import affine_channels, affine_channels_grad, filler_or, see
from ._standardize import standardize, standardize_grad, statistics


@kernel(
    "mean: T*, variance: T*, fraction: double, unbias: double, channels: int -> means: T*, variances: T*, weight: T*",
    over="channels",
)
def add_statistics(c, mean, variance, fraction, unbias, channels, means, variances, weight):
    """Fade the sums of means and of variances, and their weight, by `fraction`, and add this batch's."""
    means[c] = T(means[c] * fraction + mean[c])
    variances[c] = T(variances[c] * fraction + variance[c] * unbias)
    if c == 0:
        weight[0] = T(weight[0] * fraction + 1)


add_statistics.cuda("""
    means[i] = means[i] * fraction + mean[i];
    variances[i] = variances[i] * fraction + variance[i] * unbias;
    if (i == 0) weight[0] = weight[0] * fraction + 1;
""")


@kernel(
    "means: T*, variances: T*, weight: T*, eps: double, channels: int -> mean: T*, inverse: T*",
    over="channels",
)
def use_statistics(c, means, variances, weight, eps, channels, mean, inverse):
    """The learnt mean, and 1 / the learnt standard deviation; sums without weight count as 0, as in Caffe."""
    part = 0.0 if weight[0] == 0 else 1.0 / weight[0]
    mean[c] = T(means[c] * part)
    inverse[c] = T(1 / sqrt(variances[c] * part + eps))


use_statistics.cuda("""
    double part = weight[0] == 0 ? 0 : 1.0 / weight[0];
    mean[i] = means[i] * part;
    inverse[i] = 1 / sqrt(variances[i] * part + eps);
""")


class BatchNorm(Layer, type="BatchNorm", param="batch_norm_param"):
    """In TRAIN by the batch's statistics, which are added to the learnt ones; in TEST by those.

    Statistics are sums (mean, variance) and the weight to divide them by. NVIDIA's `scale_bias` appends
    a Scale layer's work: y = scale * (standardised x) + bias, two more parameters.
    """

    in_place = True
    backward_reads = ("top",)

    def setup(self):
        p = self.param
        self.learnt = p.use_global_stats if p.HasField("use_global_stats") else self.phase == caffe_pb2.TEST
        self.scaled = p.scale_bias or p.HasField("scale_filler") or p.HasField("bias_filler")
        if self.learnt or self.scaled:
            self.backward_reads = ()

    def shapes(self, bottom):
        (shape,) = bottom
        if not shape:
            raise self.error("bottom: must have at least 1 axis, got a scalar")
        self.view = see(shape, 1, min(2, len(shape)))
        channels = (self.view.channels,)
        params = [Param(size, statistic=True) for size in (channels, channels, (1,))]
        scratch = statistics(*channels) | {"zeros": (channels, None), "unwanted": (channels, None)}
        if self.scaled:
            params += [
                Param(channels, filler_or(self.param, "scale_filler", 1)),
                Param(channels, self.param.bias_filler),
            ]
            scratch["standard"] = (shape, None)
        return Shapes(top=bottom, params=params, scratch=scratch)

    def forward(self, bottom, top):
        x, y = bottom[0].data, self.standard if self.scaled else top[0].data
        if not bottom[0].count:
            return  # an empty batch has no statistics
        if self.learnt:
            means, variances, weight = (p.data for p in self.params[:3])
            use_statistics(means, variances, weight, self.param.eps, self.view.channels, self.mean, self.inverse)
            affine_channels(x, self.mean, self.inverse, self.zeros, *self.view, y)
        else:
            standardize(x, self.param.eps, 0, True, *self.view, y, self.sums, self.mean, self.variance, self.inverse)
            self.learn()
        if self.scaled:
            scale, bias = (p.data for p in self.params[3:])
            affine_channels(y, self.zeros, scale, bias, *self.view, top[0].data)

    def learn(self):
        """Add the batch's statistics to the learnt ones, the variance unbiased."""
        count = self.view.outer * self.view.inner
        add_statistics(
            self.mean, self.variance, self.param.moving_average_fraction, count / max(1, count - 1),
            self.view.channels, *(p.data for p in self.params[:3]),
        )  # fmt: skip

    def backward(self, top, propagate_down, bottom):
        dy, dx, y = top[0].diff, bottom[0].diff if propagate_down[0] else None, top[0].data
        if self.scaled:
            scale, bias = self.params[3:]
            affine_channels_grad(
                self.standard, dy, scale.data, propagate_down[0], *self.view,
                dx, scale.diff if self.learns(3) else self.unwanted, bias.diff if self.learns(4) else self.unwanted,
            )  # fmt: skip
            dy, y = dx, self.standard
        if propagate_down[0] and self.learnt:
            affine_channels(dy, self.zeros, self.inverse, self.zeros, *self.view, dx)
        elif propagate_down[0]:
            standardize_grad(y, dy, self.inverse, True, *self.view, dx, self.sums, self.products)
