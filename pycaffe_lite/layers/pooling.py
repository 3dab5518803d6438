"""Pooling: the maximum or the mean of each sliding window, or a value drawn from it."""

from __future__ import annotations

import math

import numpy as np

from ..kernel import kernel
from ..layer import Shapes, between
from ._pooling import POOL, PoolingBase, Window, write_mask

PAIRS = {"kernel_size": ("kernel_h", "kernel_w"), "stride": ("stride_h", "stride_w"), "pad": ("pad_h", "pad_w")}


@kernel("argmax: int*, inside: int*, planes: int, h: int, w: int, size: int, count: int -> mask: int*", work="2")
def compose_mask(i, argmax, inside, planes, h, w, size, count, mask):
    """The place of a maximum in its volume, from the slice it is in and its place in that slice of `size`."""
    at = argmax[i]
    plane = i // (count // planes)
    below = inside[plane * h * w + at] if at >= 0 else -1
    mask[i] = at // w * size + below if below >= 0 else -1


compose_mask.cuda("""
    int at = argmax[i], plane = i / (count / planes);
    int below = at >= 0 ? inside[plane * h * w + at] : -1;
    mask[i] = below >= 0 ? at / w * size + below : -1;
""")


class Pooling(PoolingBase, type="Pooling", param="pooling_param"):
    """(N, C, size...) to (N, C, size'...), size' rounded up unless round_mode is FLOOR. Second top: MAX's mask.

    Windows of more than two axes are pooled in passes: a maximum of maxima, a mean of means.
    """

    tops = between(1, 2)

    def setup(self):
        p = self.param
        method = POOL.PoolMethod.Name(p.pool)
        self.setup_method(method)
        if len(self.message.top) > 1 and method != "MAX":
            raise self.error(f"the second top is the mask of MAX pooling, and there is none for {method}")
        for one, pair in PAIRS.items():
            given = [name for name in (one, *pair) if p.HasField(name)]
            if one == "kernel_size" and p.global_pooling:
                if given:
                    raise self.error(f"pooling_param: with global_pooling, no kernel can be given, got {given[0]}")
            elif given not in ([], [one], list(pair)):
                raise self.error(
                    f"pooling_param: give {one}, or both {pair[0]} and {pair[1]}, got {' and '.join(given)}"
                )
            elif one == "kernel_size" and not given:
                raise self.error(
                    "pooling_param: needs kernel_size, or both kernel_h and kernel_w, or global_pooling: true"
                )

    def spread(self, one: str, axes: int) -> tuple[int, ...]:
        """A number for each spatial axis, from the field for all of them, or from those for height and width."""
        p, pair = self.param, PAIRS[one]
        if not p.HasField(pair[0]):
            return (getattr(p, one),) * axes
        if axes != 2:
            raise self.error(f"pooling_param.{pair[0]}: only for 2 spatial axes, got {axes}; use {one}")
        return tuple(getattr(p, name) for name in pair)

    def shapes(self, bottom):
        (shape,) = bottom
        size = shape[2:]
        if not size:
            raise self.error(f"bottom: must have 3 or more axes (N, C, size...), got shape {shape}")
        kernel_ = size if self.param.global_pooling else self.spread("kernel_size", len(size))
        stride, pad = self.spread("stride", len(size)), self.spread("pad", len(size))
        self.check(size, kernel_, stride, pad)
        down = self.param.round_mode == POOL.FLOOR or self.param.torch_pooling
        sides = zip(size, kernel_, stride, pad)
        fields = PAIRS["kernel_size"] if self.param.HasField("kernel_h") else ["kernel_size"] * len(size)
        out = tuple(self.outputs(*side, padded=any(pad), down=down, field=name) for side, name in zip(sides, fields))
        self.windows = passes(math.prod(shape[:2]), size, out, kernel_, stride, pad)
        sizes = [(shape[0], shape[1], *size[:axes], *out[axes:]) for axes in range(len(self.windows))][::-1]
        scratch = self.method_scratch(*sizes)
        scratch |= {f"between{number}": (made, None) for number, made in enumerate(sizes[:-1])}
        if len(self.message.top) > 1:
            scratch |= {f"mask{number}": (made, np.int32) for number, made in enumerate(sizes) if number}
        return Shapes(top=[(shape[0], shape[1], *out)] * len(self.message.top), scratch=scratch)

    def check(self, size, kernel_, stride, pad):
        """Refuse what Caffe refuses of kernel, stride and pad."""
        if min(kernel_) < 1 or min(stride) < 1:
            raise self.error(
                f"pooling_param: kernel and stride must be at least 1, got kernel {kernel_} and stride {stride}"
            )
        if self.param.global_pooling and (any(pad) or set(stride) != {1}):
            raise self.error(
                f"pooling_param: with global_pooling, pad must be 0 and stride 1, got pad {pad} and stride {stride}"
            )
        if self.param.pool == POOL.STOCHASTIC and (any(pad) or len(size) > 2):
            raise self.error(
                f"pooling_param: STOCHASTIC is for up to 2 spatial axes without pad, got {len(size)} and pad {pad}"
            )
        if any(p >= k for p, k in zip(pad, kernel_)):
            raise self.error(f"pooling_param.pad: must be smaller than the kernel {kernel_}, got {pad}")

    @property
    def is_plain(self):
        """Whether it is one sweep of maxima or means: what a layer in front may take along."""
        return self.method in ("MAX", "AVE") and len(self.windows) == 1 and len(self.message.top) == 1

    def plain_pool(self):
        """Such a sweep: its window, and where it notes the places of maxima."""
        return self.windows[0], self.argmax0 if self.method == "MAX" else None

    def blobs_between(self, bottom, top):
        """What the passes hand to each other, bottom and top included."""
        between_ = [getattr(self, f"between{number}") for number in range(len(self.windows) - 1)]
        return [bottom, *between_, top]

    def forward(self, bottom, top):
        arrays = self.blobs_between(bottom[0].data, top[0].data)
        for number, window in enumerate(self.windows):
            self.pool(number, arrays[number], window, arrays[number + 1])
        if len(top) > 1:
            write_mask(self.mask(), top[1].count, top[1].data)

    def mask(self):
        """Places of the maxima in their volumes, put together from those of all passes."""
        mask, size = self.argmax0, self.windows[0].h * self.windows[0].w
        for number, window in enumerate(self.windows[1:], 1):
            argmax, made = getattr(self, f"argmax{number}"), getattr(self, f"mask{number}")
            compose_mask(argmax, mask, window.planes, window.h, window.w, size, made.size, made)
            mask, size = made, size * window.h
        return mask

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        gradients = self.blobs_between(bottom[0].diff, top[0].diff)
        for number in reversed(range(len(self.windows))):
            dx, dy = gradients[number : number + 2]
            # only a method that has a single pass reads values, so the bottom's are what it needs
            self.pool_grad(number, bottom[0].data, dy, self.windows[number], dx)


def passes(planes, size, out, kernel_, stride, pad) -> list[Window]:
    """Windows of the passes: the last two axes at once, then each axis in front by itself, innermost first."""
    if len(size) == 1:
        return [Window(planes, 1, size[0], 1, out[0], 1, kernel_[0], 1, stride[0], 0, pad[0])]
    pairs = [two[-2:] for two in (size, out, kernel_, stride, pad)]
    made = [Window(planes * math.prod(size[:-2]), *(number for pair in pairs for number in pair))]
    for axis in reversed(range(len(size) - 2)):
        behind = math.prod(out[axis + 1 :])
        one = size[axis], behind, out[axis], behind, kernel_[axis], 1, stride[axis], 1, pad[axis], 0
        made.append(Window(planes * math.prod(size[:axis]), *one))
    return made
