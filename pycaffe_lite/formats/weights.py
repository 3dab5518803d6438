"""Weights into a net and out of it, whatever the format of the file; matched by layer name, as Caffe does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import WeightsError
from ..logs import log, tell
from . import caffemodel, files, hdf5, tensors
from .stored import Shape, StoredLayer, numbers

Shapes = dict[str, list[Shape]]


@dataclass(repr=False)
class LoadReport:
    """What became of the parameters, by layer: their shapes in the net (`skipped`: in the file)."""

    source: str
    count: int = 0  # numbers loaded
    loaded: Shapes = field(default_factory=dict)
    skipped: Shapes = field(default_factory=dict)  # in the file only
    missing: Shapes = field(default_factory=dict)  # in the net only
    mismatched: Shapes = field(default_factory=dict)  # in both, but of another shape, and so left alone

    def lines(self) -> list[str]:
        """The report, a line for each kind of thing that happened."""
        kinds = (
            ("in the net only, left as they were", self.missing),
            ("in the file only, skipped", self.skipped),
            ("of another shape in the file, left as they were", self.mismatched),
        )
        found = f"{len(self.loaded)} layer(s) with {self.count:,} parameters loaded from {self.source}"
        return [found] + [f"  {what}: {described(layers)}" for what, layers in kinds if layers]

    def __repr__(self) -> str:
        return "\n".join(self.lines())


def described(layers: Shapes) -> str:
    """Layers with the shapes of their parameters: "conv1 (20, 1, 5, 5) (20,), ip1 (500, 800)"."""
    return ", ".join(" ".join([name, *map(str, shapes)]) for name, shapes in layers.items())


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Iterable[StoredLayer]]:
    """The layers in a file of weights, its format known from its first bytes."""
    source = os.fspath(path)
    start = beginning(source)
    if start.startswith(hdf5.MAGIC):
        with hdf5.reading(source) as file:
            yield hdf5.layers(file, source)
    elif start.startswith(b"PK\x03\x04"):
        with tensors.reading_npz(source) as layers:
            yield layers
    elif source.endswith(".safetensors"):
        with tensors.reading_safetensors(source) as layers:
            yield layers
    else:
        yield caffemodel.read(source)


def beginning(source: str) -> bytes:
    """The first bytes of a file; none if it cannot be read."""
    if not os.path.isfile(source):
        return b""
    try:
        with open(source, "rb") as file:
            return file.read(8)
    except OSError:
        return b""


def load(net: Any, path: str | os.PathLike[str], ignore_mismatch: bool = False) -> LoadReport:
    """Copy the parameters of every layer that file and net both have, and tell what became of the rest.

    Nothing is copied unless all of them fit. With `ignore_mismatch` a layer that does not fit stays as it was.
    """
    report = LoadReport(os.fspath(path))
    with opened(path) as layers:
        # As a list, so that a file that is cut off says so before anything else is said.
        pairs = match(net, list(layers), report, ignore_mismatch)
        for source, layer in pairs:
            source.copy_to(layer)
    memories = {id(blob.data_memory): blob.count for _, layer in pairs for blob in layer.blobs}
    report.count = sum(memories.values())  # what layers share, once
    tell_all(report, net)
    return report


def match(
    net: Any, sources: list[StoredLayer], report: LoadReport, ignore_mismatch: bool
) -> list[tuple[StoredLayer, Any]]:
    """Which parameters in the file are for which layer of the net; the report takes note."""
    layers = {layer.name: layer for layer in reversed(net.layers)}  # of two layers of one name, the first
    owned = {id(entry.blob) for entry in net.graph.learnable}
    pairs = []
    for source in sources:
        layer = layers.get(source.name)
        shapes = [stored.shape for stored in source.params.values()]
        if layer is None:
            tell("net.cpp:740", f"Ignoring source layer {source.name}")
            if shapes:
                report.skipped[source.name] = shapes
        elif not (problem := source.mismatch(layer, owned)):
            pairs.append((source, layer))
            if layer.blobs:
                report.loaded[layer.name] = [blob.shape for blob in layer.blobs]
        elif ignore_mismatch:
            report.mismatched[layer.name] = shapes
        else:
            raise WeightsError(
                f"weights {report.source}: {problem}; to learn this layer from scratch, give it another "
                "name, or leave it as it is: train and test take --ignore-mismatch, copy_from ignore_mismatch=True"
            )
    for layer in net.layers:
        known = layer.name in report.loaded or layer.name in report.mismatched
        if not known and any(id(blob) in owned for blob in layer.blobs):
            report.missing[layer.name] = [blob.shape for blob in layer.blobs]
    return pairs


def tell_all(report: LoadReport, net: Any) -> None:
    """Log the report; a warning if the file had nothing for this net."""
    for line in report.lines():
        log.info("%s", line)
    if not report.loaded and any(layer.blobs for layer in net.layers):
        has = ", ".join(report.skipped) or "no parameters"
        log.warning(
            "%s: nothing was loaded: net %r has none of its layers (the file has %s)", report.source, net.name, has
        )


def save(
    net: Any, path: str | os.PathLike[str], write_diff: bool = False, half: bool = False, suffix: str = ""
) -> None:
    """Write the parameters of a net, whole or not at all; the suffix names the format: see `write`."""
    with files.replacing(path) as (temporary,):
        write(net, temporary, suffix or os.path.splitext(path)[1], write_diff, half)


def write(net: Any, path: str, suffix: str, write_diff: bool = False, half: bool = False) -> None:
    """Write the parameters of a net to `path` as .h5, .npz, .safetensors, or else as a caffemodel.

    `write_diff` adds the gradients; with `half`, numbers are float16 (in a caffemodel, NVIDIA's raw fields).
    """
    dtype = np.dtype(np.float16) if half else net.graph.dtype
    if write_diff and suffix in (".npz", ".safetensors"):
        raise WeightsError(f"{suffix} files hold no gradients, only .caffemodel and .h5 do; leave write_diff out")
    if half:
        check_range(net)
    if suffix == ".h5":
        hdf5.write_net(net, path, write_diff, dtype)
    elif suffix == ".npz":
        tensors.write_npz(net, path, dtype)
    elif suffix == ".safetensors":
        tensors.write_safetensors(net, path, dtype)
    else:
        caffemodel.write(net, path, write_diff, dtype)


def check_range(net: Any) -> None:
    """Refuse parameters that float16 cannot hold."""
    limit = float(np.finfo(np.float16).max)
    for layer in net.layers:
        for index, blob in enumerate(layer.blobs):
            largest = float(np.abs(numbers(blob, net.graph.dtype)).max(initial=0))
            if largest > limit:
                raise WeightsError(
                    f"layer {layer.name!r}, parameter {index}: {largest:g} is beyond float16's {limit:g}"
                )
