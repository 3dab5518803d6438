"""What differs between two nets: layers that only one has, their order, and fields by their path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..proto import printer
from ..proto.schema import Field, fields

_SAME_AS_NONE = {
    "stride": [1],
    "dilation": [1],
    "pad": [0],
}  # of a convolution, whose fields repeat and so have no default


class Difference(NamedTuple):
    """One difference: where, and what either side has there (nothing: the field or layer is not there)."""

    where: str
    left: str
    right: str


def differences(left: Any, right: Any) -> list[Difference]:
    """All differences between two (upgraded) NetParameters; values of parameters do not count."""
    first, second = keyed(left), keyed(right)
    found = list(field_differences(left, right, "", ("layer", "layers")))
    for key, layer in first.items():
        if key in second:
            found += field_differences(layer, second[key], f"{title(key, layer)}: ", ("blobs",))
        else:
            found.append(Difference(title(key, layer), "here", ""))
    found += [Difference(title(key, layer), "", "here") for key, layer in second.items() if key not in first]
    common = [[key for key in one if key in other] for one, other in ((first, second), (second, first))]
    moved = next((pair for pair in zip(*common) if pair[0] != pair[1]), None)
    if moved:
        found.append(Difference("order of layers, first difference", moved[0][0], moved[1][0]))
    return found


def keyed(net: Any) -> dict[tuple[str, int], Any]:
    """Layers by name, and by number among those of one name (a data layer for TRAIN and one for TEST)."""
    seen: Counter[str] = Counter()
    found = {}
    for layer in net.layer:
        found[layer.name, seen[layer.name]] = layer
        seen[layer.name] += 1
    return found


def title(key: tuple[str, int], layer: Any) -> str:
    """A layer as errors name it; a second one of its name with its number."""
    return f"layer {key[0]!r} ({layer.type})" + (f" number {key[1] + 1}" if key[1] else "")


def field_differences(left: Any, right: Any, path: str, without: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Fields of two messages of one type that differ; one left out is as good as its default."""
    for name, field in fields(left.DESCRIPTOR).items():
        a, b = getattr(left, name), getattr(right, name)
        if name in without:
            continue
        if field.repeated:
            yield from list_differences(list(a), list(b), field, path + name)
        elif field.message:
            if left.HasField(name) or right.HasField(name):
                yield from field_differences(a, b, f"{path}{name}.")
        elif a != b and not (a != a and b != b):
            yield Difference(path + name, value(left, field), value(right, field))


def list_differences(left: list[Any], right: list[Any], field: Field, path: str) -> Iterator[Difference]:
    """Repeated fields: lists of values as a whole, messages one by one."""
    if not field.message:
        none = _SAME_AS_NONE.get(field.name, [])
        if (left or none) != (right or none):
            yield Difference(path, ", ".join(map(str, left)), ", ".join(map(str, right)))
        return
    for index in range(max(len(left), len(right))):
        place = f"{path}[{index}]" if max(len(left), len(right)) > 1 else path
        if index < len(left) and index < len(right):
            yield from field_differences(left[index], right[index], f"{place}.")
        else:
            texts = ["{ " + " ".join(printer.write_text(side[index]).split()) + " }" if index < len(side) else ""
                     for side in (left, right)]  # fmt: skip
            yield Difference(place, *texts)


def value(message: Any, field: Field) -> str:
    """The value of a field as it would be written; its default if it is not there."""
    only = type(message)()
    setattr(only, field.name, getattr(message, field.name))
    return printer.write_text(only).partition(": ")[2].strip()
