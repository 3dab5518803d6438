"""What rules look at: a net in one phase with all that is known of it, and a solver with its nets."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..errors import CaffeError
from ..net import offline
from ..net.links import Links, Top
from ..net.merge_bn import LINEAR
from ..net.wire import Graph, Node

Weights = dict[str, Any]  # layer name -> StoredLayer


class NetView:
    """A net in one phase. `graph` is None where it cannot be built (`problem` says why) or shapes are not known."""

    def __init__(
        self, param: Any, raw: Any, phase: int, source: str, folder: str, shapes: dict[str, Any], weights: Weights
    ):
        self.param, self.raw, self.phase, self.source, self.folder = param, raw, phase, source, folder
        self.weights = weights
        self.graph: Graph | None = None
        self.problem: CaffeError | None = None
        self.unknown = ""  # why shapes are not known
        self.layers = list(param.layer)
        self.trains = offline.has_loss(param)
        self._build(shapes)

    def _build(self, shapes: dict[str, Any]) -> None:
        if any(layer.type == "Python" and layer.bottom for layer in self.layers):
            self.unknown = "it has Python layers, whose code is not run here"
        try:
            self.links = Links(self.param)
            wanted = {name: shape for name, shape in shapes.items() if name in offline.input_names(self.param)}
            if not self.unknown:
                self.graph = offline.graph_of(offline.stand_in(self.param, self.folder, wanted).param, self.folder)
        except offline.UnknownShape as error:
            self.unknown = str(error)
        except CaffeError as error:
            self.problem = error

    @cached_property
    def label_sources(self) -> list[Any]:
        """The labels of the data layers, as far as their data is there (see images.py); read when first asked for."""
        from .images import label_sources

        return label_sources(self.layers, self.folder)

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """The built layers by name; none where the net is not built."""
        return {node.layer.name: node for node in self.graph.nodes} if self.graph else {}

    @property
    def phase_name(self) -> str:
        return "TRAIN" if self.phase == offline.TRAIN else "TEST"

    def each(self, *types: str) -> list[tuple[int, Any]]:
        """The layers of these types, with their numbers."""
        return [(i, layer) for i, layer in enumerate(self.layers) if layer.type in types]

    def maker(self, i: int, bottom: int = 0) -> Any:
        """The layer that makes a bottom; None if there is none."""
        return self.links.maker(i, bottom)

    def readers(self, i: int, top: int = 0) -> list[Any]:
        """The layers that read a top."""
        return [self.layers[j] for j, _ in self.links.readers[Top(i, top)]]

    def is_linear(self, layer: Any) -> bool:
        """Whether a layer multiplies by weights of its own."""
        return layer is not None and layer.type in LINEAR

    def own(self, layer: Any) -> Any:
        """The block of a linear layer: its convolution_param or inner_product_param."""
        return getattr(layer, LINEAR[layer.type])

    def learns(self, layer: Any, index: int = 0) -> bool:
        """Whether a solver would change a parameter: its lr_mult is not 0."""
        return index >= len(layer.param) or layer.param[index].lr_mult != 0


class PairView:
    """A net in both phases."""

    def __init__(self, train: NetView, test: NetView):
        self.train, self.test = train, test


class SolverView:
    """A solver, and the nets that it trains and tests as far as they could be read."""

    def __init__(self, param: Any, source: str, nets: list[NetView]):
        self.param, self.source = param, source
        self.train = next((net for net in nets if net.phase == offline.TRAIN), None)
        self.tests = [net for net in nets if net.phase == offline.TEST]
