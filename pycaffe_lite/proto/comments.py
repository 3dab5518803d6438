"""The comments of proto/caffe.proto, by the names of what they explain: help for people writing prototxt."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

# Where SourceCodeInfo's paths lead, from each kind of descriptor: the field's number, and what is there
_FILE = {4: "message_type", 5: "enum_type"}
_MESSAGE = {2: "field", 3: "nested_type", 4: "enum_type"}
_ENUM = {2: "value"}
_INSIDE = {"message_type": _MESSAGE, "nested_type": _MESSAGE, "enum_type": _ENUM}


def comment(name: str) -> str:
    """What the schema says of ``PoolingParameter`` or ``PoolingParameter.pad``; empty if it says nothing."""
    return _comments().get(name, "")


@cache
def _comments() -> dict[str, str]:
    file = FileDescriptorProto.FromString(pkgutil.get_data(__package__, "caffe.binpb") or b"")
    return {
        ".".join(_names(file, list(location.path))): location.leading_comments
        for location in file.source_code_info.location
    }


def _names(owner: Any, path: list[int]) -> Iterator[str]:
    """The names on the way from the file to what a path points at."""
    inside = _FILE
    while len(path) >= 2:
        kind, index, *path = path
        owner = getattr(owner, inside[kind])[index]
        inside = _INSIDE.get(inside[kind], {})
        yield owner.name
