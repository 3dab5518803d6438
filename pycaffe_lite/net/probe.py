"""Two nets that should compute the same, run on the same random inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import CaffeError
from .net import Net
from .wire import Graph

# Bottoms whose values are numbers of classes, entries or samples, or markers: only few values make sense
INDICES = {
    ("Accuracy", 1), ("BatchReindex", 1), ("ContrastiveLoss", 2), ("Embed", 0), ("Filter", -1), ("HingeLoss", 1),
    ("InfogainLoss", 1), ("LSTM", 1), ("MultinomialLogisticLoss", 1), ("RNN", 1), ("SoftmaxWithLoss", 1),
}  # fmt: skip


def random_inputs(net: Net, seed: int = 0) -> dict[str, np.ndarray]:
    """Values for all inputs: normal ones, or zeros where a layer takes them for labels and the like."""
    labels, rng = label_names(net.graph), np.random.default_rng(seed)
    found = {}
    for name in net.inputs:
        shape = net.blobs[name].shape
        found[name] = np.zeros(shape) if name in labels else rng.standard_normal(shape)
    return found


def label_names(graph: Graph) -> set[str]:
    """Blobs that layers read as labels, indices or markers, directly or through Split layers."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        if node.layer.type == "Split" and found.intersection(node.top_names):
            found.update(node.bottom_names)
        count = len(node.bottom_names)
        for index, name in enumerate(node.bottom_names):
            if {(node.layer.type, index), (node.layer.type, index - count)} & INDICES:
                found.add(name)
    return found


def largest_difference(first: Net, second: Net, blobs: dict[str, str], seed: int = 0) -> tuple[float, str]:
    """The largest difference between blobs of two nets (name in the first -> name in the second), and where.

    Both nets get the same inputs; differences are relative to the largest value of their blob.
    """
    values = random_inputs(first, seed)
    for net in (first, second):
        for name in net.inputs:
            net.blobs[name].data[...] = values.get(name, 0)
        net.run_forward()
    worst, where = 0.0, ""
    for name, other in blobs.items():
        a, b = (net.blobs[n].data.astype(np.float64) for net, n in ((first, name), (second, other)))
        difference = float(np.abs(a - b).max(initial=0)) / max(float(np.abs(a).max(initial=0)), 1e-30)
        if not difference <= worst:  # a NaN is the worst
            worst, where = difference, name
    return worst, where


def refuse_difference(first: Net, second: Net, blobs: dict[str, str], tolerance: float) -> float:
    """The largest difference (see above); CaffeError if it is more than rounding can explain."""
    worst, where = largest_difference(first, second, blobs)
    if not worst <= tolerance:
        raise CaffeError(
            f"the new net does not compute the same: blob {where!r} differs by {worst:.3g} of its largest value "
            f"(allowed: {tolerance:g}); nothing was written"
        )
    return worst


def arrays(net: Net) -> dict[str, list[Any]]:
    """The parameters of a net, by layer."""
    return {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}
