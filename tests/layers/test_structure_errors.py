"""What normalisation, structure and neuron layers refuse, in words."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cases_structure import rows
from exam import Case, build

from pycaffe_lite.errors import ConfigError, DataError
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, text

X = [(2, 3, 4, 5)]
SAME = [(2, 3), (2, 4)]


def refused(kind: str, fields: str, bottoms, message: str, tops: int = 1) -> None:
    with pytest.raises(ConfigError) as caught:
        build(rows(kind, None, (fields, bottoms, {"tops": tops}))[0])
    assert f"layer 'l' ({kind}): " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "fields", "bottoms", "message"),
    [
        ("Scale", "axis: 4", X, "scale_param.axis: must be in [-4, 3] for shape (2, 3, 4, 5), got 4"),
        ("Scale", "num_axes: -2", X, "scale_param.num_axes: must not be negative"),
        ("Scale", "num_axes: 4", X, "num_axes: bottom (2, 3, 4, 5) has 3 axes from axis 1 on, got 4"),
        ("Scale", "", [(2, 3, 4), (4,)], "its shape (4,) must be that of bottom 0, (2, 3, 4), from axis 1 on ((3,))"),
        ("Scale", "", [(2, 3), (3, 4)], "its shape (3, 4) must be that of bottom 0, (2, 3), from axis 1 on"),
        ("Bias", "axis: -5", X, "bias_param.axis: must be in [-4, 3]"),
        ("Bias", "", [(2, 3), (2,)], "its shape (2,) must be that of bottom 0"),
        ("BatchNorm", "", [()], "bottom: must have at least 1 axis, got a scalar"),
        ("PReLU", "", [(3,)], "bottom: must have at least 2 axes (N, C ...), got shape (3,)"),
        ("LRN", "local_size: 4", X, "lrn_param.local_size: must be odd, got 4"),
        ("LRN", "local_size: 0", X, "lrn_param.local_size: must be odd, got 0"),
        ("LRN", "", [(2, 3)], "bottom: must have 4 axes (N, C, H, W), got shape (2, 3)"),
        ("Concat", "axis: 1 concat_dim: 1", SAME, "give axis or its old name concat_dim, not both"),
        ("Concat", "axis: 2", SAME, "concat_param.axis: must be in [-2, 1] for shape (2, 3), got 2"),
        ("Concat", "concat_dim: 2", SAME, "concat_param.concat_dim: must be in [0, 1] for shape (2, 3), got 2"),
        ("Concat", "concat_dim: 4294967295", SAME, "concat_dim: must be in [0, 1] for shape (2, 3), got 4294967295"),
        ("Concat", "axis: 0", SAME, "bottom 1: its shape (2, 4) must be that of bottom 0, (2, 3), but for axis 0"),
        ("Concat", "", [(2, 3), (2, 3, 1)], "bottom 1: its shape (2, 3, 1) must be"),
        ("Flatten", "axis: 4", X, "flatten_param.axis: must be in [-4, 3]"),
        ("Flatten", "end_axis: 4", X, "flatten_param.end_axis: must be in [-4, 3]"),
        ("Flatten", "axis: 3 end_axis: 1", X, "flatten_param.end_axis: must not be before axis 3, got 1"),
        ("Reshape", "shape { dim: -1 dim: -1 }", X, "one dim at most can be -1 (inferred), got [-1, -1]"),
        ("Reshape", "shape { dim: -2 }", X, "a dim is positive, 0 (copied) or -1 (inferred), got [-2]"),
        ("Reshape", "num_axes: -2", X, "reshape_param.num_axes: must not be negative"),
        ("Reshape", "axis: 5", X, "reshape_param.axis: must be in [-5, 4] for shape (2, 3, 4, 5), got 5"),
        ("Reshape", "axis: -6", X, "reshape_param.axis: must be in [-5, 4] for shape (2, 3, 4, 5), got -6"),
        ("Reshape", "axis: 2 num_axes: 3", X, "num_axes: (2, 3, 4, 5) has 2 axes from axis 2 on, got 3"),
        ("Reshape", "shape { dim: 7 dim: -1 }", X, "120 elements of (2, 3, 4, 5) cannot be divided by the 7"),
        ("Reshape", "shape { dim: 2 dim: 3 }", X, "(2, 3, 4, 5) has 120 elements, but (2, 3) has 6"),
        ("Reshape", "shape { dim: 2 dim: 60 dim: 0 }", [(2, 60)], "dim 2 is 0 (copied), but (2, 60) has no axis 2"),
        ("Eltwise", "coeff: 1", SAME[:1] * 2, "eltwise_param.coeff: give it 0 or 2 times (once per bottom), got 1"),
        ("Eltwise", "operation: PROD coeff: 1 coeff: 2", SAME[:1] * 2, "coeff: only for operation SUM"),
        ("Eltwise", "", SAME, "bottom 1: its shape (2, 4) must be that of bottom 0, (2, 3)"),
        ("Eltwise", "", X, "takes at least 2 bottom blob(s), got 1"),
        ("Exp", "base: 0", X, "exp_param.base: must be positive and finite (or -1 for e), got 0"),
        ("Exp", "base: inf", X, "exp_param.base: must be positive and finite (or -1 for e), got inf"),
        ("Log", "base: -2", X, "log_param.base: must be positive and finite (or -1 for e), got -2"),
        ("Log", "base: 1", X, "log_param.base: there is no logarithm to the base 1"),
        ("Clip", "", X, "clip_param: needs min and max"),
        ("Clip", "min: 1 max: 0", X, "clip_param.max: must not be below min 1, got 0"),
        ("Reduction", "axis: 4", X, "reduction_param.axis: must be in [-4, 3]"),
        ("Tile", "", X, "tile_param.tiles: must be given"),
        ("Tile", "tiles: 0", X, "tile_param.tiles: must be at least 1, got 0"),
        ("Tile", "tiles: 2 axis: 4", X, "tile_param.axis: must be in [-4, 3]"),
        ("ArgMax", "top_k: 0", X, "argmax_param.top_k: must be at least 1, got 0"),
        ("ArgMax", "top_k: 61", X, "argmax_param.top_k: must be at most the 60 values of (2, 3, 4, 5), got 61"),
        ("ArgMax", "top_k: 4 axis: 1", X, "argmax_param.top_k: must be at most the 3 values of (2, 3, 4, 5), got 4"),
        ("ArgMax", "axis: 4", X, "argmax_param.axis: must be in [-4, 3]"),
        ("ArgMax", "", [()], "bottom: must have at least 1 axis, got a scalar"),
        ("BatchReindex", "", [(2, 3), (2, 2)], "a batch and its indices (1 axis), got shapes (2, 3) and (2, 2)"),
        ("Filter", "", [(2, 3), (3,)], "bottom 0: must have as many items as the selector (3,), got shape (2, 3)"),
        ("Filter", "", [(2, 3), (2, 2)], "selector: all axes but the first must have size 1, got shape (2, 2)"),
        ("Filter", "", [(2, 3), (2, 3), (2,)], "one top for each bottom but the selector (the last), got 3 and 1"),
        ("Crop", "axis: 4", X * 2, "crop_param.axis: must be in [-4, 3]"),
        ("Crop", "offset: 1 offset: 1 offset: 1", X * 2, "offset: give it 0, 1 or 2 times (once for each axis cut)"),
        ("Crop", "offset: 1", X * 2, "axis 2 of (2, 3, 4, 5) has 4, too few for offset 1 and the 4 of (2, 3, 4, 5)"),
        ("Crop", "", [(2, 3, 4, 5), (2, 3)], "must have as many axes as bottom 0, got shapes (2, 3, 4, 5) and (2, 3)"),
        ("Parameter", "shape { dim: 1 }", X, "takes exactly 0 bottom blob(s), got 1"),
        ("Embed", "num_output: 2", X, "embed_param.input_dim: must be at least 1, got 0"),
        ("Embed", "input_dim: 2", X, "embed_param.num_output: must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_wrong_layers_are_refused(kind, fields, bottoms, message):
    refused(kind, fields, bottoms, message)


@pytest.mark.parametrize(
    ("fields", "tops", "message"),
    [
        ("axis: 1 slice_dim: 1", 3, "give axis or its old name slice_dim, not both"),
        ("slice_dim: 7", 3, "slice_param.slice_dim: must be in [0, 3] for shape (2, 3, 4, 5), got 7"),
        ("", 2, "slice_param: 2 tops must divide the 3 of axis 1 of (2, 3, 4, 5); or give slice_point"),
        ("slice_point: 1", 3, "slice_param.slice_point: give 2 for 3 tops (or none), got 1: [1]"),
        ("slice_point: 2 slice_point: 1", 3, "must increase between 0 and the 3 of axis 1 of (2, 3, 4, 5), got [2, 1]"),
        ("slice_point: 0 slice_point: 1", 3, "must increase between 0 and the 3"),
        ("slice_point: 1 slice_point: 3", 3, "must increase between 0 and the 3"),
    ],
)
def test_wrong_slices_are_refused(fields, tops, message):
    refused("Slice", fields, X, message, tops)


@pytest.mark.parametrize("kind", ["AbsVal", "Flatten", "Reshape", "Split"])
def test_types_that_caffe_refuses_in_place_are_refused(kind):
    source = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}\n\
        layer {{ name: "l" type: "{kind}" bottom: "x" top: "x" }}'
    with pytest.raises(ConfigError, match=f"layer 'l' \\({kind}\\): top: this type cannot work in place, .* than 'x'"):
        Net.from_proto(text.parse(source, NetParameter()))


@pytest.mark.parametrize("index", [-1, -0.5, 4, 1e10, np.nan, np.inf])
@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case('type: "Embed" embed_param { input_dim: 4 num_output: 3 }', [np.zeros((2, 3))]), "its input_dim 4"),
        (Case('type: "BatchReindex"', [(4, 3), np.zeros(6)]), "the batch of bottom 'x0'"),
    ],
)
def test_indices_outside_their_range_are_refused_before_memory_is_touched(case, message, index):
    net = build(case)
    blob = net.blobs[f"x{len(case.bottoms) - 1}"]
    blob.data.reshape(-1)[4] = index
    expected = f"index {index:g} (number 4 of bottom {blob.name!r}) is outside 0 to 3, {message}"
    with pytest.raises(DataError, match=re.escape(expected)):
        net.run_forward()
    blob.data.reshape(-1)[4] = 3
    net.run_forward()


def test_statistics_cannot_be_learnt():
    with pytest.raises(ConfigError, match=r"number 1 holds a statistic, .* lr_mult must be 0, got 1"):
        build(Case('type: "BatchNorm" param { lr_mult: 0 } param { decay_mult: 0 }'))


def test_gradients_for_indices_are_refused():
    source = """
        layer { name: "p" type: "Parameter" top: "x" parameter_param { shape { dim: 2 } } }
        layer { name: "e" type: "Embed" bottom: "x" top: "y" loss_weight: 1
                embed_param { input_dim: 2 num_output: 2 } }"""
    net = Net.from_proto(text.parse(source, NetParameter()))
    with pytest.raises(ConfigError, match=r"layer 'e' .* cannot back-propagate to bottom 0 .*propagate_down: false"):
        net.run_backward()
