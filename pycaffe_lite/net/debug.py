"""`debug_info`: mean magnitudes of every blob, gradient and update, in the lines that Caffe logs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..logs import tell
from .wire import Graph, Node


def _mean(values: np.ndarray) -> str:
    return f"{float(np.abs(values).mean(dtype=np.float64)) if values.size else 0:g}"


def display_name(layer: Any, index: int) -> str:
    """A parameter's name in these lines: that of its `param`, or its number."""
    specs = layer.message.param
    return (specs[index].name if index < len(specs) else "") or str(index)


def layer(node: Node, direction: str) -> None:
    """Log what a layer has computed in this pass."""
    if direction == "forward":
        forward(node)
    elif node.needs_backward:
        backward(node)


def forward(node: Node) -> None:
    """Log a layer's tops and parameters after its forward."""
    name = node.layer.name
    for top_name, top in zip(node.top_names, node.top):
        tell("net.cpp:605", f"    [Forward] Layer {name}, top blob {top_name} data: {_mean(top.data)}")
    for index, blob in enumerate(node.layer.blobs):
        param = display_name(node.layer, index)
        tell("net.cpp:617", f"    [Forward] Layer {name}, param blob {param} data: {_mean(blob.data)}")


def backward(node: Node) -> None:
    """Log the gradients a layer has computed."""
    name = node.layer.name
    for bottom_name, bottom, wanted in zip(node.bottom_names, node.bottom, node.propagate_down):
        if wanted:
            tell(
                "net.cpp:636",
                f"    [Backward] Layer {name}, bottom blob {bottom_name} diff: {_mean(bottom.diff)}",
            )
    for index, blob in enumerate(node.layer.blobs):
        if node.layer.learns(index):
            tell("net.cpp:646", f"    [Backward] Layer {name}, param blob {index} diff: {_mean(blob.diff)}")


def norms(graph: Graph) -> None:
    """Log the norms of all parameters and their gradients after a whole backward."""
    data = [entry.blob.data.astype(np.float64) for entry in graph.learnable]
    diff = [entry.blob.diff.astype(np.float64) for entry in graph.learnable]
    l1 = [sum(float(np.abs(a).sum()) for a in arrays) for arrays in (data, diff)]
    l2 = [sum(float((a * a).sum()) for a in arrays) ** 0.5 for arrays in (data, diff)]
    pairs = f"L1 norm = ({l1[0]:g}, {l1[1]:g}); L2 norm = ({l2[0]:g}, {l2[1]:g})"
    tell("net.cpp:592", f"    [Backward] All net params (data, diff): {pairs}")


def update(graph: Graph, before: list[Any]) -> None:
    """Log each parameter and the update that it has just taken; `before` holds the values in front of it.

    Caffe 1.0 has these lines, but no longer prints them; its older versions did.
    """
    for entry, old in zip(graph.learnable, before):
        text = f"data: {_mean(old)}; diff: {_mean(entry.blob.diff)}"
        param = display_name(entry.layer, entry.index)
        tell("net.cpp:660", f"    [Update] Layer {entry.layer.name}, param {param} {text}")
