"""Who reads what: the blobs of a net as its layers leave them, before anything is built."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from ..errors import ConfigError, suggest


class Top(NamedTuple):
    """A blob as one layer leaves it: an in-place layer makes a new one of the same name."""

    layer: int
    place: int


class Links:
    """For every layer the tops that its bottoms are, and for every top the layers (and bottoms) that read it.

    ConfigError for a bottom that no layer in front makes.
    """

    def __init__(self, net: Any):
        self.net = net
        self.sources: list[list[Top]] = []
        self.readers: dict[Top, list[tuple[int, int]]] = {}
        latest: dict[str, Top] = {}
        for i, layer in enumerate(net.layer):
            for j, blob in enumerate(layer.bottom):
                if blob not in latest:
                    refuse(net, i, j, list(latest))
                self.readers[latest[blob]].append((i, j))
            self.sources.append([latest[blob] for blob in layer.bottom])
            for j, blob in enumerate(layer.top):
                latest[blob] = Top(i, j)
                self.readers[latest[blob]] = []

    def name(self, top: Top) -> str:
        """The blob's name."""
        return self.net.layer[top.layer].top[top.place]

    def maker(self, layer: int, bottom: int = 0) -> Any:
        """The layer that makes this bottom, or None where there is no such bottom."""
        sources = self.sources[layer]
        return self.net.layer[sources[bottom].layer] if bottom < len(sources) else None

    def only_reader(self, top: Top) -> int | None:
        """The layer that alone reads a top, once; None if there are none or several."""
        readers = self.readers[top]
        return readers[0][0] if len(readers) == 1 else None

    def unread(self) -> list[Top]:
        """The tops that no layer reads, in order: the net's outputs."""
        return [top for top, readers in self.readers.items() if not readers]

    def above(self, layers: set[int]) -> set[int]:
        """These layers, and all that (directly or not) read what they make."""
        found = set(layers)
        for i, sources in enumerate(self.sources):
            if any(source.layer in found for source in sources):
                found.add(i)
        return found

    def below(self, tops: list[Top]) -> set[int]:
        """The layers that these tops are computed from, those that make them included."""
        found = {top.layer for top in tops}
        for i in reversed(range(len(self.sources))):
            if i in found:
                found.update(source.layer for source in self.sources[i])
        return found


def loss_weight(layer: Any, top: int) -> float:
    """The loss weight that a prototxt gives a top; 0 if it gives none."""
    return layer.loss_weight[top] if top < len(layer.loss_weight) else 0.0


def refuse(net: Any, i: int, j: int, known: list[str]) -> NoReturn:
    """The error for bottom `j` of layer `i`, which nobody has made."""
    layer, blob = net.layer[i], net.layer[i].bottom[j]
    later = next((other.name for other in net.layer[i + 1 :] if blob in other.top), None)
    hint = f"; layer {later!r}, which makes it, comes later" if later else suggest(blob, known)
    raise ConfigError(f"layer {layer.name!r} ({layer.type}): unknown bottom blob {blob!r} (bottom index {j}){hint}")
