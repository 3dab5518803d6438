"""Caffe's messages: ``from pycaffe_lite.proto import NetParameter, SolverParameter, Datum``.

Nets and solvers are read by `text` (any message) and `upgrade` (read, then brought up to date).
"""

from __future__ import annotations

from typing import Any

from . import caffe_pb2


def __getattr__(name: str) -> Any:
    try:
        return getattr(caffe_pb2, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return [*globals(), *caffe_pb2.DESCRIPTOR.message_types_by_name]
