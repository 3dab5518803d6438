"""Nets and solvers of every age, against what Caffe's own upgrade tools make of them."""

from __future__ import annotations

import logging
import os

import pytest

from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import LayerParameter, NetParameter, SolverParameter, V1LayerParameter, v0, v1
from pycaffe_lite.proto.schema import fields
from pycaffe_lite.proto.text import parse, read
from pycaffe_lite.proto.upgrade import read_net, read_solver, upgrade_net, upgrade_solver


def upgraded(text):
    return upgrade_net(parse(text, NetParameter()), "net.prototxt")


def refusal(text):
    with pytest.raises(ConfigError) as caught:
        upgraded(text)
    return str(caught.value)


@pytest.mark.parametrize("name", ["v0", "v1"])
def test_old_nets_become_what_caffe_makes_of_them(shared, name):
    files = shared / "golden" / "files"
    assert read_net(files / f"{name}.prototxt") == read(files / f"{name}.upgraded.prototxt", NetParameter)


def test_old_solvers_become_what_caffe_makes_of_them(shared):
    files = shared / "golden" / "files"
    old = read(files / "old_solver.prototxt", SolverParameter)
    assert upgrade_solver(old) == read(files / "old_solver.upgraded.prototxt", SolverParameter)


def test_what_is_up_to_date_stays_as_it_is(caplog):
    caplog.set_level(logging.INFO)
    net = parse('name: "n" layer { name: "x" type: "BatchNorm" param { } blobs { data: 1 } }', NetParameter())
    assert upgrade_net(net) == net
    solver = parse('base_lr: 1 type: "Adam"', SolverParameter())
    assert upgrade_solver(solver) == solver
    assert caplog.records == []


def test_what_is_given_is_left_alone():
    net = parse('input: "x" input_dim: [1, 2, 3, 4]', NetParameter())
    before = net.SerializeToString()
    upgrade_net(net)
    assert net.SerializeToString() == before


def test_one_line_of_log_tells_what_was_old(caplog):
    caplog.set_level(logging.INFO)
    text = 'input: "x" input_dim: [1, 2, 3, 4] layers { type: DATA data_param { scale: 2 } }'
    upgraded(text)
    assert [record.getMessage() for record in caplog.records] == [
        "net.prototxt: upgraded old-style V1 layers, transformation fields of data layers, input fields"
    ]


@pytest.mark.parametrize("field", v0._FIELDS)
def test_every_v0_field_finds_its_place(field):
    """The place is in the message of the V0 type's successor, for every type that may have the field."""
    later, types = v0._FIELDS[field]
    for kind in types.split():
        v1_name, own = v0._TYPES[kind]
        assert V1LayerParameter.LayerType.Value(v1_name)
        assert later in fields(fields(V1LayerParameter.DESCRIPTOR)[own].message)


def test_every_v0_field_is_known():
    gone = {"new_num", "new_channels"}  # of a layer type that was never released
    handled = {*v0._FIELDS, *v0._TRANSFORM, *v0._AS_BEFORE, "type", "hdf5_output_param"}
    v0_layer = fields(V1LayerParameter.DESCRIPTOR)["layer"].message
    assert set(fields(v0_layer)) == handled | gone


def test_every_v1_type_and_field_is_known():
    assert set(V1LayerParameter.LayerType.keys()) == set(v1._TYPES)
    now = fields(LayerParameter.DESCRIPTOR)
    for name, field in fields(V1LayerParameter.DESCRIPTOR).items():
        if name not in {*v1._PARAM_SPEC, "type", "layer"}:
            assert now[name].kind == field.kind, name
            assert now[name].message == field.message, name


def test_a_v0_padding_layer_becomes_pad():
    net = upgraded("""
        input: "data" input_dim: [1, 1, 4, 4]
        layers { layer { name: "p" type: "padding" pad: 2 } bottom: "data" top: "padded" }
        layers { layer { name: "c" type: "pool" kernelsize: 3 } bottom: "padded" top: "c" }
    """)
    expected = parse(
        'name: "c" type: "Pooling" bottom: "data" top: "c" pooling_param { kernel_size: 3 pad: 2 }',
        LayerParameter(),
    )
    assert net.layer[1] == expected
    assert len(net.layer) == 2


def test_v0_padding_in_front_of_anything_else():
    assert (
        refusal("""
        input: "data"
        layers { layer { name: "p" type: "padding" pad: 2 } bottom: "data" top: "padded" }
        layers { layer { name: "r" type: "relu" } bottom: "padded" top: "r" }
    """)
        == "net.prototxt: layer 'r' (relu): a padding layer may feed conv and pool layers only"
    )


def test_an_unknown_v0_type():
    assert refusal('layers { layer { name: "c" type: "convolution" } }') == (
        "net.prototxt: layer 'c' (convolution): unknown V0 layer type"
    )


def test_an_unknown_bottom_in_a_v0_net():
    assert refusal('layers { layer { name: "c" type: "relu" } bottom: "x" }') == (
        "net.prototxt: layer 'c' (relu): unknown bottom blob 'x' (bottom index 0)"
    )


def test_a_v0_field_without_a_meaning_is_left_out_with_a_warning(caplog):
    net = upgraded('layers { layer { name: "r" type: "relu" pad: 1 stride: 2 } top: "r" }')
    assert net.layer[0] == LayerParameter(name="r", type="ReLU", top=["r"])
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "net.prototxt: layer 'r' (relu): left out what means nothing there: pad, stride"
    ]


def test_a_net_of_old_and_new_layers():
    assert refusal('layer { name: "a" } layers { name: "b" }') == (
        "net.prototxt: the net has both 'layer' and 'layers' (first: 'a' and 'b'),"
        " and Caffe would drop the former; write them all as 'layer'"
    )


def test_input_shapes_become_an_input_layer_in_front():
    net = upgraded('layer { name: "a" } input: "x" input: "y" input_shape { dim: [1, 2] } input_shape { dim: 3 }')
    assert net == parse(
        """layer { name: "input" type: "Input" top: "x" top: "y"
                   input_param { shape { dim: 1 dim: 2 } shape { dim: 3 } } }
           layer { name: "a" }""",
        NetParameter(),
    )


def test_inputs_without_shapes_are_dropped():
    """Old caffemodels have them, and they say nothing."""
    assert upgraded('name: "n" input: "x" layer { name: "a" }') == parse(
        'name: "n" layer { name: "a" }', NetParameter()
    )


@pytest.mark.parametrize(
    "shapes, problem",
    [
        (
            "input_dim: [1, 2, 3]",
            "input_dim: 3 numbers for the inputs ['x']: each takes 4 (num, channels, height, width)",
        ),
        ("input_shape { dim: 1 } input_shape { dim: 1 }", "input_shape: 2 shapes for the inputs ['x']"),
    ],
)
def test_every_input_has_a_shape(shapes, problem):
    assert refusal(f'input: "x" {shapes}') == f"net.prototxt: {problem}"


def test_batch_norm_statistics_are_no_parameters():
    net = upgraded('layer { type: "BatchNorm" param { lr_mult: 1 } param { name: "v" } param { } } layer { param { } }')
    assert [(spec.lr_mult, spec.decay_mult) for spec in net.layer[0].param] == [(0, 0)] * 3
    assert net.layer[0].param[1].name == "v"
    assert not net.layer[1].param[0].HasField("lr_mult")


@pytest.mark.parametrize(
    "text, problem",
    [
        (
            'type: "SGD" solver_type: ADAM',
            "<solver>: type 'SGD' and the old solver_type ADAM exclude each other",
        ),
        (
            "solver_type: SAG",
            "<solver>: solver_type: Caffe has no SAG, only SGD, NESTEROV, ADAGRAD, RMSPROP, ADADELTA, ADAM",
        ),
    ],
)
def test_solver_types_that_cannot_be(text, problem):
    with pytest.raises(ConfigError) as caught:
        upgrade_solver(parse(text, SolverParameter()))
    assert str(caught.value) == problem


def test_a_solver_without_a_prefix_is_named_after_its_file(tmp_path):
    path = tmp_path / "quick.solver.prototxt"
    path.write_text("base_lr: 1")
    assert read_solver(path).snapshot_prefix == str(tmp_path / "quick.solver")
    path.write_text('snapshot_prefix: "out/a"')
    assert read_solver(path).snapshot_prefix == "out/a"
    path.write_text(f'snapshot_prefix: "{tmp_path}"')
    assert read_solver(path).snapshot_prefix == os.path.join(tmp_path, "quick.solver")
