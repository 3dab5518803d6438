"""Prototxt that Caffe takes is taken, and means the same; what is printed reads back."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycaffe_lite.proto import (
    BlobProto,
    ClipParameter,
    Datum,
    FillerParameter,
    LayerParameter,
    NetParameter,
    SolverParameter,
    V1LayerParameter,
)
from pycaffe_lite.proto.schema import fields
from pycaffe_lite.proto.text import parse, read, write_text


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "a" top: "x" }',
        'layer: { name: "a" top: "x" }',
        'layer < name: "a" top: "x" >',
        'layer: < name: "a"; top: "x", >;',
        'layer [ { name: "a" top: "x" } ]',
        'layer: [ < name: "a" top: [ "x" ] > ]',
        "layer{name:'a'top:'x'}",
        'layer { name: "a" # a comment\n# another\n top: "x" }',
        '\ufefflayer { name: "a" top: "x" }',
        'layer\n{\r\n\tname\v:\f"a"\ntop:"x"}',
        'layer { name: "" \'a\'\n"" top: "\\x78" }',
        'layer { name: "\\141" top: "\\u0078" }',
    ],
)
def test_ways_to_write_the_same(text):
    assert parse(text, NetParameter()) == NetParameter(layer=[LayerParameter(name="a", top=["x"])])


@pytest.mark.parametrize(
    "text, value",
    [
        ("10", 10),
        ("0x1F", 31),
        ("0X1f", 31),
        ("010", 8),  # octal, as in C
        ("0", 0),
        ("4294967295", 2**32 - 1),
    ],
)
def test_integers(text, value):
    parsed = parse(f"pooling_param {{ kernel_size: {text} }}", LayerParameter())
    assert parsed.pooling_param.kernel_size == value


def test_negative_integers():
    assert parse("softmax_param { axis: -1 }", LayerParameter()).softmax_param.axis == -1
    assert parse("random_seed: - 9223372036854775808", SolverParameter()).random_seed == -(2**63)


@pytest.mark.parametrize(
    "text, value",
    [
        ("0.01", 0.01),
        ("1e-4f", 1e-4),
        ("1.", 1.0),
        (".5", 0.5),
        ("1E+3", 1000.0),
        ("-2F", -2.0),
        ("10", 10.0),
        ("0x10", 16.0),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("1e39", math.inf),  # too large for a float, as in C++
        ("1" + "0" * 400, math.inf),
        ("NaN", math.nan),
    ],
)
def test_floats(text, value):
    assert parse(f"base_lr: {text}", SolverParameter()).base_lr == pytest.approx(value, rel=1e-7, nan_ok=True)


@pytest.mark.parametrize("true, false", [("true", "false"), ("True", "False"), ("t", "f"), ("1", "0")])
def test_booleans(true, false):
    assert parse(f"force_backward: {true}", NetParameter()) == NetParameter(force_backward=True)
    assert parse(f"force_backward: {false}", NetParameter()) == NetParameter(force_backward=False)


def test_enums_by_name_and_by_number():
    assert parse("pooling_param { pool: AVE }", LayerParameter()).pooling_param.pool == 1
    assert parse("pooling_param { pool: 1 }", LayerParameter()).pooling_param.pool == 1


def test_lists():
    net = parse('input: ["a", "b"] input_dim: [1, 2,3] input_dim: 4 input_dim: []', NetParameter())
    assert list(net.input) == ["a", "b"]
    assert list(net.input_dim) == [1, 2, 3, 4]


def test_bytes_and_strings_hold_escapes():
    assert parse(r'data: "\000\xff\n\"\?"', Datum()).data == b'\x00\xff\n"?'
    assert parse(r'name: "\303\251"', NetParameter()).name == "é"
    assert parse('name: "é"', NetParameter()).name == "é"


def test_comments_may_be_in_any_encoding():
    text = 'name: "a"  # 数据层\n'.encode("gbk")
    assert parse(text, NetParameter()).name == "a"


def test_no_space_is_needed_after_a_number():
    assert parse("pooling_param { kernel_size: 3stride: 2 }", LayerParameter()).pooling_param.stride == 2


def test_a_block_may_be_empty():
    assert parse("input_param {}", LayerParameter()).HasField("input_param")
    assert parse("", NetParameter()) == NetParameter()


def prototxts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "folder, kind, count",
    [("build", NetParameter, 177), ("parse", NetParameter, 120), ("solvers", SolverParameter, 150)],
)
def test_files_that_people_wrote(shared, folder, kind, count):
    """All of them parse, to what protobuf's own parser makes of them, and back from what we print."""
    paths = prototxts(shared / "corpus" / folder)
    assert len(paths) == count
    for path in paths:
        message = read(path, kind)
        assert message.ListFields(), path
        assert message == text_format.Parse(path.read_bytes().decode("utf-8", "replace"), kind()), path
        assert message == parse(write_text(message), kind()), path


@pytest.mark.parametrize("name", ["v0", "v1"])
def test_nets_are_printed_as_caffe_prints_them(shared, name):
    path = shared / "golden" / "files" / f"{name}.upgraded.prototxt"
    assert write_text(read(path, NetParameter)) == path.read_text()


def test_solvers_are_printed_as_caffe_prints_them(shared):
    path = shared / "golden" / "files" / "old_solver.upgraded.prototxt"
    assert write_text(read(path, SolverParameter)) == path.read_text()


@pytest.mark.parametrize(
    "value, text",
    [
        (0.01, "0.01"),
        (1, "1"),
        (1e-8, "1e-08"),
        (1e10, "1e+10"),
        (1 / 3, "0.33333334"),
        (3.4028235e38, "3.4028235e+38"),
        (-0.0, "-0"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
    ],
)
def test_floats_are_printed_with_the_fewest_digits(value, text):
    assert write_text(FillerParameter(value=value)) == f"value: {text}\n"


def test_doubles_have_more_digits():
    assert write_text(BlobProto(double_data=[0.1, 1 / 3])) == "double_data: 0.1\ndouble_data: 0.3333333333333333\n"


def test_strings_are_printed_with_escapes():
    assert write_text(NetParameter(name="a\"b'\\\n\té")) == r"""name: "a\"b\'\\\n\t\303\251" """.strip() + "\n"


def test_nested_messages_are_indented():
    net = NetParameter(layer=[LayerParameter(name="a", clip_param=ClipParameter(min=-1, max=1))])
    lines = ["layer {", '  name: "a"', "  clip_param {", "    min: -1", "    max: 1", "  }", "}"]
    assert write_text(net).splitlines() == lines


def messages(kind, depth=3):
    """Any message of a type; nested ones down to a depth."""
    descriptor = kind.DESCRIPTOR
    choices = {}
    for field, info in zip(descriptor.fields, fields(descriptor).values(), strict=True):
        if info.kind == "message":
            if depth == 0:
                continue
            # By its descriptor: a message inside another one has no name in the module.
            value = st.deferred(lambda inner=field.message_type: messages(GetMessageClass(inner), depth - 1))
        else:
            value = scalars(info, field)
        choices[info.name] = st.lists(value, max_size=2) if info.repeated else value
    needed = {name: choices[name] for name, info in fields(descriptor).items() if info.required}
    optional = {name: value for name, value in choices.items() if name not in needed}
    few = st.sets(st.sampled_from(sorted(optional)), max_size=4) if optional else st.just(set())
    return few.flatmap(lambda names: st.builds(kind, **needed, **{name: optional[name] for name in names}))


def scalars(info, field):
    if info.kind == "enum":
        return st.sampled_from(sorted(info.values.values()))
    if info.kind in ("float", "double"):
        return st.floats(width=32 if info.kind == "float" else 64, allow_nan=False)
    return {"bool": st.booleans(), "string": st.text(), "bytes": st.binary()}.get(
        info.kind, st.integers(info.low, info.high)
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages(LayerParameter) | messages(SolverParameter) | messages(V1LayerParameter))
def test_what_is_printed_reads_back(message):
    """By us and by protobuf's own parser; and we read what that prints."""
    kind = type(message)
    text = write_text(message)
    assert parse(text, kind()) == message
    assert text_format.Parse(text, kind()) == message
    assert parse(text_format.MessageToString(message), kind()) == message
    assert parse(text_format.MessageToString(message, as_one_line=True), kind()) == message


@settings(max_examples=300, deadline=None)
@given(st.floats(width=32, allow_nan=False))
def test_every_float_reads_back_exactly(value):
    filler = FillerParameter(value=value)
    assert parse(write_text(filler), FillerParameter()).SerializeToString() == filler.SerializeToString()
