"""Compile proto/caffe.proto to pycaffe_lite/proto/caffe.binpb, the descriptor that the package loads.

Run it after every change of the schema:  python tools/compile_proto.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    SourceCodeInfo,
)

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto" / "caffe.proto"
TARGET = ROOT / "pycaffe_lite" / "proto" / "caffe.binpb"


def compile_proto(source: Path = SOURCE) -> bytes:
    """The serialized FileDescriptorProto of a .proto file: its schema and its comments, no positions."""
    file = protoc(source)
    for message in all_messages(file.message_type):
        for field in message.field:
            field.ClearField("json_name")  # protoc's own guess, of no use in Caffe's formats
    file.source_code_info.CopyFrom(only_comments(file.source_code_info))
    return file.SerializeToString(deterministic=True)


def protoc(source: Path) -> FileDescriptorProto:
    """What the protobuf compiler makes of one .proto file."""
    from grpc_tools import protoc as compiler

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.binpb"
        flags = [f"--proto_path={source.parent}", "--include_source_info", f"--descriptor_set_out={out}"]
        if compiler.main(["protoc", *flags, source.name]) != 0:
            raise SystemExit(f"protoc refused {source}")
        return FileDescriptorSet.FromString(out.read_bytes()).file[0]


def all_messages(messages: list[DescriptorProto]) -> Iterator[DescriptorProto]:
    """Messages and the messages nested in them."""
    for message in messages:
        yield message
        yield from all_messages(message.nested_type)


def only_comments(info: SourceCodeInfo) -> SourceCodeInfo:
    """The comment above a thing and the one after it, as one leading comment; everything else goes."""
    kept = SourceCodeInfo()
    for location in info.location:
        lines = (location.leading_comments + location.trailing_comments).splitlines()
        text = "\n".join(line.removeprefix(" ").rstrip() for line in lines).strip()
        if text:
            kept.location.add(path=location.path, leading_comments=text)
    return kept


if __name__ == "__main__":
    TARGET.write_bytes(compile_proto())
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size} bytes", file=sys.stderr)
