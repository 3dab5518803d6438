"""Python values into messages: whatever a person hands over fits, or is refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import LayerParameter, NetParameter, caffe_pb2
from pycaffe_lite.proto.assign import assign
from pycaffe_lite.proto.schema import fields

NAMES = sorted({name for m in caffe_pb2.DESCRIPTOR.message_types_by_name.values() for name in fields(m)})
SCALARS = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    st.sampled_from(["MAX", "\ud800", np.float32(2.5), np.int8(-3), np.bool_(True), np.str_("AVE"), np.array(3), 1j]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(
            st.sampled_from(NAMES) | SCALARS.filter(lambda one: one.__hash__ is not None), inner, max_size=3
        ),
        st.sampled_from([np.arange(3), np.zeros((2, 2)), np.array(["a"]), range(3), {1}, LayerParameter(name="x")]),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(fields(LayerParameter.DESCRIPTOR))), VALUES)
def test_any_value_fits_or_is_refused_in_words(name, value):
    layer = LayerParameter()
    try:
        assign(layer, name, value)
    except ConfigError as error:
        assert str(error).startswith(name)
    else:
        assert layer.SerializePartialToString() or not layer.ListFields()


def layer_with(**given_fields):
    layer = LayerParameter()
    for name, value in given_fields.items():
        assign(layer, name, value)
    return layer


def test_values_that_fit():
    layer = layer_with(
        pooling_param={"pool": np.str_("AVE"), "kernel_size": np.array(3), "global_pooling": np.bool_(False)},
        convolution_param={"pad": np.array([1, 2]), "kernel_size": range(1, 3), "num_output": 4.0, "engine": 1.0},
        param=({"lr_mult": 1}, caffe_pb2.ParamSpec(decay_mult=2)),
        python_param={"param_str": "é"},
        bottom="one",
    )
    assert (layer.pooling_param.pool, layer.pooling_param.kernel_size) == (caffe_pb2.PoolingParameter.AVE, 3)
    convolution = layer.convolution_param
    assert (convolution.pad, convolution.kernel_size, convolution.num_output) == ([1, 2], [1, 2], 4)
    assert (convolution.engine, layer.param[1].decay_mult, layer.bottom) == (1, 2, ["one"])


WRONG = [
    ("name", "\ud800", "name: takes a string, got '\\ud800'"),
    ("name", b"bytes", "name: takes a string, got b'bytes'"),
    ("bottom", {"a", "b"}, "bottom: takes a string, got {"),
    ("param", 5, "param: takes a dict of fields of ParamSpec, got 5"),
    ("param", caffe_pb2.BlobShape(dim=[1]), "param: takes a dict of fields of ParamSpec, got dim: 1"),
    ("loss_weight", [[1.0]], "loss_weight: takes a number, got [1.0]"),
    ("loss_weight", np.zeros((1, 2)), "loss_weight: takes a number, got array([0., 0.])"),
    ("loss_weight", 10**400, "loss_weight: takes a number, got 1000"),
    ("phase", True, "phase: takes one of TRAIN, TEST, got True"),
    ("pooling_param", {3: 4}, "pooling_param.3: there is no such field"),
    (
        "pooling_param",
        {"kernel_size": 2**40},
        "pooling_param.kernel_size: must be in [0, 4294967295], got 1099511627776",
    ),
    ("pooling_param", {"kernel_size": float("inf")}, "pooling_param.kernel_size: takes a whole number, got inf"),
    ("no_such_param", {}, "no_such_param: there is no such field"),
]


@pytest.mark.parametrize("name, value, message", WRONG)
def test_values_that_do_not_fit(name, value, message):
    with pytest.raises(ConfigError) as refused:
        layer_with(**{name: value})
    assert str(refused.value).startswith(message)


def test_fields_of_other_messages_can_be_given():
    layer = layer_with(param=[{"lr_mult": 1}, {"lr_mult": 2}], convolution_param={"pad": [1, 2]})
    again = layer_with(param=layer.param, convolution_param={"pad": layer.convolution_param.pad})
    assert again == layer


def test_a_block_may_be_empty_and_yet_there():
    layer = layer_with(reshape_param={"shape": {}})
    assert layer.reshape_param.HasField("shape")
    net = NetParameter()
    assign(net, "layer", [{}, layer])
    assert len(net.layer) == 2
