"""Rules on the data itself, where it is there: labels, their range and their order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..data.database import open_database
from ..data.image_list import read_list
from ..errors import CaffeError
from ..formats import wire
from ..net import offline
from ..paths import find_path
from ..proto import DataParameter, Datum
from .rules import ERROR, HINT, NET, WARNING, Hit, rule
from .view import NetView

SAMPLED = 2000  # entries of a database that are looked at, evenly spread
_LABEL, _FLOATS = Datum.LABEL_FIELD_NUMBER, Datum.FLOAT_DATA_FIELD_NUMBER
JUDGES = {"SoftmaxWithLoss": "softmax_param", "Accuracy": "accuracy_param", "InfogainLoss": "infogain_loss_param"}


class Source(NamedTuple):
    """The labels of a data layer (all, or a sample of them, in order), and how many entries there are."""

    layer: Any
    labels: np.ndarray
    names: list[str]  # of the entries that the labels are of
    entries: int


def label_sources(layers: list[Any], folder: str) -> list[Source]:
    """The labels of those data layers whose data is there and can be read."""
    return [source for source in (source_of(layer, folder) for layer in layers) if source is not None]


def source_of(layer: Any, folder: str) -> Source | None:
    """The labels of a layer; None if it has none, or they cannot be read."""
    try:
        if layer.type == "ImageData":
            listed = read_list(find_path(layer.image_data_param.source, folder))
            return Source(layer, np.array([label for _, label in listed]), [path for path, _ in listed], len(listed))
        if layer.type == "Data" and len(layer.top) > 1:
            return sample_database(layer, find_path(layer.data_param.source, folder))
    except (CaffeError, OSError):
        pass
    return None


def sample_database(layer: Any, source: str) -> Source | None:
    """Labels of entries spread over a database; None if they are vectors."""
    if not os.path.isdir(source):
        return None
    with open_database(source, DataParameter.DB.Name(layer.data_param.backend)) as database:
        places = np.unique(np.linspace(0, len(database) - 1, min(SAMPLED, len(database))).astype(int))
        labels, names = [], []
        for place in places:
            key, value = database.read(int(place))
            label = label_of(memoryview(value))
            if label is None:
                return None
            labels.append(label)
            names.append(key.decode("utf-8", "backslashreplace"))
        return Source(layer, np.array(labels), names, len(database))


def label_of(datum: memoryview) -> int | None:
    """The label in a serialised Datum, its pixels left alone; None if it has several."""
    label = 0
    for field in wire.fields(datum, 0, len(datum)):
        if field.number == _LABEL and field.kind == wire.VARINT:
            label = wire.signed(field.value)
        elif field.number == _FLOATS:
            return None
    return label


def judged(net: NetView) -> Iterator[tuple[Any, Source, int, int | None]]:
    """Every layer that reads labels which are there: (layer, labels, number of classes, label to be ignored)."""
    for i, layer in net.each(*JUDGES):
        node = net.nodes.get(layer.name)
        if node is None or len(net.links.sources[i]) < 2:
            continue
        maker = net.maker(i, 1)
        source = next((s for s in net.label_sources if s.layer.name == maker.name), None)
        if source is None or net.links.sources[i][1].place != 1:
            continue
        scores = node.bottom[0].shape
        axis = getattr(layer, JUDGES[layer.type]).axis
        param = layer.accuracy_param if layer.type == "Accuracy" else layer.loss_param
        yield layer, source, scores[axis], param.ignore_label if param.HasField("ignore_label") else None


@rule("labels-outside-classes", ERROR, NET)
def labels_outside_classes(net: NetView) -> Iterator[Hit]:
    """A label must be the number of a class, from 0 on; Caffe itself reads memory that is not its own for others."""
    for layer, source, classes, ignored in judged(net):
        wrong = (source.labels < 0) | (source.labels >= classes)
        if ignored is not None:
            wrong &= source.labels != ignored
        if wrong.any():
            place = int(np.argmax(wrong))
            yield Hit(
                f"{source.layer.name!r} has the label {source.labels[place]} (entry {source.names[place]!r}), "
                f"but there are {classes} classes, 0 to {classes - 1}",
                "fix the labels, which begin with 0, or num_output of the last layer",
                layer,
            )


@rule("classes-without-samples", HINT, NET)
def classes_without_samples(net: NetView) -> Iterator[Hit]:
    """Outputs for classes that the data never shows only learn to be low: often num_output is left over from the
    net that this one was made from."""
    for layer, source, classes, ignored in judged(net):
        if layer.type == "Accuracy":
            continue  # the loss says it
        seen = source.labels[source.labels != ignored] if ignored is not None else source.labels
        if len(seen) and seen.max() < classes - 1 and len(seen) >= 5 * classes:
            yield Hit(
                f"{classes} classes, but no label of {source.layer.name!r} is above {seen.max()}",
                f"num_output: {seen.max() + 1} in the last layer, if that is all there are",
                layer,
            )


@rule("sorted-data", WARNING, NET)
def sorted_data(net: NetView) -> Iterator[Hit]:
    """If samples come class by class, every batch teaches one class and unteaches the others: the loss falls to 0
    and jumps, again and again, and nothing is learnt."""
    if net.phase != offline.TRAIN or not net.trains:
        return
    for source in net.label_sources:
        layer = source.layer
        shuffled = layer.image_data_param.shuffle if layer.type == "ImageData" else layer.data_param.shuffle
        several = len(np.unique(source.labels)) > 1 and source.entries > 2
        if several and not shuffled and (np.diff(source.labels) >= 0).all():
            block = "image_data_param" if layer.type == "ImageData" else "data_param"
            yield Hit(
                "its samples come sorted by their labels",
                f"{block} {{ shuffle: true }}, or make the database with --shuffle",
                layer, f"{block}.source",
            )  # fmt: skip
