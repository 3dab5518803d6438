"""Every message and top-level enum of proto/caffe.proto, under the names that generated code gives them.

The classes live in a descriptor pool of their own: protobuf's default pool holds one ``caffe.proto``
a process, and another library may have put its own there.
"""

from __future__ import annotations

import pkgutil
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

_pool = DescriptorPool()
_pool.AddSerializedFile(pkgutil.get_data(__package__, "caffe.binpb"))
DESCRIPTOR = _pool.FindFileByName("caffe.proto")


def __getattr__(name: str) -> Any:
    raise AttributeError(f"caffe.proto has no message or enum {name!r}")


for _name, _descriptor in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = _message = GetMessageClass(_descriptor)
    _message.__module__ = __name__  # so that pickle finds the class again
for _name, _descriptor in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = EnumTypeWrapper(_descriptor)
    globals().update({_value.name: _value.number for _value in _descriptor.values})
