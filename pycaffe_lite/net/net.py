"""Net: what a person holds. pycaffe's names over a graph and its plans."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import device as devices
from .. import fillers, random
from ..blob import Blob
from ..errors import CaffeError, ConfigError, suggest
from ..layer import Layer
from ..proto import caffe_pb2, upgrade
from . import debug
from . import plan as planning
from .describe import log_net
from .plan import Plan, Step
from .select import select
from .splits import insert_splits
from .wire import Graph, Options, reshape, unknown_blob, wire

Callback = Callable[[int], None]


class Net:
    """A net made from a prototxt.

    Net(file, phase, level=0, stages=None, weights=None), or as in old scripts Net(file, weights, phase).
    Raises ConfigError for a wrong net, WeightsError for weights that do not fit.
    """

    def __init__(
        self,
        network_file: str | os.PathLike[str],
        phase: int | str = caffe_pb2.TEST,
        level: int = 0,
        stages: Iterable[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        *,
        allow_unknown: bool = False,
    ):
        if isinstance(phase, (str, os.PathLike)):  # Net(file, weights, phase)
            weights, phase, level = phase, level, 0
        param = upgrade.read_net(network_file, allow_unknown=allow_unknown)
        param.state.phase, param.state.level = phase, level
        del param.state.stage[:]
        param.state.stage.extend(stages or [])
        self._init(param, os.fspath(network_file))
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def from_proto(cls, param: Any, source: str = "<message>", **options: Any) -> Net:
        """A net from a NetParameter message whose `state` says phase, level and stages.

        Options: `dtype` (float32 or float64), `alias_in_place`, `share_memory`, `keep` (names of blobs to be
        read although memory is shared), `trained` (a net whose parameters to use, instead of filling new ones).
        """
        net = cls.__new__(cls)
        net._init(upgrade.upgrade_net(param, source), source, **options)
        return net

    def _init(
        self,
        param: Any,
        source: str,
        dtype: Any = np.float32,
        alias_in_place: bool = True,
        share_memory: bool = False,
        keep: Iterable[str] = (),
        trained: Net | None = None,
    ) -> None:
        self.source, self.device = source, devices.current()
        self.debug_info = param.debug_info
        try:
            self.param = insert_splits(select(param))
            folder = os.path.dirname(os.path.abspath(source)) if os.path.exists(source) else ""
            self.graph: Graph = wire(self.param, Options(dtype, alias_in_place, folder))
        except CaffeError as error:
            raise type(error)(located(source, str(error))) from error
        self.memory_bytes = planning.allocate(self.graph, self.device, share_memory, frozenset(keep))
        self._plans: dict[str, Plan] = {}
        self._stale = False
        self._name_everything()
        self.before_forward_callbacks: list[Callback] = []
        self.after_forward_callbacks: list[Callback] = []
        self.before_backward_callbacks: list[Callback] = []
        self.after_backward_callbacks: list[Callback] = []
        if trained is None:
            self._fill()
        else:
            self.share_trained_layers_with(trained)
        planning.set_loss_diffs(self.graph)
        for node in self.graph.nodes:
            node.layer.start(node.top)
        for blob in planning.all_blobs(self.graph):
            blob.on_reshape = self._blob_reshaped
        log_net(self)

    def _name_everything(self) -> None:
        graph = self.graph
        self.name, self.phase = graph.name, graph.phase
        self.layers: list[Layer] = [node.layer for node in graph.nodes]
        self._layer_names = [layer.name for layer in self.layers]
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers))
        self.blobs: OrderedDict[str, Blob] = OrderedDict(graph.blobs)
        self.params = OrderedDict((layer.name, layer.blobs) for layer in self.layers if layer.blobs)
        self.inputs, self.outputs = list(graph.inputs), list(graph.outputs)
        self.top_names = OrderedDict((n.layer.name, n.top_names) for n in graph.nodes)
        self.bottom_names = OrderedDict((n.layer.name, n.bottom_names) for n in graph.nodes)
        self.blob_loss_weights = OrderedDict.fromkeys(self.blobs, 0.0)
        self._guarded: list[Any] = [n for n in graph.nodes if hasattr(n.layer, "fault")]
        self._losses = [(t, w) for n in graph.nodes for t, w in zip(n.top, n.loss_weights) if w]
        for node in graph.nodes:
            self.blob_loss_weights.update(
                {n: w for n, w in zip(node.top_names, node.loss_weights) if w and n in self.blobs}
            )

    def _fill(self) -> None:
        """First values of all parameters, each layer's own blobs (`blobs {}` in the net) over its fillers."""
        generator = random.new_generator()
        for layer, blob, filler in self.graph.fillers:
            try:
                fillers.fill(blob.data, filler, generator)
            except ConfigError as error:
                raise layer.error(f"parameter {layer.blobs.index(blob)}: {error}") from error

    # Running -----------------------------------------------------------------------------------------------

    def _blob_reshaped(self) -> None:
        self._stale = True

    def reshape(self) -> None:
        """Infer all shapes anew from the inputs' shapes. (forward does so by itself.)"""
        self._reshape_from(0)

    def _reshape_from(self, first: int) -> None:
        reshape(self.graph, first)
        for node in self.graph.nodes[first:]:
            planning.make_scratch(node, self.graph, self.device)
        planning.set_loss_diffs(self.graph)
        self._plans.clear()
        self._stale = False

    def _plan(self, direction: planning.Pass) -> Plan:
        if direction not in self._plans:
            self._plans[direction] = Plan(self.graph, direction, self.device)
        return self._plans[direction]

    def run_forward(self, first: int = 0, last: int | None = None) -> float:
        """Forward through layers `first` to `last` (included); returns the weighted loss of the net."""
        last = len(self.layers) - 1 if last is None else last
        if self._stale:
            self._reshape_from(0)
        calls = self.before_forward_callbacks, self.after_forward_callbacks
        if any(calls):
            for index in range(first, last + 1):
                self._with_callbacks(calls, index, partial(self._forward_range, index, index))
        else:
            self._forward_range(first, last)
        return self.loss()

    def _forward_range(self, first: int, last: int) -> None:
        plan = self._plan("forward")
        if self.debug_info and first != last:
            for index in range(first, last + 1):
                self._forward_range(index, index)
                debug.forward(self.graph.nodes[index])
            return
        for part in plan.segments(first, last):
            if not isinstance(part, Step):
                plan.program.run(*part)
                continue
            self._run_on_host(part, "forward")
            if self._stale:  # a data-dependent layer has changed the shapes of its tops
                self._reshape_from(part.index + 1)
                self._forward_range(part.index + 1, last)
                return
        plan.after(plan.steps)
        self._check_faults()

    def _check_faults(self) -> None:
        """Raise what a run has found wrong in its values (a label outside the classes ...)."""
        for node in self._guarded:
            place = int(node.layer.fault[0])
            if place:
                node.layer.fault[0] = 0
                raise node.layer.explain_fault(place - 1, node.bottom)

    def loss(self) -> float:
        """Sum of all tops with a loss weight, weighted, as they are now."""
        total = sum(weight * float(top.data.sum(dtype=np.float64)) for top, weight in self._losses)
        return total if total else 0.0

    def run_backward(self, first: int | None = None, last: int = 0) -> None:
        """Backward through layers `first` down to `last` (included)."""
        first = len(self.layers) - 1 if first is None else first
        calls = self.before_backward_callbacks, self.after_backward_callbacks
        if any(calls):
            for index in range(first, last - 1, -1):
                self._with_callbacks(calls, index, partial(self._backward_range, index, index))
        else:
            self._backward_range(first, last)

    def _backward_range(self, first: int, last: int) -> None:
        plan = self._plan("backward")
        if self.debug_info and first != last:
            for index in range(first, last - 1, -1):
                if self.graph.nodes[index].needs_backward:
                    self._backward_range(index, index)
                    debug.backward(self.graph.nodes[index])
            debug.norms(self.graph)
            return
        for part in plan.segments(last, first):
            if isinstance(part, Step):
                self._run_on_host(part, "backward")
            else:
                plan.program.run(*part)
        plan.after(plan.steps)

    def _with_callbacks(
        self, calls: tuple[list[Callback], list[Callback]], index: int, run: Callable[[], None]
    ) -> None:
        for call in calls[0]:
            call(index)
        run()
        for call in calls[1]:
            call(index)

    def _run_on_host(self, step: Step, direction: str) -> None:
        node = step.node
        try:
            if direction == "forward":
                node.layer.forward(node.bottom, node.top)
            else:
                node.layer.backward(node.top, node.propagate_down, node.bottom)
        except CaffeError as error:
            if repr(node.layer.name) in str(error):
                raise
            raise type(error)(f"layer {node.layer.name!r} ({node.layer.type}): {error}") from error

    # pycaffe's forward and backward ------------------------------------------------------------------------

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Any,
    ) -> dict[str, np.ndarray]:
        """Run layers `start` to `end` (names) with these arrays as inputs.

        Returns {name: array} for the outputs (or for `end`'s tops) and all names in `blobs`. ConfigError
        for inputs that are missing, not inputs of the net, or of another shape.
        """
        first = self._index(start) if start is not None else 0
        last = self._index(end) if end is not None else len(self.layers) - 1
        names = [*(self.top_names[end] if end is not None else self.outputs), *(blobs or ())]
        for name in names:
            self._blob(name)
        if inputs:
            self._set_inputs(inputs)
        self.run_forward(first, last)
        return {name: self.blobs[name].data for name in names}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **gradients: Any,
    ) -> dict[str, np.ndarray]:
        """Run layers `start` down to `end` (names) with these arrays as the outputs' gradients.

        Returns {name: array} of gradients for the inputs (or for `end`'s bottoms) and all names in `diffs`.
        """
        first = self._index(start) if start is not None else len(self.layers) - 1
        last = self._index(end) if end is not None else 0
        names = [*(self.bottom_names[end] if end is not None else self.inputs), *(diffs or ())]
        tops = self.top_names[start] if start is not None else self.outputs
        if gradients and set(gradients) != set(tops):
            raise ConfigError(f"gradients are wanted for {', '.join(tops)}, got {', '.join(gradients)}")
        for name, array in gradients.items():
            assign(self._blob(name), array, "diff")
        self.run_backward(first, last)
        return {name: self._blob(name).diff for name in names}

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Let the MemoryData layer with which the net begins take its batches from these arrays."""
        first = self.layers[0]
        if first.type != "MemoryData":
            raise ConfigError(
                f"set_input_arrays: the first layer must be of type MemoryData, but {first.name!r} is {first.type}"
            )
        first.reset(data, labels)  # type: ignore[attr-defined]

    def _set_inputs(self, arrays: dict[str, Any]) -> None:
        if set(arrays) != set(self.inputs):
            raise ConfigError(f"inputs of the net are {', '.join(self.inputs) or 'none'}, got {', '.join(arrays)}")
        for name, array in arrays.items():
            assign(self.blobs[name], array, "data")

    def _index(self, layer_name: str) -> int:
        if layer_name not in self.layer_dict:
            raise ConfigError(f"net {self.name!r} has no layer {layer_name!r}{suggest(layer_name, self._layer_names)}")
        return self._layer_names.index(layer_name)

    def _blob(self, name: str) -> Blob:
        if name not in self.blobs:
            raise unknown_blob(self.graph, name)
        return self.blobs[name]

    # Parameters --------------------------------------------------------------------------------------------

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        for entry in self.graph.learnable:
            entry.blob.diff[...] = 0

    def share_trained_layers_with(self, other: Net) -> None:
        """Use the parameters of `other` (by layer name) in place of one's own, in the same memory."""
        for layer in self.layers:
            source = other.layer_dict.get(layer.name)
            if source is None or not layer.blobs:
                continue
            if [b.shape for b in layer.blobs] != [b.shape for b in source.blobs]:
                raise layer.error(
                    f"cannot share parameters: shapes {[b.shape for b in layer.blobs]} here, "
                    f"{[b.shape for b in source.blobs]} in net {other.name!r}"
                )
            for mine, theirs in zip(layer.blobs, source.blobs):
                mine.share_data(theirs)
        own = [entry for entry in self.graph.learnable if entry.layer.name not in other.layer_dict]
        generator = random.new_generator() if own else None
        for entry in own:  # layers that only this net has
            filler = next(f for _, blob, f in self.graph.fillers if blob is entry.blob)
            fillers.fill(entry.blob.data, filler, generator)  # type: ignore[arg-type]
        self._plans.clear()

    share_with = share_trained_layers_with

    def copy_from(self, path: str | os.PathLike[str]) -> None:
        """Copy the parameters of all layers that a .caffemodel has too; WeightsError where shapes differ."""
        from ..formats import caffemodel

        caffemodel.load(self, path)

    def save(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write net and parameters as a .caffemodel, whole or not at all."""
        from ..formats import caffemodel

        caffemodel.save(self, path, write_diff)

    def first_bad_blob(self) -> str | None:
        """Which blob of the last forward first held a NaN or infinity, and its layer; None if all are finite."""
        for node in self.graph.nodes:
            for what, blobs in (("parameter", node.layer.blobs), ("top", node.top)):
                for index, blob in enumerate(blobs):
                    if blob.data.dtype.kind == "f" and not math.isfinite(float(blob.data.sum())):
                        if np.isfinite(blob.data).all():
                            continue
                        name = f"{index}" if what == "parameter" else repr(node.top_names[index])
                        return f"{what} {name} of layer {node.layer.name!r} ({node.layer.type})"
        return None

    def __repr__(self) -> str:
        count = sum(entry.blob.count for entry in self.graph.learnable)
        phase = "TRAIN" if self.phase == caffe_pb2.TRAIN else "TEST"
        return (
            f"<Net {self.name!r} {phase}: {len(self.layers)} layers, {count:,} parameters, "
            f"inputs {self.inputs}, outputs {self.outputs}>"
        )


def assign(blob: Blob, array: Any, what: str) -> None:
    """Copy an array into a blob's data or diff; ConfigError unless its shape is the blob's."""
    array = np.asarray(array)
    if array.shape != blob.shape:
        raise ConfigError(f"blob {blob.name!r} has shape {blob.shape}, but the {what} given has shape {array.shape}")
    getattr(blob, what)[...] = array


def located(source: str, text: str) -> str:
    """The text with the file in front, unless it is there already."""
    return text if source == "<message>" or text.startswith(source) else f"{source}: {text}"
