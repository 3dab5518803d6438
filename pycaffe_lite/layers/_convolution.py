"""What Convolution, Deconvolution and Im2col share: ConvolutionParameter read, checked and spread over the axes."""

from __future__ import annotations

import math

from .. import ops
from ..layer import Layer, Param, Shapes, at_least


class ConvolutionBase(Layer):
    """N bottoms to N tops with the same weights; any number of spatial axes behind the channel axis."""

    bottoms = tops = at_least(1)
    same_count = True
    backward_reads = ("bottom",)
    overwrites = (0,)

    def setup(self):
        p = self.param
        if p.num_output < 1:
            raise self.error(f"convolution_param.num_output: must be at least 1, got {p.num_output}")
        if p.group < 1:
            raise self.error(f"convolution_param.group: must be at least 1, got {p.group}")

    def spread(self, name: str, axes: int, default: int | None, low: int, plain: str | None = None) -> tuple[int, ...]:
        """One number per spatial axis, from the repeated field or, with two axes, from its `_h` and `_w`."""
        p, plain = self.param, plain or name
        given = list(getattr(p, plain))
        pair = [f"{name}_{side}" for side in "hw"]
        if name != "dilation" and any(p.HasField(field) for field in pair):
            if given:
                raise self.error(f"convolution_param: give {plain} or {pair[0]} and {pair[1]}, not both")
            if axes != 2:
                raise self.error(f"convolution_param.{pair[0]}: only for 2 spatial axes, got {axes}; use {plain}")
            if name != "pad" and not all(p.HasField(field) for field in pair):  # Caffe takes 0 for what is not given
                raise self.error(f"convolution_param: {pair[0]} and {pair[1]} must be given together")
            values = [getattr(p, field) if p.HasField(field) else default for field in pair]
        elif not given and default is None:
            raise self.error(f"convolution_param.{plain}: must be given")
        elif len(given) not in (0, 1, axes):
            raise self.error(
                f"convolution_param.{plain}: give it once, or {axes} times (once per spatial axis), got {len(given)}"
            )
        else:
            values = given if len(given) == axes else (given or [default]) * axes
        if any(v < low for v in values):
            raise self.error(f"convolution_param.{plain}: must be at least {low}, got {values}")
        return tuple(values)

    def read_geometry(self, bottom) -> tuple[int, tuple[int, ...], int, tuple[int, ...]]:
        """Check the bottoms; sets kernel, stride, pad, dilation. Returns batch, leading axes, channels, size."""
        shape = bottom[0]
        for index, other in enumerate(bottom):
            if other != shape:
                raise self.error(f"all bottoms must have one shape, got {shape} and (bottom {index}) {other}")
        axis = self.axis(self.param.axis, shape, "convolution_param.axis")
        size = shape[axis + 1 :]
        if not all(shape[axis:]):
            raise self.error(f"bottom: only the batch may be empty, not channels or space, got shape {shape}")
        self.kernel = self.spread("kernel", len(size), None, 1, "kernel_size")
        self.stride = self.spread("stride", len(size), 1, 1)
        self.pad = self.spread("pad", len(size), 0, 0)
        self.dilation = self.spread("dilation", len(size), 1, 1)
        return math.prod(shape[:axis]), shape[:axis], shape[axis], size

    def check_groups(self, channels: int) -> None:
        for what, count in (("the channels of the bottom", channels), ("num_output", self.param.num_output)):
            if count % self.param.group:
                raise self.error(f"convolution_param.group: must divide {what} {count}, got {self.param.group}")

    def parameters(self, weight: tuple[int, ...]) -> list[Param]:
        made = [Param(weight, self.param.weight_filler)]
        if self.param.bias_term:
            made.append(Param((self.param.num_output,), self.param.bias_filler))
        return made

    def check_fit(self, size: tuple[int, ...]) -> None:
        """Refuse a kernel that does not fit into its padded input."""
        for axis, (length, k, d, pad) in enumerate(zip(size, self.kernel, self.dilation, self.pad)):
            extent = d * (k - 1) + 1
            if extent > length + 2 * pad:
                field = "kernel_size" if self.param.kernel_size else ("kernel_h", "kernel_w")[axis]
                dilated = f" ({k} dilated by {d})" if d > 1 else ""
                raise self.error(
                    f"convolution_param.{field}: kernel of {extent}{dilated} is larger than its input: spatial "
                    f"axis {axis} has {length}, with pad {pad} on both sides {length + 2 * pad}"
                )

    def geometry(self, batch: int, channels: int, size: tuple[int, ...], outputs: int) -> ops.Convolution:
        engine = type(self.param).Engine.Name(self.param.engine)
        windows = self.kernel, self.stride, self.pad, self.dilation
        return ops.Convolution(batch, channels, size, outputs, *windows, self.param.group, engine)

    def shapes(self, bottom) -> Shapes:
        raise NotImplementedError
