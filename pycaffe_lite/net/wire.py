"""From a NetParameter to a Graph: layers made, blobs found and shaped, parameters shared, gradients decided.

The rules are those of Caffe's Net::Init (net.cpp): which blobs get a gradient follows from learning
rates, `propagate_down`, and which losses a layer reaches; `force_backward` overrules them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..blob import Blob
from ..device import CPU, Device
from ..errors import ConfigError
from ..layer import Layer, Param, Shapes, create
from ..proto import caffe_pb2


@dataclass
class Learnable:
    """A parameter that a layer owns: what the solver updates."""

    blob: Blob
    layer: Layer
    index: int
    name: str
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    lr_given: bool = False
    decay_given: bool = False


@dataclass(eq=False)
class Node:
    """A layer in its place: its blobs, and which gradients it is to compute."""

    layer: Layer
    bottom: list[Blob] = field(default_factory=list)
    top: list[Blob] = field(default_factory=list)
    bottom_names: list[str] = field(default_factory=list)
    top_names: list[str] = field(default_factory=list)
    propagate_down: list[bool] = field(default_factory=list)
    loss_weights: list[float] = field(default_factory=list)
    params: Sequence[Param] = ()
    needs_backward: bool = False
    renamed: list[tuple[Blob, Blob]] = field(default_factory=list)  # see `rename_inputs`
    makers: list[Node] = field(default_factory=list, repr=False)  # of its bottoms
    readers: list[Node] = field(default_factory=list, repr=False)  # of its tops, each as often as it reads one


@dataclass
class Graph:
    """A net ready to be planned. `blobs` maps each name to its last version."""

    name: str
    phase: int
    dtype: Any
    nodes: list[Node] = field(default_factory=list)
    blobs: dict[str, Blob] = field(default_factory=dict)
    learnable: list[Learnable] = field(default_factory=list)
    flat_data: Any = None  # all owned parameters, one behind the other, each from a cache line on
    flat_diff: Any = None
    fillers: list[tuple[Layer, Blob, Any]] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    room: Any = None  # without backward: what layers need only while they run, for all of them in turn
    kept: frozenset[str] = frozenset()  # names of the blobs that somebody may read after a run
    forward_only: bool = False
    device: Device = CPU  # where it runs
    without: frozenset[str] = frozenset()  # names of the passes over plans that are left out
    same_diffs: list[tuple[Blob, Blob]] | None = None  # the first's gradient is in the second's memory


@dataclass(frozen=True)
class Options:
    """Switches of wiring. `alias_in_place` off gives every version of a blob memory of its own."""

    dtype: Any = np.float32
    alias_in_place: bool = True
    folder: str = ""


def wire(param: Any, options: Options = Options()) -> Graph:
    """Build the graph of a NetParameter that is selected and has its splits; ConfigError for a wrong net."""
    return _Wiring(param, options).graph


class _Wiring:
    """The state of one wiring; each method is one rule."""

    def __init__(self, param: Any, options: Options):
        self.options, self.needs = options, {}  # blob -> whether its gradient is wanted
        self.available: set[str] = set()  # names that nobody has read yet
        self.makers: dict[str, Node] = {}
        self.shared: dict[str, int] = {}  # parameter name -> index in learnable
        self.keepers: set[str] = set()  # names of layers that have parameters
        self.forced = param.force_backward
        self.graph = Graph(param.name, param.state.phase, np.dtype(options.dtype))
        for message in param.layer:
            self.add(message)
        prune_backward(self.graph.nodes)
        if self.forced:
            force_backward(self.graph.nodes)
        rename_inputs(self.graph)
        self.graph.outputs = sorted(self.available)  # as Caffe's std::set has them: logs number them so

    def add(self, message: Any) -> None:
        phase = message.phase if message.HasField("phase") else self.graph.phase
        node = Node(create(message, phase, self.options.dtype))
        node.layer.folder = self.options.folder
        self.connect_bottoms(node, message)
        shapes = self.shapes(node)
        self.make_tops(node, message, shapes.top)
        self.make_params(node, message, shapes.params)
        self.set_loss_weights(node, message)
        node.needs_backward = any(self.needs[b] for b in node.bottom) or any(node.layer.param_propagate_down)
        for top in node.top:
            self.needs[top] = node.needs_backward
        self.graph.nodes.append(node)
        if message.type == "Input":
            self.graph.inputs += node.top_names

    def connect_bottoms(self, node: Node, message: Any) -> None:
        if len(message.propagate_down) not in (0, len(message.bottom)):
            rule = f"give it 0 or {len(message.bottom)} times, once for each bottom"
            raise node.layer.error(f"propagate_down: {rule}, got {len(message.propagate_down)}")
        for index, name in enumerate(message.bottom):
            blob = self.graph.blobs[name]
            node.bottom.append(blob)
            node.bottom_names.append(name)
            node.makers.append(self.makers[name])
            self.makers[name].readers.append(node)
            wanted = message.propagate_down[index] if message.propagate_down else self.needs[blob]
            node.propagate_down.append(wanted)
            self.available.discard(name)
        node.layer.bottom_names = [self.written(name)[0] for name in message.bottom]

    def shapes(self, node: Node) -> Shapes:
        """What the layer makes of its bottoms' shapes; a refusal says which bottoms, and who made them."""
        try:
            return node.layer.shapes([b.shape for b in node.bottom])
        except ConfigError as error:
            given = [self.described(b.shape, name) for b, name in zip(node.bottom, node.bottom_names)]
            raise ConfigError(f"{error}; given {', '.join(given)}" if given else str(error)) from error

    def described(self, shape: Any, name: str) -> str:
        """A bottom in words."""
        name, maker = self.written(name)
        return f"{name!r} {tuple(shape)} by layer {maker.layer.name!r}"

    def written(self, name: str) -> tuple[str, Node]:
        """The name that a blob has in the file, and its maker: those in front of the Splits that we inserted."""
        maker = self.makers[name]
        while maker.layer.type == "Split" and maker.bottom_names:
            name = maker.bottom_names[0]
            maker = self.makers[name]
        return name, maker

    def make_tops(self, node: Node, message: Any, shapes: Any) -> None:
        names = list(message.top)
        if node.layer.is_loss:  # a loss need not name its tops
            names += ["(automatic)"] * (len(shapes) - len(names))
        for index, (name, shape) in enumerate(zip(names, shapes)):
            in_place = index < len(message.bottom) and message.bottom[index] == name
            if in_place and self.may_alias(node, index, shape):
                blob = node.bottom[index]
            else:
                if name in self.graph.blobs and not in_place:
                    maker = self.makers[name].layer.name
                    raise node.layer.error(f"top {name!r} is already the top of layer {maker!r}; choose another name")
                blob = self.new_blob(node, shape, name)
                share_memory(node, index, blob)
            node.top.append(blob)
            node.top_names.append(name)
            if name != "(automatic)":
                self.graph.blobs[name] = blob
                self.makers[name] = node
                self.available.add(name)

    def new_blob(self, node: Node, shape: Any, name: str) -> Blob:
        """A blob of this layer, which a shape that cannot be is blamed on."""
        try:
            return Blob(shape, self.options.dtype, name)
        except ConfigError as error:
            raise node.layer.error(str(error)) from error

    def may_alias(self, node: Node, index: int, shape: Any) -> bool:
        """Whether an in-place top may use its bottom's memory without anyone seeing a difference."""
        bottom, maker = node.bottom[index], self.makers[node.bottom_names[index]]
        if bottom.shape != tuple(shape) or not node.layer.in_place or not self.options.alias_in_place:
            return False
        if maker.layer.shares_data or maker.layer.shares_diff:
            return False  # somebody else reads that memory too
        return not ((maker.needs_backward or self.forced) and "top" in maker.layer.backward_reads)

    def make_params(self, node: Node, message: Any, params: Any) -> None:
        if len(message.param) > len(params):
            raise node.layer.error(
                f"param: given {len(message.param)} times, but the layer has {len(params)} parameter blob(s)"
            )
        node.params = params
        known = message.name in self.keepers
        if params:
            self.keepers.add(message.name)
        for index, param in enumerate(params):
            spec = param_spec(node.layer, message, index, param)
            blob = self.new_blob(node, param.shape, f"{node.layer.name}[{index}]")
            node.layer.blobs.append(blob)
            node.layer.param_propagate_down.append(spec.lr_mult != 0)
            if spec.name in self.shared:
                self.share_param(node, blob, spec, self.graph.learnable[self.shared[spec.name]])
            elif known:
                raise node.layer.error(
                    "name: a layer in front has it too, and parameters are stored by the names of their layers; "
                    "rename one, or share the parameters: param { name }"
                )
            else:
                self.own_param(node, index, blob, spec, param)

    def own_param(self, node: Node, index: int, blob: Blob, spec: Any, param: Param) -> None:
        if spec.name:
            self.shared[spec.name] = len(self.graph.learnable)
        self.graph.learnable.append(
            Learnable(
                blob, node.layer, index, spec.name, spec.lr_mult, spec.decay_mult,
                spec.HasField("lr_mult"), spec.HasField("decay_mult"),
            )
        )  # fmt: skip
        self.graph.fillers.append((node.layer, blob, param.filler))

    def share_param(self, node: Node, blob: Blob, spec: Any, owner: Learnable) -> None:
        permissive = spec.share_mode == caffe_pb2.ParamSpec.PERMISSIVE
        same = blob.count == owner.blob.count if permissive else blob.shape == owner.blob.shape
        if not same:
            rule = "the same count" if permissive else "the same shape (or share_mode: PERMISSIVE and the same count)"
            raise node.layer.error(
                f"param {spec.name!r}: shared with layer {owner.layer.name!r}, so it must have {rule}; "
                f"here {blob.shape}, there {owner.blob.shape}"
            )
        blob.share_data(owner.blob)
        blob.share_diff(owner.blob)
        for what in ("lr", "decay"):
            if not spec.HasField(f"{what}_mult"):
                continue
            value, given = getattr(spec, f"{what}_mult"), getattr(owner, f"{what}_given")
            if given and value != getattr(owner, f"{what}_mult"):
                raise node.layer.error(
                    f"param {spec.name!r}: {what}_mult is {value} here and {getattr(owner, f'{what}_mult')} "
                    f"in layer {owner.layer.name!r}; a shared parameter has one"
                )
            setattr(owner, f"{what}_mult", value)
            setattr(owner, f"{what}_given", True)

    def set_loss_weights(self, node: Node, message: Any) -> None:
        weights = list(message.loss_weight)
        if len(weights) not in (0, len(node.top)):
            raise node.layer.error(
                f"loss_weight: give it 0 or {len(node.top)} times, once for each top, got {len(weights)}"
            )
        if not weights and node.layer.is_loss:
            weights = [1.0]
        node.loss_weights = weights + [0.0] * (len(node.top) - len(weights))


def param_spec(layer: Layer, message: Any, index: int, param: Param) -> Any:
    """The ParamSpec of a parameter as given, or by default. That of a statistic has lr_mult 0, as in Caffe."""
    given = index < len(message.param)
    spec = caffe_pb2.ParamSpec()
    if given:
        spec.CopyFrom(message.param[index])
    if param.statistic:
        if given and spec.lr_mult:
            raise layer.error(
                f"param: number {index} holds a statistic, not a weight, so lr_mult must be 0, "
                f"got {spec.lr_mult:g}; leave `param` out"
            )
        spec.lr_mult = spec.decay_mult = 0
    return spec


def share_memory(node: Node, index: int, top: Blob) -> None:
    """Let a top of a layer that only hands on its bottom (Split, Flatten ...) be that memory."""
    if node.layer.shares_data:
        top.data_memory = node.bottom[0].data_memory
    if node.layer.shares_diff:
        top.diff_memory = node.bottom[0].diff_memory


def prune_backward(nodes: list[Node]) -> None:
    """Turn backward off where no loss is above, and where nobody below wants the gradient."""
    under_loss: set[Blob] = set()
    skip: set[Blob] = set()
    for node in reversed(nodes):
        contributes = any(w or t in under_loss for t, w in zip(node.top, node.loss_weights))
        if node.needs_backward and node.top and all(t in skip for t in node.top):
            node.needs_backward = False
            node.propagate_down = [False] * len(node.bottom)
        if not contributes:
            node.needs_backward = False
            node.propagate_down = [False] * len(node.bottom)
        for bottom, wanted in zip(node.bottom, node.propagate_down):
            if contributes:
                under_loss.add(bottom)
            if not wanted:
                skip.add(bottom)


def force_backward(nodes: list[Node]) -> None:
    """Compute every gradient that can be computed (`force_backward: true`)."""
    for node in nodes:
        if not node.layer.differentiable:
            continue
        node.needs_backward = True
        node.propagate_down = [
            wanted or i not in node.layer.no_gradient_to for i, wanted in enumerate(node.propagate_down)
        ]
        node.layer.param_propagate_down = [not param.statistic for param in node.params]


def rename_inputs(graph: Graph) -> None:
    """Note where the name of an input ends up at another blob: behind an in-place layer with a top of its own.

    In Caffe both are one blob. So what the caller writes under the name is the input (forward begins with a
    copy), what he reads there is the last layer's top, and its gradient is the input's.
    """
    for node in graph.nodes:
        if node.layer.caller_fills:
            named = [graph.blobs[name] for name in node.top_names]
            node.renamed = [(top, last) for top, last in zip(node.top, named) if top is not last]


def reshape(graph: Graph, first: int = 0) -> None:
    """Infer all shapes anew from layer `first` on, after an input or a data-dependent top has changed."""
    for node in graph.nodes[first:]:
        for top, named in node.renamed:
            top.reshape(named.shape)
        if not node.bottom:
            continue  # Input, data: their tops have the shapes that somebody gave them
        shapes = node.layer.shapes([b.shape for b in node.bottom])
        for blob, param in zip(node.layer.blobs, shapes.params):
            if blob.shape != tuple(param.shape):
                raise node.layer.error(
                    f"bottom shape {node.bottom[0].shape} would need a parameter of shape {tuple(param.shape)}, "
                    f"but {blob.name} has {blob.shape}; reshape the input back, or change the net"
                )
        for index, (top, shape) in enumerate(zip(node.top, shapes.top)):
            top.reshape(shape)
            share_memory(node, index, top)
