"""Net: what a person holds. pycaffe's names over a graph and its plans."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import device as devices
from .. import fillers, random
from ..blob import Blob
from ..errors import ConfigError
from ..layer import Layer
from ..memory import Memory
from ..proto import NetParameter, caffe_pb2, text, upgrade
from . import budget, passes
from . import plan as planning
from .describe import log_net, log_param
from .locate import MESSAGE, locating
from .names import Named
from .predict import PredictingNet
from .run import Callback, Runner
from .select import select
from .splits import insert_splits
from .summary import Summary, summarize
from .wire import Graph, Options, wire

if TYPE_CHECKING:
    from ..formats.weights import LoadReport


class Net(PredictingNet):
    """A net made from a prototxt: `Net("net.prototxt", caffe.TEST, weights="net.caffemodel")`.

    phase is caffe.TRAIN or caffe.TEST; level and stages choose layers by their include and exclude rules; weights
    are copied from a file. Net(file, weights, phase), as in old scripts, is taken too. Raises ConfigError for a
    wrong net, WeightsError for weights that do not fit.

    blobs         {name: Blob}, in the order of the layers: net.blobs["conv1"].data is an array to read and write
    params        {layer name: [Blob, ...]}, the weights, for instance net.params["conv1"][0].data
    layers        [Layer, ...] with `type`, `name` and `blobs`; layer_dict is the same by name
    inputs        names of the blobs that Input layers hold: what forward(data=...) takes
    outputs       names of the blobs that no layer reads: what forward returns
    top_names, bottom_names    {layer name: [blob name, ...]}
    blob_loss_weights          {blob name: weight in the loss, mostly 0}
    name, phase, device, param (the NetParameter), memory_bytes (by kind)

    Threads: each net may be in a thread of its own. A net in use by one thread makes others wait; to read results
    before another thread's run writes over them, hold `net.lock`: `with net.lock: net.forward()["prob"].copy()`.
    """

    is_trained = False  # by a solver

    def __init__(
        self,
        network_file: str | os.PathLike[str],
        phase: int | str | os.PathLike[str] = caffe_pb2.TEST,
        level: int | None = None,
        stages: Iterable[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        *,
        allow_unknown: bool = False,
        **options: Any,
    ):
        if isinstance(phase, (str, os.PathLike)):  # Net(file, weights, phase)
            weights, phase, level = phase, caffe_pb2.TEST if level is None else level, None
            told = f"Net({os.fspath(network_file)!r}, {phase}, weights={os.fspath(weights)!r})"
            warnings.warn(f"Net(file, weights, phase) is Caffe's old form of {told}", DeprecationWarning, stacklevel=2)
        param = upgrade.read_net(network_file, allow_unknown=allow_unknown)
        self._init(_in_state(param, phase, level, stages), os.fspath(network_file), **options)
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def from_prototxt(
        cls,
        prototxt: str | os.PathLike[str],
        phase: int = caffe_pb2.TEST,
        level: int = 0,
        stages: Iterable[str] | None = None,
        weights: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Net:
        """A net from a prototxt file or from its very text (anything with a brace or a line's end in it).

        Options are those of `from_proto`: dtype, share_memory, keep ... Errors are those of `Net(...)`.
        """
        source = os.fspath(prototxt)
        if re.search(r"[{\n]", source):
            source, param = MESSAGE, upgrade.upgrade_net(text.parse(source, NetParameter()), MESSAGE)
        else:
            param = upgrade.read_net(source)
        net = cls.__new__(cls)
        net._init(_in_state(param, phase, level, stages), source, **options)
        if weights is not None:
            net.copy_from(weights)
        return net

    @classmethod
    def from_proto(cls, param: Any, source: str = MESSAGE, **options: Any) -> Net:
        """A net from a NetParameter message whose `state` says phase, level and stages.

        Options: `dtype` (float32 or float64), `alias_in_place`, `share_memory`, `keep` (names of blobs to be
        read although memory is shared), `forward_only` (there will be no backward), `without` (passes to leave
        out: `net/passes.py`), `trained` (a net whose parameters to use, instead of filling new ones).
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
        forward_only: bool = False,
        without: Iterable[str] | None = None,
        trained: Net | None = None,
    ) -> None:
        self.source, self.device, self.lock = source, devices.current(), threading.RLock()
        with locating(source, param.state):
            selected = select(param)
            log_param(selected)
            self.param = insert_splits(selected)
            folder = os.path.dirname(os.path.abspath(source)) if os.path.exists(source) else ""
            self.graph: Graph = wire(self.param, Options(dtype, alias_in_place, folder))
            self.graph.forward_only, self.graph.without = forward_only, passes.left_out(without)
            share_memory = share_memory and not param.debug_info  # which reads every blob
            with budget.explained(self.graph, share_memory, frozenset(keep)):
                self.memory_bytes = planning.allocate(self.graph, self.device, share_memory, frozenset(keep))
            self._name_everything()
            self._runner = Runner(self.graph, self.device)
            self._runner.debug_info = param.debug_info
            self._fill()
            if trained is not None:
                self.share_trained_layers_with(trained)
        planning.set_loss_diffs(self.graph)
        for node in self.graph.nodes:
            node.layer.start([dict(node.renamed).get(top, top) for top in node.top])
        log_net(self)

    def _name_everything(self) -> None:
        graph = self.graph
        self.name, self.phase = graph.name, graph.phase
        self.layers: list[Layer] = [node.layer for node in graph.nodes]
        self._layer_names = [layer.name for layer in self.layers]
        me = f"net {self.name!r}"
        self.layer_dict = Named(zip(self._layer_names, self.layers), "layer", me)
        self.blobs = Named(graph.blobs.items(), "blob", me)
        self.params: Named[list[Blob]] = Named(
            [(layer.name, layer.blobs) for layer in self.layers if layer.blobs], "layer with parameters", me
        )
        self.inputs, self.outputs = list(graph.inputs), list(graph.outputs)
        self.top_names = Named([(n.layer.name, n.top_names) for n in graph.nodes], "layer", me)
        self.bottom_names = Named([(n.layer.name, n.bottom_names) for n in graph.nodes], "layer", me)
        self._weighted = [(i, top, w) for i, n in enumerate(graph.nodes) for top, w in zip(n.top, n.loss_weights) if w]
        self.blob_loss_weights: Named[float] = Named([(name, 0.0) for name in self.blobs], "blob", me)
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
        with self.lock, locating(self.source, self.param.state):
            self._runner.reshape()

    def run_forward(self, first: int = 0, last: int | None = None) -> float:
        """Forward through layers `first` to `last` (included); returns their weighted loss."""
        last = len(self.layers) - 1 if last is None else last
        with self.lock:
            with locating(self.source, self.param.state):
                self._runner.run("forward", first, last)
            return self.loss(first, last)

    @property
    def runner(self) -> Runner:
        """What runs the layers: for those who run whole passes in a way of their own."""
        return self._runner

    def run_backward(self, first: int | None = None, last: int = 0) -> None:
        """Backward through layers `first` down to `last` (included)."""
        with self.lock, locating(self.source, self.param.state):
            self._runner.run("backward", last, len(self.layers) - 1 if first is None else first)

    def loss(self, first: int = 0, last: int | None = None) -> float:
        """Sum of all tops with a loss weight, weighted, as they are now; of layers `first` to `last` (included)."""
        total, last = 0.0, len(self.layers) - 1 if last is None else last
        for index, top, weight in self._weighted:
            if first <= index <= last:
                total += weight * top.sum()
        return total

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

    # Parameters --------------------------------------------------------------------------------------------

    def fill_parameters(self) -> None:
        """Let all parameters have their values now: each layer's are drawn by themselves, so on several threads."""
        from concurrent.futures import ThreadPoolExecutor

        from ..backend.cpu import pool

        waiting = [m for m in (entry.blob.data_memory for entry in self.graph.learnable) if m.first_values]
        with ThreadPoolExecutor(pool.threads(), "caffe-lite fillers") as threads:
            list(threads.map(Memory.make_first_values, sorted(waiting, key=lambda m: -m.count)))

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        with self.lock:
            for entry in self.graph.learnable:
                entry.blob.diff[...] = 0

    def share_trained_layers_with(self, other: Net) -> None:
        """Use the parameters of `other` (by layer name) in place of one's own, in the same memory.

        ConfigError, and nothing is shared, where shapes or number types differ, or where a solver trains this net.
        """
        if self.is_trained:
            raise ConfigError(
                f"net {self.name!r} is trained by a solver, whose updates would not reach the memory of another net; "
                "share the other way round, or take the values over with copy_from"
            )
        shared = [(layer, other.layer_dict[layer.name]) for layer in self.layers if layer.name in other.layer_dict]
        shared = [(mine, theirs) for mine, theirs in shared if mine.blobs]
        for mine, theirs in shared:
            here, there = ([f"{b.shape} {b.dtype}" for b in layer.blobs] for layer in (mine, theirs))
            if here != there:
                raise mine.error(
                    f"cannot share parameters: shapes {', '.join(here)} here, {', '.join(there) or 'none'} "
                    f"in net {other.name!r}"
                )
        with self.lock:
            for layer, source in shared:
                for blob, owner in zip(layer.blobs, source.blobs):
                    blob.share_data(owner)
            self._runner.forget_plans()

    share_with = share_trained_layers_with

    def copy_from(self, path: str | os.PathLike[str], ignore_mismatch: bool = False) -> LoadReport:
        """Copy the parameters of all layers that a file of weights has too; returns what became of each.

        The file is a .caffemodel, .caffemodel.h5, .npz or .safetensors. WeightsError where shapes differ, unless
        with `ignore_mismatch`, which leaves such layers as they were.
        """
        from ..formats import weights

        with self.lock:
            return weights.load(self, path, ignore_mismatch)

    def save(self, path: str | os.PathLike[str], write_diff: bool = False, half: bool = False) -> None:
        """Write net and parameters, whole or not at all; as .h5, .npz, .safetensors, or else as a .caffemodel.

        `write_diff` adds the gradients; with `half`, numbers take 16 bits.
        """
        from ..formats import weights

        with self.lock:
            weights.save(self, path, write_diff, half)

    def load_hdf5(self, path: str | os.PathLike[str]) -> LoadReport:
        """copy_from, as pycaffe calls it for .h5 files."""
        return self.copy_from(path)

    def save_hdf5(self, path: str | os.PathLike[str], write_diff: bool = False) -> None:
        """Write the parameters as HDF5, whatever the name of the file."""
        from ..formats import weights

        with self.lock:
            weights.save(self, path, write_diff, suffix=".h5")

    def first_bad_blob(self) -> str | None:
        """Which blob of the last forward first held a NaN or infinity, and its layer; None if all are finite.

        Where blobs share memory, that forward is run again, layer by layer, from the same batch.
        """
        again = not self.graph.kept.issuperset(self.blobs)
        for number, node in enumerate(self.graph.nodes):
            if again and node.bottom and not node.layer.on_host:
                self.run_forward(number, number)
            for what, blobs in (("parameter", node.layer.blobs), ("top", node.top)):
                for index, blob in enumerate(blobs):
                    if not np.isfinite(blob.data).all():
                        name = f"{index}" if what == "parameter" else repr(node.top_names[index])
                        return f"{what} {name} of layer {node.layer.name!r} ({node.layer.type})"
        return None

    def summary(self) -> Summary:
        """Layers, shapes, parameters, arithmetic and memory: a table when printed or shown in a notebook."""
        return summarize(self.graph, self._phase_name)

    @property
    def _phase_name(self) -> str:
        return "TRAIN" if self.phase == caffe_pb2.TRAIN else "TEST"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def __repr__(self) -> str:
        count = sum(entry.blob.count for entry in self.graph.learnable)
        return (
            f"<Net {self.name!r} {self._phase_name}: {len(self.layers)} layers, {count:,} parameters, "
            f"inputs {self.inputs}, outputs {self.outputs}>"
        )


def _in_state(param: Any, phase: Any, level: int | None, stages: Iterable[str] | None) -> Any:
    """The NetParameter with what decides which of its layers there are; ConfigError for what cannot be."""
    if phase not in (caffe_pb2.TRAIN, caffe_pb2.TEST):
        raise ConfigError(f"phase: must be TRAIN ({caffe_pb2.TRAIN}) or TEST ({caffe_pb2.TEST}), got {phase!r}")
    if isinstance(stages, str):
        raise ConfigError(f"stages: must be a list of names, got the text {stages!r}; write [{stages!r}]")
    param.state.phase, param.state.level = phase, level or 0
    param.state.stage.extend(stages or [])
    return param
