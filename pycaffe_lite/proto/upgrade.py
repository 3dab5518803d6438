"""Nets and solvers of every age of Caffe, brought to the form of Caffe 1.0."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import ConfigError
from . import BlobShape, LayerParameter, NetParameter, SolverParameter, v0, v1
from .text import read

log = logging.getLogger("pycaffe_lite")

_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def read_net(path: str | os.PathLike[str], allow_unknown: bool = False) -> NetParameter:
    """The net in a file, prototxt or binary, upgraded."""
    return _upgrade(read(path, NetParameter, allow_unknown), os.fspath(path))


def read_solver(path: str | os.PathLike[str], allow_unknown: bool = False) -> SolverParameter:
    """The solver in a file, upgraded; without a snapshot_prefix it is named after the file."""
    solver = upgrade_solver(read(path, SolverParameter, allow_unknown), os.fspath(path))
    if not solver.snapshot_prefix:
        solver.snapshot_prefix = os.fspath(Path(path).with_suffix(""))
    elif Path(solver.snapshot_prefix).is_dir():
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, Path(path).stem)
    return solver


def upgrade_net(net: NetParameter, source: str = "<net>") -> NetParameter:
    """The net in today's form; the one given is left as it was."""
    new = NetParameter()
    new.CopyFrom(net)
    return _upgrade(new, source)


def upgrade_solver(solver: SolverParameter, source: str = "<solver>") -> SolverParameter:
    """The solver in today's form; the one given is left as it was."""
    new = SolverParameter()
    new.CopyFrom(solver)
    if not new.HasField("solver_type"):
        return new
    old_name = SolverParameter.SolverType.Name(new.solver_type)
    if new.HasField("type"):
        raise ConfigError(f"{source}: type {new.type!r} and the old solver_type {old_name} exclude each other")
    if old_name not in _SOLVER_TYPES:
        raise ConfigError(f"{source}: solver_type: Caffe has no {old_name}, only {', '.join(_SOLVER_TYPES)}")
    new.type = _SOLVER_TYPES[old_name]
    new.ClearField("solver_type")
    log.info("%s: upgraded old-style solver_type", source)
    return new


def _upgrade(net: NetParameter, source: str) -> NetParameter:
    """The net in today's form, made of the one given, so that an up-to-date caffemodel is not copied."""
    done = []
    if any(layer.HasField("layer") for layer in net.layers):
        net = v0.to_v1(net, source)
        done.append("V0 layers")
    elif net.layers:
        done.append("V1 layers")
    if v1.move_transform(net):
        done.append("transformation fields of data layers")
    if net.layers:
        net = v1.to_v2(net, source)
    if net.input:
        _upgrade_input(net, source)
        done.append("input fields")
    if _freeze_statistics(net):
        done.append("parameters of BatchNorm layers")
    if done:
        log.info("%s: upgraded old-style %s", source, ", ".join(done))
    return net


def _upgrade_input(net: NetParameter, source: str) -> None:
    """Turn the net's input fields into an Input layer in front."""
    names, dims = list(net.input), list(net.input_dim)
    if net.input_shape:
        shapes = [list(shape.dim) for shape in net.input_shape]
        if len(shapes) != len(names):
            raise ConfigError(f"{source}: input_shape: {len(shapes)} shapes for the inputs {names}")
    else:  # the older input_dim, four numbers an input
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
        if dims and len(dims) != 4 * len(names):
            raise ConfigError(
                f"{source}: input_dim: {len(dims)} numbers for the inputs {names}:"
                " each takes 4 (num, channels, height, width)"
            )
    if shapes:  # else an old caffemodel, whose inputs say nothing
        layer = LayerParameter(name="input", type="Input", top=names)
        layer.input_param.shape.extend(BlobShape(dim=shape) for shape in shapes)
        net.layer.insert(0, layer)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)


def _freeze_statistics(net: NetParameter) -> bool:
    """Keep solvers off the statistics of BatchNorm layers that list them as parameters; whether any did."""
    listed = [layer for layer in net.layer if layer.type == "BatchNorm" and len(layer.param) == 3]
    for layer in listed:
        for spec in layer.param:
            spec.lr_mult = spec.decay_mult = 0
    return bool(listed)
