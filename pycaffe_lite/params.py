"""`params.Pooling.MAX`: the enum values of a layer's parameters by name, for NetSpec. Usually imported as P."""

from __future__ import annotations

from .errors import suggest
from .proto import caffe_pb2


class Values:
    """The enum values that belong to one message: those of PoolingParameter are MAX, AVE, STOCHASTIC ..."""

    def __init__(self, name: str):
        self._message = caffe_pb2.DESCRIPTOR.message_types_by_name[f"{name}Parameter"]
        self._name = name

    def __getattr__(self, name: str) -> int:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._message.enum_values_by_name:
            raise AttributeError(f"{self._message.name} has no value {name!r}{suggest(name, dir(self))}")
        return self._message.enum_values_by_name[name].number

    def __dir__(self) -> list[str]:
        return list(self._message.enum_values_by_name)

    def __repr__(self) -> str:
        return f"<params.{self._name}: {', '.join(dir(self)) or 'no enums'}>"


class Parameters:
    """`Parameters().Pooling` has the values of PoolingParameter, and so on for every message of the schema."""

    def __getattr__(self, name: str) -> Values:
        if name.startswith("__") or f"{name}Parameter" not in caffe_pb2.DESCRIPTOR.message_types_by_name:
            raise AttributeError(f"the schema has no message {name}Parameter{suggest(name, dir(self))}")
        return Values(name)

    def __dir__(self) -> list[str]:
        names = caffe_pb2.DESCRIPTOR.message_types_by_name
        return [name.removesuffix("Parameter") for name in names if name.endswith("Parameter")]


__getattr__ = Parameters().__getattr__


def __dir__() -> list[str]:
    return [*globals(), *dir(Parameters())]
