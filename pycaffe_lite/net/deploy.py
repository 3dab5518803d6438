"""From a net for training to one for use: inputs in place of data, scores in place of losses, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..layer_help import PARAMETERS
from ..proto import LayerParameter, NetParameter, printer
from ..proto.schema import fields
from . import offline
from .links import Links, Top

# What a loss computes inside, and the message of its own that says along which axis
HEADS = {
    "SoftmaxWithLoss": ("Softmax", "softmax_param"),
    "InfogainLoss": ("Softmax", "infogain_loss_param"),
    "SigmoidCrossEntropyLoss": ("Sigmoid", ""),
}
METRICS = ("Accuracy", "Silence", "HDF5Output")  # they tell, or take, but give no scores
TRAINING_FIELDS = ("include", "exclude", "phase", "loss_weight", "propagate_down", "loss_param", "param", "blobs")


@dataclass
class Deployed:
    """The net to use, the blobs with its scores as the net for testing names them, and what a person should know."""

    param: Any
    scores: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    preprocessing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def deploy(
    net: Any,
    folder: str = "",
    shapes: dict[str, offline.Shape] | None = None,
    drop_dropout: bool = False,
    keep_auxiliary: bool = False,
) -> Deployed:
    """The net for use of a net that is selected for TEST; `shapes` are those of inputs, where the file's do not do."""
    offline.check_names(net, shapes or {})
    links, made = Links(net), Deployed(NetParameter(name=net.name))
    losses = all_losses(net)
    if not keep_auxiliary:
        losses = without_auxiliary(links, losses)
    wanted = scores(links, losses)
    kept = links.below(wanted)
    heads = {i for i in losses if net.layer[i].type in HEADS and not own_head(links, i)}
    used = {source for i in kept for source in links.sources[i]} | set(wanted)
    for i, layer in enumerate(net.layer):
        if i in heads:
            made.param.layer.append(head(layer, links, alone=len(heads) == 1))
        elif i not in kept:
            made.dropped.append(layer.name)
        elif offline.reads_files(layer) or layer.type == "Input":
            add_input(
                made, layer, [top for top in range(len(layer.top)) if Top(i, top) in used], net, folder, shapes or {}
            )
        else:
            made.param.layer.append(cleaned(layer))
    made.scores = [links.name(top) for top in wanted]
    if drop_dropout:
        bypass_dropout(made)
    return made


def all_losses(net: Any) -> list[int]:
    """The layers that are losses by type or weight; those of weight 0 are there to be looked at in training."""
    return [i for i, layer in enumerate(net.layer) if offline.is_loss(layer) or offline.is_loss_type(layer.type)]


def scores(links: Links, losses: Iterable[int]) -> list[Top]:
    """The blobs that a net is for: what its losses judge, and its other outputs that were computed with parameters."""
    found: dict[Top, None] = {}
    for i in losses:
        if links.net.layer[i].type in HEADS:
            found |= dict.fromkeys([links.sources[i][0], *own_head(links, i)])
        else:
            found |= dict.fromkeys(source for source in links.sources[i] if is_computed(links, source))
    every_loss = set(all_losses(links.net))
    for top in links.unread():
        layer = links.net.layer[top.layer]
        judged = links.below([top]) & every_loss or layer.type in METRICS
        beside = every_loss and not is_computed(links, top)  # a label that nobody reads
        if not judged and not beside:
            found[top] = None
    return list(found)


def is_computed(links: Links, top: Top) -> bool:
    """Whether parameters had a part in a blob."""
    below = (links.net.layer[i] for i in links.below([top]))
    return any(layer.type in PARAMETERS and not offline.reads_files(layer) for layer in below)


def without_auxiliary(links: Links, losses: list[int]) -> list[int]:
    """The losses without those that weigh less than another one of the same labels: they only help training."""
    weight = {i: next(iter(links.net.layer[i].loss_weight), 1.0) for i in losses}
    labels = {i: tuple(map(links.name, links.sources[i][1:2])) for i in losses}
    heaviest = {labels[i]: max(weight[j] for j in losses if labels[j] == labels[i]) for i in losses}
    return [i for i in losses if weight[i] == heaviest[labels[i]]]


def own_head(links: Links, loss: int) -> list[Top]:
    """The blobs in which the net computes the scores of a loss by itself: it has a Softmax, say, beside it."""
    kind = HEADS[links.net.layer[loss].type][0]
    readers = links.readers[links.sources[loss][0]]
    return [Top(i, 0) for i, _ in readers if links.net.layer[i].type == kind]


def head(loss: Any, links: Links, alone: bool) -> Any:
    """The layer that computes the scores of a loss; its top is `prob`, or the loss's own second top."""
    kind, param = HEADS[loss.type]
    taken = {name for layer in links.net.layer for name in (layer.name, *layer.top)}
    name = "prob" if alone and "prob" not in taken else f"{loss.name}/prob"
    layer = LayerParameter(
        name=name, type=kind, bottom=loss.bottom[:1], top=[loss.top[1] if len(loss.top) > 1 else name]
    )
    if param and getattr(loss, param).HasField("axis"):
        layer.softmax_param.axis = getattr(loss, param).axis
    return layer


def add_input(made: Deployed, layer: Any, places: list[int], net: Any, folder: str, wanted: dict[str, Any]) -> None:
    """An Input layer with the tops of a data layer that are still used."""
    if not places:
        made.dropped.append(layer.name)
        return
    if layer.type == "Input":
        shapes = offline.overrule(layer, offline.input_shapes(layer), wanted)
    else:
        shapes, note = offline.top_shapes(layer, net.state.phase, folder, wanted)
        made.notes += note
        if layer.HasField("transform_param"):
            text = " ".join(printer.write_text(layer.transform_param).split())
            made.preprocessing.append(f"{layer.top[0]} was transformed by: transform_param {{ {text} }}")
    new = offline.input_layer(layer, [shapes[place] for place in places])
    new.top[:] = [layer.top[place] for place in places]
    made.param.layer.append(new)


def cleaned(layer: Any) -> Any:
    """A layer without what only training reads: rates, fillers, rules. Names of shared parameters stay."""
    made = LayerParameter()
    made.CopyFrom(layer)
    names = [spec.name for spec in layer.param]
    for name in TRAINING_FIELDS:
        made.ClearField(name)
    if any(names):
        for name in names:
            made.param.add(name=name)
    for name, known in fields(LayerParameter.DESCRIPTOR).items():
        if known.message and not known.repeated and made.HasField(name):
            strip_fillers(getattr(made, name))
    return made


def strip_fillers(message: Any) -> None:
    """Take away first values: those of a net for use come from its weights."""
    for name, known in fields(message.DESCRIPTOR).items():
        if (
            known.message
            and known.message.name == "FillerParameter"
            and not message.DESCRIPTOR.name.startswith("Dummy")
        ):
            message.ClearField(name)


def bypass_dropout(made: Deployed) -> None:
    """Take Dropout layers away; who read one reads what it read. One that is an output stays."""
    renamed: dict[str, str] = {}
    layers = list(made.param.layer)
    del made.param.layer[:]
    for layer in layers:
        layer.bottom[:] = [renamed.get(name, name) for name in layer.bottom]
        if layer.type == "Dropout" and (layer.top[0] not in made.scores or layer.top[0] == layer.bottom[0]):
            made.dropped.append(layer.name)
            renamed[layer.top[0]] = layer.bottom[0]
        else:
            for top in layer.top:  # the name stands for another blob from here on
                renamed.pop(top, None)
            made.param.layer.append(layer)
