"""Net: what a person holds. pycaffe's names over a graph and its plans."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import device as devices
from .. import fillers, random
from ..blob import Blob
from ..errors import ConfigError, suggest
from ..layer import Layer
from ..proto import caffe_pb2, upgrade
from . import plan as planning
from .describe import log_net, log_param
from .locate import MESSAGE, locating
from .run import Callback, Runner
from .select import select
from .splits import insert_splits
from .wire import Graph, Options, unknown_blob, wire

if TYPE_CHECKING:
    from ..formats.weights import LoadReport


class Net:
    """A net made from a prototxt.

    Net(file, phase, level=0, stages=None, weights=None), or as in old scripts Net(file, weights, phase).
    Raises ConfigError for a wrong net, WeightsError for weights that do not fit.
    """

    def __init__(
        self,
        network_file: str | os.PathLike[str],
        phase: int | str | os.PathLike[str] = caffe_pb2.TEST,
        level: int | None = None,
        stages: Iterable[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        *,
        allow_unknown: bool = False,
    ):
        if isinstance(phase, (str, os.PathLike)):  # Net(file, weights, phase)
            weights, phase, level = phase, caffe_pb2.TEST if level is None else level, None
        if phase not in (caffe_pb2.TRAIN, caffe_pb2.TEST):
            raise ConfigError(f"phase: must be TRAIN ({caffe_pb2.TRAIN}) or TEST ({caffe_pb2.TEST}), got {phase!r}")
        param = upgrade.read_net(network_file, allow_unknown=allow_unknown)
        param.state.phase, param.state.level = phase, level or 0
        param.state.stage.extend(stages or [])
        self._init(param, os.fspath(network_file))
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def from_proto(cls, param: Any, source: str = MESSAGE, **options: Any) -> Net:
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
        with locating(source, param.state):
            selected = select(param)
            log_param(selected)
            self.param = insert_splits(selected)
            folder = os.path.dirname(os.path.abspath(source)) if os.path.exists(source) else ""
            self.graph: Graph = wire(self.param, Options(dtype, alias_in_place, folder))
            self.memory_bytes = planning.allocate(self.graph, self.device, share_memory, frozenset(keep))
            self._name_everything()
            self._runner = Runner(self.graph, self.device)
            self._runner.debug_info = param.debug_info
            self._fill()
            if trained is not None:
                self.share_trained_layers_with(trained)
        planning.set_loss_diffs(self.graph)
        for node in self.graph.nodes:
            node.layer.start(node.top)
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
        for node in graph.nodes:
            self.blob_loss_weights.update(
                {n: w for n, w in zip(node.top_names, node.loss_weights) if w and n in self.blobs}
            )

    def _fill(self) -> None:
        """First values of all parameters: from the fillers, and those that the net's file has itself (`blobs`).

        A filler only writes when its values are wanted: what is loaded or shared instead costs nothing.
        """
        from ..formats import caffemodel

        generators = random.new_generator().spawn(len(self.graph.fillers))
        for (layer, blob, filler), generator in zip(self.graph.fillers, generators):
            try:
                fillers.fill_when_wanted(blob, filler, generator)
            except ConfigError as error:
                raise layer.error(f"parameter {layer.blobs.index(blob)}: {error}") from error
        for layer, message in zip(self.layers, self.param.layer):
            if message.blobs:
                caffemodel.copy_layer(layer, list(message.blobs), self.source)
                del message.blobs[:]

    # Running -----------------------------------------------------------------------------------------------

    @property
    def debug_info(self) -> bool:
        """Whether to log mean magnitudes of all that is computed."""
        return self._runner.debug_info

    @debug_info.setter
    def debug_info(self, wanted: bool) -> None:
        self._runner.debug_info = wanted

    def reshape(self) -> None:
        """Infer all shapes anew from the inputs' shapes. (forward does so by itself.)"""
        with locating(self.source, self.param.state):
            self._runner.reshape()

    def run_forward(self, first: int = 0, last: int | None = None) -> float:
        """Forward through layers `first` to `last` (included); returns their weighted loss."""
        last = len(self.layers) - 1 if last is None else last
        with locating(self.source, self.param.state):
            self._runner.run("forward", first, last)
        return self.loss(first, last)

    def run_backward(self, first: int | None = None, last: int = 0) -> None:
        """Backward through layers `first` down to `last` (included)."""
        with locating(self.source, self.param.state):
            self._runner.run("backward", last, len(self.layers) - 1 if first is None else first)

    def loss(self, first: int = 0, last: int | None = None) -> float:
        """Sum of all tops with a loss weight, weighted, as they are now; of layers `first` to `last` (included)."""
        nodes = self.graph.nodes[first : None if last is None else last + 1]
        weighted = ((top, weight) for n in nodes for top, weight in zip(n.top, n.loss_weights) if weight)
        # Read, not `data`: that may be written into, and would have to go back to the device.
        values = ((top.data_memory.to_host()[: top.count], weight) for top, weight in weighted)
        return sum((weight * float(value.sum(dtype=np.float64)) for value, weight in values), 0.0)

    def before_forward(self, call: Callback) -> None:
        """Call this with a layer's index in front of every forward of a layer."""
        self._runner.callbacks["before", "forward"].append(call)

    def after_forward(self, call: Callback) -> None:
        """Call this with a layer's index behind every forward of a layer."""
        self._runner.callbacks["after", "forward"].append(call)

    def before_backward(self, call: Callback) -> None:
        """Call this with a layer's index in front of every backward of a layer."""
        self._runner.callbacks["before", "backward"].append(call)

    def after_backward(self, call: Callback) -> None:
        """Call this with a layer's index behind every backward of a layer."""
        self._runner.callbacks["after", "backward"].append(call)

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

    def fill_parameters(self) -> None:
        """Let all parameters have their values now."""
        for entry in self.graph.learnable:
            entry.blob.data_memory.make_first_values()

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
        self._runner.forget_plans()

    share_with = share_trained_layers_with

    def copy_from(self, path: str | os.PathLike[str], ignore_mismatch: bool = False) -> LoadReport:
        """Copy the parameters of all layers that a file of weights has too; returns what became of each.

        The file is a .caffemodel, .caffemodel.h5, .npz or .safetensors. WeightsError where shapes differ, unless
        with `ignore_mismatch`, which leaves such layers as they were.
        """
        from ..formats import weights

        return weights.load(self, path, ignore_mismatch)

    def save(self, path: str | os.PathLike[str], write_diff: bool = False, half: bool = False) -> None:
        """Write net and parameters, whole or not at all; as .h5, .npz, .safetensors, or else as a .caffemodel.

        `write_diff` adds the gradients; with `half`, numbers take 16 bits.
        """
        from ..formats import weights

        weights.save(self, path, write_diff, half)

    def load_hdf5(self, path: str | os.PathLike[str]) -> LoadReport:
        """copy_from, as pycaffe calls it for .h5 files."""
        return self.copy_from(path)

    def save_hdf5(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write the parameters as HDF5, whatever the name of the file."""
        from ..formats import weights

        weights.save(self, path, write_diff, suffix=".h5")

    def first_bad_blob(self) -> str | None:
        """Which blob of the last forward first held a NaN or infinity, and its layer; None if all are finite."""
        for node in self.graph.nodes:
            for what, blobs in (("parameter", node.layer.blobs), ("top", node.top)):
                for index, blob in enumerate(blobs):
                    if not np.isfinite(blob.data).all():
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
