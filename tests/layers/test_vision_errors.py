"""What Deconvolution, Im2col, Pooling and SPP refuse, in words."""

from __future__ import annotations

import pytest
from exam import Case, build

from pycaffe_lite.errors import ConfigError

IMAGE = (1, 2, 5, 6)


def refuse(kind, param, fields, message, shape=IMAGE, tops=1):
    with pytest.raises(ConfigError, match=rf"layer 'l' \({kind}\): .*{message}"):
        build(Case(f'type: "{kind}" {param} {{ {fields} }}', [shape], tops=tops))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("kernel_size: 3", "num_output: must be at least 1, got 0"),
        ("num_output: 1", "kernel_size: must be given"),
        ("num_output: 1 kernel_size: 0", "kernel_size: must be at least 1, got"),
        ("num_output: 1 kernel_size: 2 stride: 0", "stride: must be at least 1, got"),
        ("num_output: 1 kernel_size: 2 kernel_h: 2", "give kernel_size or kernel_h and kernel_w, not both"),
        ("num_output: 1 kernel_h: 2", "kernel_h and kernel_w must be given together"),
        ("num_output: 1 kernel_size: 2 stride_h: 2", "stride_h and stride_w must be given together"),
        ("num_output: 1 kernel_size: 2 kernel_size: 2 kernel_size: 2", "give it once, or 2 times .* got 3"),
        ("num_output: 3 kernel_size: 2 group: 2", "group: must divide num_output 3, got 2"),
        ("num_output: 3 kernel_size: 2 group: 3", "group: must divide the channels of the bottom 2, got 3"),
        ("num_output: 3 kernel_size: 2 group: 0", "group: must be at least 1, got 0"),
        ("num_output: 1 kernel_size: 2 pad: 3", r"pad: leaves no output of bottom .* size would be \(0, 1\)"),
        ("num_output: 1 kernel_size: 2 axis: 4", r"axis: must be in \[-4, 3\] for shape .* got 4"),
    ],
)
def test_deconvolution_refuses(fields, message):
    refuse("Deconvolution", "convolution_param", fields, message)


def test_deconvolution_names_bottoms_of_two_shapes():
    body = 'type: "Deconvolution" convolution_param { num_output: 1 kernel_size: 1 }'
    with pytest.raises(ConfigError, match=r"one shape, got \(1, 2, 5, 6\) and \(bottom 1\) \(1, 2, 5, 5\)"):
        build(Case(body, [IMAGE, (1, 2, 5, 5)], tops=2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", "kernel_size: must be given"),
        ("kernel_size: 6", "convolution_param.kernel_size: kernel of 6 is larger than its input: spatial axis 0 has 5"),
        ("kernel_size: 3 dilation: 3", r"kernel of 7 \(3 dilated by 3\) is larger"),
        ("kernel_size: 2 axis: 3", "must have a spatial axis behind channel axis 3"),
        ("kernel_h: 2 kernel_w: 2 axis: 0", "kernel_h: only for 2 spatial axes, got 3; use kernel_size"),
    ],
)
def test_im2col_refuses(fields, message):
    refuse("Im2col", "convolution_param", fields, message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("", "needs kernel_size, or both kernel_h and kernel_w, or global_pooling: true"),
        ("kernel_size: 2 kernel_h: 2", "give kernel_size, or both kernel_h and kernel_w, got kernel_size and"),
        ("kernel_h: 2", "give kernel_size, or both kernel_h and kernel_w, got kernel_h"),
        ("kernel_size: 2 pad: 1 pad_w: 1", "give pad, or both pad_h and pad_w, got pad and pad_w"),
        ("kernel_size: 2 stride_h: 1", "give stride, or both stride_h and stride_w, got stride_h"),
        ("kernel_size: 0", "kernel and stride must be at least 1, got kernel"),
        ("kernel_size: 1 stride: 0", "kernel and stride must be at least 1, .* stride"),
        ("kernel_size: 2 pad: 2", r"pad: must be smaller than the kernel \(2, 2\), got \(2, 2\)"),
        ("kernel_size: 6", r"pooling_param.kernel_size: kernel 6 is larger than its input of 5 \(with pad 0"),
        ("kernel_size: 7 stride: 2 round_mode: FLOOR", "kernel 7 is larger than its input of 5"),
        ("global_pooling: true kernel_size: 2", "with global_pooling, no kernel can be given, got kernel_size"),
        ("global_pooling: true pad: 1", "with global_pooling, pad must be 0 and stride 1"),
        ("global_pooling: true stride: 2", "with global_pooling, pad must be 0 and stride 1"),
        ("pool: STOCHASTIC kernel_size: 3 pad: 1", "STOCHASTIC is for up to 2 spatial axes without pad"),
    ],
)
def test_pooling_refuses(fields, message):
    refuse("Pooling", "pooling_param", fields, message)


def test_pooling_refuses_shapes_and_tops():
    refuse("Pooling", "pooling_param", "kernel_size: 1", r"3 or more axes .* got shape \(4, 3\)", (4, 3))
    refuse("Pooling", "pooling_param", "kernel_h: 1 kernel_w: 1", "only for 2 spatial axes, got 1", (4, 3, 2))
    refuse("Pooling", "pooling_param", "pool: AVE kernel_size: 1", "there is none for AVE", tops=2)
    refuse("Pooling", "pooling_param", "kernel_size: 1", "takes 1 to 2 top", tops=3)
    refuse("Pooling", "pooling_param", "pool: STOCHASTIC kernel_size: 1", "got 3 and pad", (1, 1, 2, 2, 2))


@pytest.mark.parametrize(
    ("fields", "message", "shape"),
    [
        ("", "pyramid_height: must be at least 1, got 0", IMAGE),
        ("pyramid_height: 3", "pyramid_height: 3 is too much for an image of 5: 4 bins would need pad 2", IMAGE),
        ("pyramid_height: 1", r"4 axes \(N, C, H, W\), .* got shape \(1, 2, 5\)", (1, 2, 5)),
        ("pyramid_height: 2 pool: STOCHASTIC", "must divide into 2 bins, got 5", IMAGE),
    ],
)
def test_spp_refuses(fields, message, shape):
    refuse("SPP", "spp_param", fields, message, shape)
