"""The schema against Caffe's and its forks', and the private pool that holds it."""

from __future__ import annotations

import importlib.util
import pickle
import struct
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from pycaffe_lite.proto import NetParameter, caffe_pb2
from pycaffe_lite.proto.comments import comment
from pycaffe_lite.proto.forks import fork_of
from pycaffe_lite.proto.schema import fields

ROOT = Path(__file__).resolve().parents[2]


class Row(NamedTuple):
    """A line of a schema-*.tsv."""

    owner: str
    name: str
    number: str
    label: str
    type: str
    of: str
    default: str
    packed: str


def rows(shared: Path, fork: str) -> list[Row]:
    lines = (shared / "reference" / f"schema-{fork}.tsv").read_text().splitlines()
    return [Row(*(line.split("\t") + [""] * 8)[:8]) for line in lines[2:] if line]


def ours() -> dict[tuple[str, str], Row]:
    """Our schema as rows, by owner and name; those of enum values begin with '='."""
    file = descriptor_pb2.FileDescriptorProto()
    caffe_pb2.DESCRIPTOR.CopyToProto(file)
    found: list[Row] = []

    def add_enum(enum: descriptor_pb2.EnumDescriptorProto, prefix: str) -> None:
        for value in enum.value:
            found.append(Row(prefix + enum.name, "=" + value.name, str(value.number), "", "enum", "", "", ""))

    def add_message(message: descriptor_pb2.DescriptorProto, prefix: str) -> None:
        name = prefix + message.name
        for f in message.field:
            of = f.type_name.removeprefix(".caffe.")
            packed = "packed" if f.options.packed else ""
            label = f.Label.Name(f.label).removeprefix("LABEL_").lower()
            kind = f.Type.Name(f.type).removeprefix("TYPE_").lower()
            found.append(Row(name, f.name, str(f.number), label, kind, of, f.default_value, packed))
        for enum in message.enum_type:
            add_enum(enum, name + ".")
        for nested in message.nested_type:
            add_message(nested, name + ".")

    for enum in file.enum_type:
        add_enum(enum, "")
    for message in file.message_type:
        add_message(message, "")
    return {(row.owner, row.name): row for row in found}


def same(a: Row, b: Row) -> bool:
    if a.type == b.type == "float" and a.default and b.default:
        a, b = (row._replace(default=struct.pack("f", float(row.default))) for row in (a, b))
    return a == b


def test_everything_of_caffe_is_there(shared):
    have = ours()
    missing = [row for row in rows(shared, "bvlc") if not same(row, have[row.owner, row.name])]
    assert len(rows(shared, "bvlc")) == 534
    assert missing == []


@pytest.mark.parametrize("fork, before", [("ssd", ["bvlc"]), ("nvcaffe", ["bvlc", "ssd"])])
def test_everything_of_a_fork_is_there_unless_its_number_or_name_was_taken(shared, fork, before):
    have = ours()
    earlier = [row for fork in before for row in rows(shared, fork)]
    names = {(row.owner, row.name) for row in earlier}
    numbers = {(row.owner, row.number) for row in earlier if not row.name.startswith("=")}
    for row in rows(shared, fork):
        if (row.owner, row.name) not in names and (row.owner, row.number) not in numbers:
            assert same(row, have[row.owner, row.name]), row


@pytest.mark.parametrize("fork", ["ssd", "nvcaffe", "intel-caffe"])
def test_fields_that_are_left_out_are_known_to_be_a_forks(shared, fork):
    have = ours()
    messages = {owner for owner, _ in have}
    left_out = [row for row in rows(shared, fork) if row.owner in messages and (row.owner, row.name) not in have]
    for row in left_out:
        if not row.name.startswith("="):
            assert fork_of(row.name, row.owner), row


@pytest.mark.parametrize(
    "field, owner, fork",
    [
        ("roi_pooling_param", "LayerParameter", "Fast R-CNN"),  # the parameters of a layer type of theirs
        ("dense_image_data_param", "LayerParameter", "SegNet"),
        ("augmentation_param", "LayerParameter", "FlowNet"),
        ("yolo_data_type", "AnnotatedDataParameter", "MobileNet-YOLO"),
    ],
)
def test_fields_of_papers_are_known(field, owner, fork):
    assert fork in fork_of(field, owner)
    assert not fork_of(field, "NetParameter")
    assert not fork_of("nonsense_param", owner)


def test_there_is_nothing_else_below_10000(shared):
    known = {(r.owner, r.name) for fork in ("bvlc", "ssd", "nvcaffe") for r in rows(shared, fork)}
    assert [row for key, row in ours().items() if key not in known and int(row.number) < 10000] == []


def test_the_compiled_schema_is_up_to_date():
    pytest.importorskip("grpc_tools", reason="grpcio-tools compiles the schema, and is not installed")
    spec = importlib.util.spec_from_file_location("compile_proto", ROOT / "tools" / "compile_proto.py")
    compile_proto = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compile_proto)
    if not compile_proto.SOURCE.exists():
        pytest.skip("no proto/caffe.proto beside the tests")
    now = descriptor_pb2.FileDescriptorProto.FromString(compile_proto.compile_proto())
    committed = descriptor_pb2.FileDescriptorProto.FromString(compile_proto.TARGET.read_bytes())
    assert now == committed, "run tools/compile_proto.py"


def test_every_message_explains_itself():
    silent = [name for name in caffe_pb2.DESCRIPTOR.message_types_by_name if not comment(name)]
    assert silent == []


def test_every_field_of_a_layer_explains_itself():
    layer = NetParameter.DESCRIPTOR.fields_by_name["layer"].message_type
    blocks = [field.message for field in fields(layer).values() if field.message]
    names = [f"{block.name}.{name}" for block in blocks for name in fields(block)]
    assert [name for name in names if not comment(name)] == []


def test_comments_are_found_by_name():
    assert comment("PoolingParameter.pad") == "Padding on both sides; AVE counts it as zeros."
    assert comment("FillerParameter.VarianceNorm.AVERAGE") == "The mean of both."
    assert comment("Phase").startswith("What a net is for")
    assert comment("DetectNetGroundTruthParameter.ClassMapping.src") == "In the annotations."
    assert comment("NoSuchMessage") == ""


def test_caffe_pb2_looks_like_generated_code():
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1)
    assert caffe_pb2.Phase.Name(1) == "TEST"
    assert caffe_pb2.PoolingParameter.MAX == 0
    assert caffe_pb2.V1LayerParameter.LayerType.Value("CONVOLUTION") == 4
    assert caffe_pb2.NetParameter is NetParameter
    assert caffe_pb2.NetParameter.FromString(b"\n\x01x").name == "x"
    with pytest.raises(AttributeError, match="NetParam"):
        _ = caffe_pb2.NetParam


def test_an_unknown_name_is_an_import_error():
    with pytest.raises(ImportError, match="NetParam"):
        from pycaffe_lite.proto import NetParam  # noqa: F401


def test_messages_can_be_pickled():
    net = NetParameter(name="x", force_backward=True)
    assert pickle.loads(pickle.dumps(net)) == net


def test_another_librarys_caffe_proto_does_not_clash():
    """The default pool takes a different caffe.proto, and both work side by side."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    file.message_type.add(name="NetParameter").field.add(name="other", number=1, label=1, type=9)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    theirs = message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
    assert theirs(other="x").SerializeToString() == NetParameter(name="x").SerializeToString()
    assert not hasattr(theirs(), "layer")
