"""coord_map: held against what the nets themselves do with single pixels."""

from __future__ import annotations

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite import layers as L
from pycaffe_lite.coord_map import (
    AxisMismatchException,
    UndefinedMapException,
    compose,
    conv_params,
    coord_map,
    coord_map_from_to,
    crop,
    crop_params,
    inverse,
)


def spec(kernel=3, stride=1, pad=0, pool=2, up=4, up_stride=2, up_pad=0):
    """Convolution, pooling and a deconvolution back, on an image of 20 x 24."""
    ones = {"type": "constant", "value": 1}
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, 20, 24]})
    n.other = L.Input(shape={"dim": [1, 1, 20, 24]})
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=kernel, stride=stride, pad=pad, weight_filler=ones)
    n.pool = L.Pooling(n.conv, kernel_size=pool, stride=pool, pool="AVE")
    n.relu = L.ReLU(n.pool, in_place=True)
    n.up = L.Deconvolution(n.relu, num_output=1, kernel_size=up, stride=up_stride, pad=up_pad, weight_filler=ones)
    return n


def ends(n):
    return n.up, n.data


def seen_centre(n, top, at):
    """The middle of the pixels of `data` that a pixel of a top depends on, as the net's own backward tells it."""
    net_param = n.to_proto()
    net_param.force_backward = True
    net = caffe.Net.from_proto(net_param)
    net.blobs["data"].data[...] = 1
    net.forward()
    net.blobs[top].diff[...] = 0
    net.blobs[top].diff[(0, 0, *at)] = 1
    net.backward(start=top)
    rows, columns = np.nonzero(net.blobs["data"].diff[0, 0])
    return (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2


@pytest.mark.parametrize("options", [{}, {"kernel": [3, 5]}, {"kernel": 5, "stride": 2, "pad": 1}, {"pad": [0, 2]}])
@pytest.mark.parametrize("top", ["conv", "pool"])
def test_a_pixel_lies_over_the_middle_of_what_it_sees(options, top):
    n = spec(**options)
    axis, a, b = coord_map_from_to(n[top], n.data)
    assert axis == 1
    for at in ((2, 3), (3, 2)):
        assert np.broadcast_to(a * at + b, 2) == pytest.approx(seen_centre(n, top, at))


def test_there_and_back():
    n = spec()
    assert coord_map_from_to(n.up, n.data) == (1, 1, 0)
    there, back = coord_map_from_to(n.conv, n.up), coord_map_from_to(n.up, n.conv)
    assert compose(there, back) == (1, 1, 0)
    assert inverse(there) == back
    assert coord_map_from_to(n.data, n.data) == (None, 1, 0)


def test_padding_shifts():
    _, a, b = coord_map_from_to(*ends(spec(pad=10)))
    assert (a, b) == (1, -10)


def test_each_axis_has_its_own_numbers():
    square, wide, both = (coord_map_from_to(*ends(spec(kernel=k))) for k in (3, 5, [3, 5]))
    assert [both[2][0], both[2][1]] == [square[2][0], wide[2][0]]


def test_three_axes():
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, 9, 9, 9]})
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=[3, 3, 3], pad=[0, 1, 2])
    axis, a, b = coord_map_from_to(n.data, n.conv)
    assert (axis, a.tolist(), b.tolist()) == (1, [1], [-1, 0, 1])


def test_fields_of_layers_however_they_are_given():
    fn = L.Convolution(convolution_param={"kernel_size": 3, "dilation": 2, "stride": [1, 2], "axis": 2}).fn
    axis, stride, extent, pad = conv_params(fn)
    assert (axis, stride.tolist(), extent.tolist(), pad.tolist()) == (2, [1, 2], [5], [0])
    _, stride, extent, _ = conv_params(L.Pooling(pooling_param={"kernel_h": 2, "kernel_w": 3, "stride_w": 2}).fn)
    assert (stride.tolist(), extent.tolist()) == ([1, 2], [2, 3])
    axis, offset = crop_params(L.Crop(axis=1, offset=[1, 2]).fn)
    assert (axis, offset.tolist()) == (1, [1, 2])
    axis, offset = crop_params(L.Crop().fn)
    assert (axis, offset.tolist()) == (2, [0])


def test_a_crop_aligns():
    n = spec(pad=3)
    n.score = crop(n.up, n.data)
    assert n.score.fn.params == {"crop_param": {"axis": 2, "offset": [3]}}
    assert coord_map_from_to(n.score, n.data) == (1, 1, 0)
    assert caffe.Net.from_proto(n.to_proto()).blobs["score"].shape == (1, 1, 20, 24)
    assert all(isinstance(one, int) for one in n.score.fn.params["crop_param"]["offset"])
    same = crop(n.data, n.data)  # of blobs that no layer with axes lies between
    assert same.fn.params == {"crop_param": {"axis": 2, "offset": [0]}}


def test_layers_that_keep_pixels_and_layers_that_do_not():
    n = spec()
    for kind in ("ReLU", "BatchNorm", "LRN", "Dropout", "Swish"):
        assert coord_map_from_to(getattr(L, kind)(n.conv), n.conv) == (None, 1, 0)
    merged = L.Eltwise(n.conv, L.Convolution(n.data, num_output=1, kernel_size=3))
    assert coord_map_from_to(merged, n.data) == coord_map_from_to(n.conv, n.data)
    with pytest.raises(UndefinedMapException, match=r"test_coord_map.py:\d+: InnerProduct: no map"):
        coord_map(L.InnerProduct(n.conv, num_output=2).fn)
    with pytest.raises(UndefinedMapException, match="Convolution: kernel_size: must be given"):
        coord_map(L.Convolution(n.data, num_output=2).fn)
    with pytest.raises(UndefinedMapException, match="kernel_h, kernel_w: must both be given"):
        coord_map(L.Pooling(n.data, kernel_h=2).fn)


def test_what_cannot_be_aligned():
    n = spec()
    with pytest.raises(RuntimeError, match="do not come from one blob"):
        coord_map_from_to(n.up, n.other)
    with pytest.raises(RuntimeError, match="do not come from one blob"):
        coord_map_from_to(L.InnerProduct(n.up, num_output=10), n.data)
    with pytest.raises(AssertionError, match="scale mismatch"):
        crop(n.pool, n.data)
    with pytest.raises(AssertionError, match="must not be negative"):
        crop(*ends(spec(up_pad=10)))
    with pytest.raises(AssertionError, match="must be whole numbers"):
        crop(*ends(spec(up=5)))
    with pytest.raises(AxisMismatchException, match="axes from 2 on and from 1 on"):
        coord_map_from_to(L.Convolution(n.conv, num_output=1, kernel_size=3, axis=2), n.data)
