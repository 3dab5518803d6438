"""Rules on weights given with --weights."""

from __future__ import annotations

from collections.abc import Iterator

from .rules import ERROR, NET, WARNING, Hit, rule
from .view import NetView


@rule("weights-do-not-fit", ERROR, NET)
def weights_do_not_fit(net: NetView) -> Iterator[Hit]:
    """Parameters are matched by the names of layers; a layer whose shapes differ is refused when they are loaded."""
    owned = {id(entry.blob) for entry in net.graph.learnable} if net.graph else set()
    for node in net.nodes.values():
        stored = net.weights.get(node.layer.name)
        problem = stored.mismatch(node.layer, owned) if stored is not None and stored.params else ""
        if problem:
            yield Hit(
                problem.removeprefix(f"layer {node.layer.name!r} ({node.layer.type})").lstrip(", "),
                "give the layer another name to learn it from scratch, or load with --ignore-mismatch",
                node.layer.message,
            )


@rule("layer-without-weights", WARNING, NET)
def layer_without_weights(net: NetView) -> Iterator[Hit]:
    """A layer that the weights do not know by name keeps what its fillers make."""
    if not net.weights:
        return
    missing = [n.layer for n in net.nodes.values() if n.layer.blobs and n.layer.name not in net.weights]
    if missing:
        names = ", ".join(layer.name for layer in missing[:5]) + (" ..." if len(missing) > 5 else "")
        yield Hit(
            f"{len(missing)} layer(s) are not in the weights: {names}",
            "nothing, if they are to be learnt; else look for other spellings with `caffe-lite diff`",
            missing[0].message,
            general=True,
        )
