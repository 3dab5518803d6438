"""NetSpec: nets written in Python become the messages that their prototxts would."""

# ruff: noqa: C408 -- dict(lr_mult=1) is how people write NetSpec

from __future__ import annotations

import copy
import os
import tempfile

import numpy as np
import pytest
from cases import CASES

import pycaffe_lite as caffe
from pycaffe_lite import layers as L
from pycaffe_lite import params as P
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.layer import Layer
from pycaffe_lite.net.select import select
from pycaffe_lite.proto import LayerParameter, NetParameter, schema, text, upgrade


def lenet(batch_size=2):
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(shape=[dict(dim=[batch_size, 1, 28, 28]), dict(dim=[batch_size])], ntop=2)
    n.conv1 = L.Convolution(
        n.data,
        kernel_size=5,
        num_output=20,
        weight_filler=dict(type="xavier"),
        param=[dict(lr_mult=1), dict(lr_mult=2)],
    )
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=10, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.loss = L.SoftmaxWithLoss(n.relu1, n.label)
    return n


LENET = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 1 dim: 28 dim: 28 } shape { dim: 2 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1"
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" top: "loss" }
"""


def layer(top) -> LayerParameter:
    """The message of the layer that a top comes from."""
    return caffe.to_proto(top).layer[-1]


def test_a_net_is_what_its_prototxt_would_be():
    assert lenet().to_proto() == text.parse(LENET, NetParameter())


def test_a_net_runs_from_a_file_that_is_gone():
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt", delete=False) as file:
        file.write(str(lenet(7).to_proto()))
    net = caffe.Net(file.name, caffe.TEST)
    os.remove(file.name)
    assert net.forward()["loss"].shape == ()
    assert net.blobs["pool1"].data.shape == (7, 20, 12, 12)


def test_the_text_of_a_net_is_the_net():
    net = lenet().to_proto()
    assert text.parse(str(net), NetParameter()) == net
    assert text.parse(text.write_text(net), NetParameter()) == net


def test_tops_without_names_get_them_from_their_types():
    data, label = L.DummyData(shape=[dict(dim=[2, 3]), dict(dim=2)], ntop=2)
    hidden = L.ReLU(L.InnerProduct(data, num_output=3), in_place=True)
    net = L.SoftmaxWithLoss(L.InnerProduct(hidden, num_output=3), label).to_proto()
    assert [(m.name, list(m.bottom), list(m.top)) for m in net.layer] == [
        ("DummyData1", [], ["DummyData1", "DummyData2"]),
        ("InnerProduct1", ["DummyData1"], ["InnerProduct1"]),
        ("ReLU1", ["InnerProduct1"], ["InnerProduct1"]),
        ("InnerProduct2", ["InnerProduct1"], ["InnerProduct2"]),
        ("SoftmaxWithLoss1", ["InnerProduct2", "DummyData2"], ["SoftmaxWithLoss1"]),
    ]


def test_made_up_names_keep_clear_of_given_ones():
    n = caffe.NetSpec()
    n.Power1 = L.Input(shape=dict(dim=2))
    n.out = L.Power(L.Power(n.Power1))
    assert [m.top[0] for m in n.to_proto().layer] == ["Power1", "Power2", "out"]


def test_layers_without_tops():
    n = caffe.NetSpec()
    n.a, n.b = L.DummyData(shape=dict(dim=3), ntop=2)
    n.quiet = L.Silence(n.a, ntop=0)
    n["also quiet"] = L.Silence(n.b, ntop=0)
    net = n.to_proto()
    assert [(m.name, list(m.top)) for m in net.layer][1:] == [("quiet", []), ("also quiet", [])]
    assert caffe.Net.from_proto(net).forward() == {}
    assert layer(L.Silence(n.a, ntop=0)).name == "Silence1"


def test_fields_go_where_the_schema_has_them():
    made = layer(
        L.Convolution(
            name="c", kernel_size=[3, 5], pad=np.array([1, 2]), num_output=np.int64(4), bias_term=False, engine="CAFFE",
            loss_weight=0.5, propagate_down=[True, False], include=dict(phase=caffe.TRAIN, stage=["a", "b"]),
            param=dict(name="w", decay_mult=0),
        )
    )  # fmt: skip
    expected = """name: "c" type: "Convolution" top: "Convolution1" loss_weight: 0.5 param { name: "w" decay_mult: 0 }
        propagate_down: true propagate_down: false include { phase: TRAIN stage: "a" stage: "b" }
        convolution_param { num_output: 4 bias_term: false pad: 1 pad: 2 kernel_size: 3 kernel_size: 5
                            engine: CAFFE }"""
    assert made == text.parse(expected, LayerParameter())


def test_blocks_by_name_and_blocks_of_another_type():
    block = dict(num_output=4, kernel_size=2)
    assert layer(L.Deconvolution(convolution_param=block)) == layer(L.Deconvolution(**block))
    filler = layer(L.InnerProduct(weight_filler=dict(type="xavier"))).inner_product_param.weight_filler
    assert layer(L.Bias(filler=filler)).bias_param.filler.type == "xavier"
    python = layer(L.Python(module="m", layer="Mine", param_str="{'a': 1}")).python_param
    assert (python.module, python.layer, python.param_str) == ("m", "Mine", "{'a': 1}")


def test_numbers_as_old_scripts_have_them():
    assert layer(L.InnerProduct(num_output=64 / 2)).inner_product_param.num_output == 32
    assert layer(L.InnerProduct(num_output=4, axis=None)) == layer(L.InnerProduct(num_output=4))


def test_a_namespace_of_tops():
    n = lenet()
    assert list(n.tops) == ["data", "label", "conv1", "pool1", "ip1", "relu1", "loss"]
    assert n["conv1"] is n.conv1
    assert (n.pool1.fn.type_name, n.pool1.fn.inputs, n.label.n) == ("Pooling", (n.conv1,), 1)
    assert n.pool1.fn.params == dict(kernel_size=2, stride=2, pool=0)
    n.update("pool1", dict(pool="AVE"))
    assert n.to_proto().layer[2].pooling_param.pool == 1
    del n.loss, n["relu1"]
    assert "loss" not in n
    assert not hasattr(n, "relu1")
    assert len(n.to_proto().layer) == 4


def test_nets_may_be_deep():
    top = L.Input(shape=dict(dim=2))
    for _ in range(3000):
        top = L.Power(top)
    assert len(top.to_proto().layer) == 3001


def test_layers_are_written_once():
    shared = L.Input(shape=dict(dim=2))
    left, right = L.Power(shared), L.ReLU(shared)
    assert [m.type for m in caffe.to_proto(left, right, left).layer] == ["Input", "Power", "ReLU"]


def test_types_of_forks_can_be_written():
    made = layer(L.NormalizeBBoxThatNobodyKnows(L.Input(shape=dict(dim=2)), name="n"))
    assert (made.type, made.name) == ("NormalizeBBoxThatNobodyKnows", "n")
    assert layer(L.Permute(order=[0, 2, 3, 1])).permute_param.order == [0, 2, 3, 1]


def test_types_of_ones_own_from_the_moment_they_are_there():
    with pytest.raises(ConfigError, match="negative_slope: LayerParameter has no such field"):
        layer(L.OwnRectifier(negative_slope=0.5))

    class OwnRectifier(Layer, type="OwnRectifier", param="relu_param"):
        pass

    try:
        assert layer(L.OwnRectifier(negative_slope=0.5)).relu_param.negative_slope == 0.5
    finally:
        del Layer.types["OwnRectifier"]


def test_help_and_completion():
    assert set(caffe.layer_type_list()) <= set(dir(L))
    assert "kernel_size" in L.Convolution.__doc__
    assert {"MAX", "AVE", "STOCHASTIC"} < set(dir(P.Pooling))
    assert "Pooling" in dir(P)
    assert repr(L.Pooling(pool=1)) == "<top 0 of Pooling(pool=1)>"


def test_a_spec_can_be_copied_and_looked_at():
    n = lenet()
    other = copy.deepcopy(n)
    other.update("ip1", dict(num_output=3))
    assert n.to_proto().layer[3].inner_product_param.num_output == 10
    assert other.to_proto().layer[3].inner_product_param.num_output == 3
    assert repr(n) == "<NetSpec of 7 tops: data, label, conv1, pool1, ip1, relu1, loss>"


def test_names_in_net_spec_itself():
    from pycaffe_lite import net_spec

    for made in (net_spec.layers, net_spec.Layers(), L):
        assert made.Pooling(pool="AVE").fn.type_name == "Pooling"
    with pytest.raises(AttributeError):
        net_spec.Layers()._repr_html_  # noqa: B018  as notebooks ask for it
    assert net_spec.Parameters().Data.LMDB == net_spec.params.Data.LMDB == 1


WRONG = {
    "name of a field": (lambda: L.Convolution(kernal_size=3), r"kernal_size: neither .* did you mean 'kernel_size'"),
    "no block": (lambda: L.Silence(rate=3), "rate: LayerParameter has no such field, and the type has no block"),
    "field in a block": (lambda: L.Bias(filler=dict(typ="x")), r"bias_param.filler.typ: .*did you mean 'type'"),
    "enum": (lambda: L.Pooling(pool="MAXIMUM"), r"pooling_param.pool: has no value 'MAXIMUM'; it takes one of MAX"),
    "enum number": (lambda: L.Pooling(pool=17), r"pool: takes one of MAX, AVE, STOCHASTIC, got 17"),
    "fraction": (lambda: L.InnerProduct(num_output=2.5), r"num_output: takes a whole number, got 2.5"),
    "not a number": (lambda: L.InnerProduct(num_output=float("nan")), r"takes a whole number, got nan"),
    "negative": (lambda: L.InnerProduct(num_output=-1), r"num_output: must be in \[0, 4294967295\], got -1"),
    "list": (lambda: L.Pooling(kernel_size=[2, 2]), r"kernel_size: takes a whole number, got \[2, 2\]"),
    "block": (lambda: L.Convolution(weight_filler="xavier"), r"weight_filler: takes a dict .* got 'xavier'"),
    "string": (lambda: L.Data(source=3), r"data_param.source: takes a string, got 3"),
    "truth": (lambda: L.Convolution(bias_term="no"), r"bias_term: takes True or False, got 'no'"),
}


@pytest.mark.parametrize("make, message", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_explained_with_its_line(make, message):
    with pytest.raises(ConfigError, match=rf"^test_net_spec.py:\d+: layer '\w+1' \(\w+\): .*{message}"):
        make().to_proto()


def test_wrong_use_is_explained():
    two = L.DummyData(shape=dict(dim=3), ntop=2)
    with pytest.raises(TypeError, match=r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"):
        L.Silence(two, ntop=0)
    n = caffe.NetSpec()
    with pytest.raises(ConfigError, match="there are 2 tops, give it 2 names"):
        n.data = two
    with pytest.raises(ConfigError, match="ntop: must be a number of tops, got 'two'"):
        L.Data(ntop="two")
    with pytest.raises(ConfigError, match="in_place: has 2 bottoms to write its 3 tops over"):
        L.ReLU(*two, ntop=3, in_place=True)
    n.conv1 = L.Input(shape=dict(dim=3))
    for wrong in (lambda: n.conv2, lambda: n["conv2"], lambda: n.__delattr__("conv2")):
        with pytest.raises((AttributeError, KeyError), match="no top 'conv2'; did you mean 'conv1'"):
            wrong()
    with pytest.raises(AttributeError, match="no value 'MAXX'; did you mean 'MAX'"):
        P.Pooling.MAXX  # noqa: B018
    with pytest.raises(AttributeError, match="no message PolingParameter; did you mean 'Pooling'"):
        P.Poling  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'convolve'"):
        L.convolve  # noqa: B018
    n.conv1.fn.inputs = (L.Power(n.conv1),)
    with pytest.raises(ConfigError, match="takes, by way of others, its own top"):
        n.to_proto()


def keywords(message, but=()):
    """The fields of a message as a person would write them in Python."""
    found = {}
    for descriptor, value in message.ListFields():
        field = schema.fields(message.DESCRIPTOR)[descriptor.name]
        if field.message:
            convert = keywords
        elif field.kind == "enum":
            convert = {number: name for name, number in field.values.items()}.get
        else:
            convert = lambda value: value  # noqa: E731
        if field.name not in but:
            found[field.name] = [convert(one) for one in value] if field.repeated else convert(value)
    return found


def tops_of(message, blobs):
    """The layer of a message made anew by L, on the tops that `blobs` has for its bottoms."""
    fields = keywords(message, but=("type", "bottom", "top"))
    fields["in_place"] = bool(message.top) and message.top == message.bottom
    made = getattr(L, message.type)(*(blobs[b] for b in message.bottom), ntop=len(message.top), **fields)
    return made if isinstance(made, tuple) else (made,)


@pytest.mark.parametrize("kind", CASES)
def test_every_layer_of_the_exam_can_be_written(kind):
    for case in CASES[kind]:
        message = text.parse(f'name: "l" {case.body}', LayerParameter())
        blobs = {f"x{i}": L.Input(shape=dict(dim=1)) for i in range(len(case.bottoms))}
        message.bottom.extend(blobs)
        message.top.extend(f"y{i}" for i in range(case.tops))
        n = caffe.NetSpec()
        for name, top in zip(message.top or ["l"], tops_of(message, blobs)):
            n[name] = top
        again = n.to_proto().layer[-1]
        again.bottom[:] = message.bottom  # whose layers have no names here
        assert again == message


def rebuild(net: NetParameter) -> NetParameter | None:
    """The net through NetSpec; None if it has what NetSpec cannot say (partly in place, a top made twice)."""
    n, blobs = caffe.NetSpec(), {}
    for index, message in enumerate(net.layer):
        in_place = bool(message.top) and message.top == message.bottom
        if not in_place and set(message.top) & set(blobs):
            return None
        made = tops_of(message, blobs)
        for name, top in zip(message.top or [f"no top {index}"], made):
            n[f"in place {index} {name}" if in_place else name] = blobs[name] = top
    return n.to_proto()


def test_nets_that_people_wrote_can_be_written(shared):
    rebuilt = 0
    for path in sorted((shared / "corpus" / "build").rglob("*.prototxt")):
        net = upgrade.read_net(path)
        net.state.phase = caffe.TEST
        again = rebuild(select(net))
        if again is not None:
            assert list(again.layer) == list(select(net).layer), path
            rebuilt += 1
    assert rebuilt > 150
