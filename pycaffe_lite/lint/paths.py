"""Rules on who reads what, and where gradients go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..net import offline
from ..net.deploy import METRICS
from .rules import HINT, NET, TRAINED, WARNING, Hit, rule
from .view import NetView

TOLD = (*METRICS, "ArgMax", "Softmax", "Sigmoid")  # their tops are there to be looked at


@rule("duplicate-name", HINT, NET)
def duplicate_name(net: NetView) -> Iterator[Hit]:
    """Weights, logs and errors know layers by their names."""
    count = Counter(layer.name for layer in net.layers)
    for layer in {layer.name: layer for layer in net.layers}.values():
        if count[layer.name] > 1:
            yield Hit(f"{count[layer.name]} layers have this name", "give each a name of its own", layer)


@rule("dead-layer", WARNING, TRAINED)
def dead_layer(net: NetView) -> Iterator[Hit]:
    """What no loss is computed from gets no gradient: its parameters stay what the filler made them."""
    if net.graph is None:
        return
    for node in net.graph.nodes:
        layer = node.layer
        wanted = [i for i, param in enumerate(node.params) if not param.statistic and layer.param_propagate_down[i]]
        if wanted and not node.needs_backward:
            yield Hit(
                "it never learns: no loss is computed from it",
                "let a loss read it, take it out, or give its parameters lr_mult: 0",
                layer.message,
            )


@rule("unread-blob", HINT, NET)
def unread_blob(net: NetView) -> Iterator[Hit]:
    """A blob that nobody reads is an output of the net: computed for nothing, and printed with all its values at
    every display or test."""
    for top in net.links.unread():
        layer = net.layers[top.layer]
        if not net.trains and layer.type != "Input" and not offline.reads_files(layer):
            continue  # the outputs of a net for use
        if layer.type in TOLD or offline.is_loss(layer) or offline.is_loss_type(layer.type):
            continue
        if any(param for node in [net.nodes.get(layer.name)] if node for param in node.params):
            continue  # a dead layer: another rule's
        name = net.links.name(top)
        yield Hit(
            f"nothing reads its top {name!r}", f"take it out, or give it to a Silence layer (bottom: {name!r})", layer
        )


@rule("loss-without-gradient", WARNING, TRAINED)
def loss_without_gradient(net: NetView) -> Iterator[Hit]:
    """A loss is there to teach the layers below it; if none of them can learn, training changes nothing for it."""
    for node in net.nodes.values():
        if any(node.loss_weights) and node.layer.type != "Split" and not node.needs_backward:
            yield Hit(
                "no parameter below it learns",
                "give a layer below it an lr_mult above 0; look for propagate_down, and layers that have no gradient",
                node.layer.message,
            )
