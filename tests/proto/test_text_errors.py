"""What is wrong with a prototxt, in exact words: the place, the problem, and a way out."""

from __future__ import annotations

import logging
import re

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pycaffe_lite.errors import PrototxtError
from pycaffe_lite.proto import NetParameter, SolverParameter
from pycaffe_lite.proto.text import parse, read


def refusal(text, kind=NetParameter, **options):
    with pytest.raises(PrototxtError) as caught:
        parse(text, kind(), "net.prototxt", **options)
    return str(caught.value)


UNKNOWN = [
    (
        "layer {\n  convolution_param {\n    kernal_size: 3\n  }\n}",
        "3:5: unknown field 'kernal_size' in ConvolutionParameter; did you mean 'kernel_size'?",
    ),
    (
        'layer {\n  name: "a"\nlayer {\n  name: "b"\n}',
        "3:1: unknown field 'layer' in LayerParameter; NetParameter has it: is a '}' missing above?",
    ),
    (
        "layer { kernel_size: 3 }",
        "1:9: unknown field 'kernel_size' in LayerParameter; it belongs in convolution_param or pooling_param",
    ),
    ("base_lr: 1", "1:1: unknown field 'base_lr' in NetParameter; it belongs in a SolverParameter"),
    (
        "layer { forward_type: FLOAT16 }",
        "1:9: unknown field 'forward_type' in LayerParameter; NVIDIA's Caffe has it",
    ),
    (
        "layer { roi_pooling_param { } }",
        "1:9: unknown field 'roi_pooling_param' in LayerParameter; Fast R-CNN's Caffe has it",
    ),
    (
        "layer { convolutional_param { } }",
        "1:9: unknown field 'convolutional_param' in LayerParameter; did you mean 'convolution_param'?",
    ),
    ("layer { zzz_param { } }", "1:9: unknown field 'zzz_param' in LayerParameter"),
]

ENUMS = [
    (
        "layer { pooling_param { pool: MAXX } }",
        "1:31: unknown value MAXX for 'pool'; it takes one of MAX, AVE, STOCHASTIC; did you mean 'MAX'?",
    ),
    (
        "layer { pooling_param { pool: 7 } }",
        "1:31: unknown value 7 for 'pool'; it takes one of MAX, AVE, STOCHASTIC",
    ),
    (
        'layer { pooling_param { pool: "max" } }',
        "1:31: 'pool' takes a name without quotes, found \"max\";"
        " it takes one of MAX, AVE, STOCHASTIC; did you mean 'MAX'?",
    ),
    (
        "layer { pooling_param { engine: MKLDNN } }",
        "1:33: unknown value MKLDNN for 'engine'; Intel's Caffe has it",
    ),
]

VALUES = [
    (
        "layer { type: Convolution }",
        "1:15: 'type' takes a string in quotes, found 'Convolution': write \"Convolution\"",
    ),
    ("input_dim: 1.5", "1:12: 'input_dim' takes an integer, found '1.5'"),
    ("input_dim: 1e3", "1:12: 'input_dim' takes an integer, found '1e3'"),
    ("input_dim: 099", "1:12: 'input_dim' takes an integer, found '099'"),
    ('input_dim: "1"', "1:12: 'input_dim' takes an integer, found \"1\""),
    ("input_dim: $N", "1:12: 'input_dim' takes an integer, found '$'"),
    ("input_dim: -x", "1:12: 'input_dim' takes an integer, found '-x'"),
    ("input_dim: 2147483648", "1:12: 'input_dim' is int32, -2147483648 to 2147483647: found 2147483648"),
    ("layer { pooling_param { pad: -1 } }", "1:30: 'pad' is uint32, 0 to 4294967295: found -1"),
    ("layer { loss_weight: 02.5 }", "1:22: 'loss_weight' takes a number, found '02.5'"),
    ("layer { loss_weight: O.5 }", "1:22: 'loss_weight' takes a number, found 'O'"),
    ("force_backward: yes", "1:17: 'force_backward' takes true or false, found 'yes'"),
    ("force_backward: 2", "1:17: 'force_backward' takes true or false, found '2'"),
    ('name: ["a"]', "1:7: 'name' takes one value, not a list"),
    ("layer { clip_param { min: 1 } }", "1:9: ClipParameter lacks its required field 'max'"),
    ('name: "a"\nname: "b"', "2:1: non-repeated field 'name' is specified multiple times"),
    (
        "layer { pooling_param { } pooling_param { } }",
        "1:27: non-repeated field 'pooling_param' is specified multiple times",
    ),
]

GRAMMAR = [
    ('layer {\n  name: "a"\n', "3:1: expected '}' to close 'layer' of line 1, found the end of the file"),
    ('layer {\n  name: "a"\n}\n}\n', "4:1: expected a field name, found '}'"),
    ('layer <\n  name: "a"\n}\n', "3:1: expected '>' to close 'layer' of line 1, found '}'"),
    ('layer { name: "a', "1:15: this string is not closed: strings end on the line they begin"),
    ("layer { name: 'a\n' }", "1:15: this string is not closed: strings end on the line they begin"),
    ('name: "\\q"', "1:7: 'name': unknown escape \\q in a string"),
    ('name: "\\Uffffffff"', "1:7: 'name': unknown escape \\Uffffffff in a string"),
    ('name: "\\ud800"', "1:7: 'name' is not UTF-8 text: byte 0xed"),
    ('name "a"', "1:6: expected ':' after 'name', found \"a\""),
    ("layer: 3", "1:8: expected '{' after 'layer', found '3'"),
    ("input: 'a'\n// data", "2:1: expected '#' before a comment, found '/'"),
    ("device_id: 0,1", "1:1: unknown field 'device_id' in NetParameter; it belongs in a SolverParameter"),
    ("input_dim: [1, 2", "1:17: expected ',' or ']' in the list of 'input_dim', found the end of the file"),
    ("input_dim: [1, ]", "1:16: 'input_dim' takes an integer, found ']'"),
    ("[ext]: 1", "1:1: expected a field name, found '['"),
    (b'name: "\xca\xfd"', "1:7: 'name' is not UTF-8 text: byte 0xca"),
    (b'name: "a" \xca', "1:11: expected a field name, found byte 0xca, which is not UTF-8"),
    ("\tname:\u3000'a'", "1:7: 'name' takes a string in quotes, found '\\u3000'"),
]


@pytest.mark.parametrize("text, problem", UNKNOWN + ENUMS + VALUES + GRAMMAR)
def test_refusals(text, problem):
    assert refusal(text) == f"net.prototxt:{problem}"


def test_a_v1_type_in_quotes():
    problem = refusal('layers { type: "InnerProduct" }')
    assert problem.startswith("net.prototxt:1:16: 'type' takes a name without quotes, found \"InnerProduct\"; it takes")
    assert problem.endswith("; did you mean 'INNER_PRODUCT'?")


def test_a_net_given_as_a_solver():
    assert refusal("layer { }", SolverParameter) == (
        "net.prototxt:1:1: unknown field 'layer' in SolverParameter;"
        " it belongs in net_param or train_net_param or test_net_param or a NetParameter"
    )


def test_deep_nesting_is_no_recursion():
    deep = 10_000
    assert "unknown field 'a' in NetParameter" in refusal("a {" * deep)
    assert parse("a {" * deep + "}" * deep, NetParameter(), allow_unknown=True) == NetParameter()
    closing = refusal("a {" * deep, allow_unknown=True)
    assert closing == f"net.prototxt:1:{3 * deep + 1}: expected '}}' to close 'a' of line 1, found the end of the file"


def test_unknown_fields_may_be_skipped_with_a_warning(caplog):
    text = """
    name: "a"
    multinode { model_parallel < layer_from: "x" num: -1.5e3 > list: [ { a: 'b' "}" }, { } ] }
    engine: "MKL" "DNN";
    layer { relu_param { engine: MKL2017 negative_slope: 0.5 fuse: true } }
    """
    net = parse(text, NetParameter(), "net.prototxt", allow_unknown=True)
    assert net == parse('name: "a" layer { relu_param { negative_slope: 0.5 } }', NetParameter())
    assert [record.getMessage() for record in caplog.records] == [
        "net.prototxt:3:5: skipped unknown field 'multinode' in NetParameter; Intel's Caffe has it",
        "net.prototxt:4:5: skipped unknown field 'engine' in NetParameter; Intel's Caffe has it",
        "net.prototxt:5:34: skipped unknown value MKL2017 for 'engine'; Intel's Caffe has it",
        "net.prototxt:5:62: skipped unknown field 'fuse' in ReLUParameter; Intel's Caffe has it",
    ]
    assert {(record.name, record.levelno) for record in caplog.records} == {("pycaffe_lite", logging.WARNING)}


@pytest.mark.parametrize(
    "text, problem",
    [
        ("foo", "1:4: expected a value of 'foo', found the end of the file"),
        ("layer { foo: }", "1:14: expected a value of 'foo', found '}'"),
        ("foo { a: [ 1 } ]", "1:14: expected ']' to close 'foo' of line 1, found '}'"),
        (
            "layer { pooling_param { pool: L2 } }",
            "1:31: unknown value L2 for 'pool'; it takes one of MAX, AVE, STOCHASTIC",
        ),
    ],
)
def test_what_is_broken_cannot_be_skipped(text, problem):
    assert refusal(text, allow_unknown=True) == f"net.prototxt:{problem}"


SAMPLE = r"""
layer { name : "a" type: 'b' bottom: [ "x" , "y" ] pooling_param < pool: AVE > ;
clip_param { min: 1 max: -2.5e3f } } layers input_dim: 0x1F 09
1e - # é \ "open $ foo bar: include { phase: TRAIN engine: X state
"""
WORDS = [*re.findall(r"\S+|\n", SAMPLE), "\x00", "\udcff"]


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(WORDS)).map(" ".join) | st.text(), st.booleans())
def test_no_text_ends_in_another_error(caplog, text, allow_unknown):
    try:
        parse(text, NetParameter(), "net.prototxt", allow_unknown)
    except PrototxtError as error:
        assert re.match(r"net\.prototxt:[1-9]\d*:[1-9]\d*: \S", str(error))
        assert str(error).encode()  # it can be printed


# Files that are broken whatever the schema: where, and in what way
BROKEN = [
    (
        "HolmesShuan__ResNet-18-Caffemodel-on-ImageNet/solver.prototxt",
        "15:14: expected a field name, found '1'",
    ),
    (
        "dividiti__ck-caffe/package/caffemodel-vgg19/deploy.prototxt",
        "3:12: 'input_dim' takes an integer, found '$'",
    ),
    (
        "ducha-aiki__LSUVinit/examples/lsuv/cifar10/fitnet4_sigmoid_msra.prototxt",
        "35:67: this string is not closed: strings end on the line they begin",
    ),
    (
        "longwang4321__caffe-mnist/lenet_train_test(带注释).prototxt",
        "4:19: expected '#' before a comment, found '/'",
    ),
    (
        "wateryym__authorship-recognition/lenet.prototxt",
        "5:1: 'input_dim' takes an integer, found 'input_dim'",
    ),
]


@pytest.mark.parametrize("path, problem", BROKEN)
def test_broken_files_that_people_wrote(shared, path, problem):
    full = shared / "corpus" / "forks" / path
    with pytest.raises(PrototxtError) as caught:
        read(full, NetParameter, allow_unknown=True)
    assert str(caught.value) == f"{full}:{problem}"


# Where protobuf's parser takes a number for a name, or looks for names in a block that it skips
THEIRS_DIFFERS = ("ResNet-18-Caffemodel-on-ImageNet/solver.prototxt", "fitnet4_sigmoid_msra.prototxt")


def test_files_of_the_forks(shared):
    """They parse with allow_unknown, or are refused where protobuf's own parser refuses them."""
    parsed = 0
    paths = sorted(path for path in (shared / "corpus" / "forks").rglob("*") if path.is_file())
    for path in paths:
        kind = SolverParameter if "solver" in path.name else NetParameter
        try:
            read(path, kind, allow_unknown=True)
            parsed += 1
        except PrototxtError as error:
            line, column = str(error).removeprefix(f"{path}:").split(":")[:2]
            text = path.read_bytes().decode("utf-8", "replace")
            with pytest.raises(text_format.ParseError) as theirs:
                text_format.Parse(text, kind(), allow_unknown_field=True)
            if not str(path).endswith(THEIRS_DIFFERS):
                assert (int(line), int(column)) == (theirs.value.GetLine(), theirs.value.GetColumn()), path
    assert len(paths) == 200
    assert parsed == 159
