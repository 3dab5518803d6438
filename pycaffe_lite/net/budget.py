"""What a net needs of memory, part by part, and which batch would fit: said where memory runs out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import numpy as np

from ..errors import DeviceError, DeviceMemoryError
from ..memory import aligned_size
from .place import offsets
from .plan import lifetimes, readable, room_for, scratch_of
from .wire import Graph

histories: ContextVar[int] = ContextVar("histories", default=0)
"""Arrays of the size of all parameters that the solver keeps of the nets that are made."""

GROWS = ("activations", "scratch")  # with the batch


@contextmanager
def training_with(count: int) -> Iterator[None]:
    """Nets made in this block are for a solver that keeps so many histories."""
    token = histories.set(count)
    try:
        yield
    finally:
        histories.reset(token)


@contextmanager
def explained(graph: Graph, share: bool = False, keep: frozenset[str] = frozenset()) -> Iterator[None]:
    """Where memory runs out in this block, say what this net needs and what would fit."""
    try:
        yield
    except DeviceMemoryError as error:
        told = advice(graph, error.available, share, keep, error.otherwise)
        raise DeviceError(f"{error}; {told}") from error


def needs(graph: Graph, share: bool = False, keep: frozenset[str] = frozenset()) -> dict[str, int]:
    """Bytes by kind. Workspaces of libraries are not among them: these are asked for later, and are seldom large."""
    item = np.dtype(graph.dtype).itemsize
    parameters = sum(aligned_size(entry.blob.count, graph.dtype) for entry in graph.learnable) * item
    buffers = lifetimes(replace(graph, kept=readable(graph, share, keep)))
    scratch = room = 0
    for node in graph.nodes:
        own, passing = scratch_of(node, graph)
        room = max(room, room_for(passing, graph.dtype))
        for wanted in own.values():
            if isinstance(wanted, np.ndarray):
                scratch += wanted.nbytes
            else:
                scratch += math.prod(wanted[0]) * np.dtype(wanted[1] or graph.dtype).itemsize
    found = {
        "parameters": parameters,
        "gradients": parameters,
        "history": parameters * histories.get(),
        "activations": offsets(buffers, share)[1] * item,
        "scratch": scratch + room,
        "data": sum(getattr(node.layer, "kept_bytes", 0) for node in graph.nodes),
    }
    return {kind: size for kind, size in found.items() if size}


def advice(
    graph: Graph,
    available: int,
    share: bool = False,
    keep: frozenset[str] = frozenset(),
    otherwise: str = DeviceMemoryError.otherwise,
) -> str:
    """The needs in words, and the largest batch that would fit into so many bytes."""
    parts = needs(graph, share, keep)
    whole = sum(parts.values())
    told = ", ".join(f"{kind} {megabytes(size)}" for kind, size in parts.items() if size > whole / 100)
    text = f"net {graph.name!r} needs {megabytes(whole)}: {told}"
    batch = next((top.shape[0] for node in graph.nodes for top in node.top if top.shape), 1)
    growing = sum(parts.get(kind, 0) for kind in GROWS)
    left = available - (whole - growing)
    fits = min(batch - 1, int(left * batch / growing)) if growing and left > 0 else 0
    if batch > 1 and fits >= 1:
        passes = math.ceil(batch / fits)
        while batch % passes and batch // passes > 1:
            passes += 1
        return f"{text}. A batch_size of {batch // passes} with iter_size {passes} should fit, for {batch} as now"
    dear = max(parts, key=parts.__getitem__, default="")
    hint = " (--keep-data 0 leaves the data set on the host)" if dear == "data" else ""
    return f"{text}. No batch_size would fit{hint}; take a smaller net, {otherwise}"


def megabytes(count: int) -> str:
    """So many bytes in MB."""
    return f"{count / 2**20:.1f} MB"
