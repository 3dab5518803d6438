"""Snapshots: the model, Caffe's solver state that names it, and beside them what Caffe's state cannot hold."""

from __future__ import annotations

import glob
import os
import re
from typing import Any

import numpy as np

from ..errors import CaffeError, ConfigError, DeviceError, WeightsError
from ..formats import solverstate, weights
from ..formats.files import replacing
from ..logs import log
from ..proto import caffe_pb2
from . import policy, resume


def write(solver: Any) -> str:
    """Write the files of the present iteration, all of them or none; returns the path of the state."""
    p = solver.param
    base = f"{p.snapshot_prefix}_iter_{solver.iter}"
    suffix = ".h5" if p.snapshot_format == caffe_pb2.SolverParameter.HDF5 else ""
    model, state = f"{base}.caffemodel{suffix}", f"{base}.solverstate{suffix}"
    steps = policy.steps_reached(p, max(solver.iter - 1, 0))  # as of the last iteration: Caffe counts when it takes one
    made = solverstate.State(solver.iter, model, steps, solver.update.histories())
    with replacing(model, resume.beside(state), state, make_folder=True) as (new_model, sidecar, new_state):
        solver.report.snapshot("model", model)
        weights.write(solver.net, new_model, suffix, p.snapshot_diff)
        solver.report.snapshot("state", state)
        solverstate.write(made, new_state, suffix)
        resume.write(solver, sidecar, new_state)
    return state


def with_way_back(error: DeviceError, solver: Any) -> DeviceError:
    """The error of a device that failed in mid-training, with what is left to go on from."""
    last = solver.last_snapshot
    rest = f"the last snapshot is whole, go on with --snapshot {last}" if last else "there is no snapshot to go on from"
    return DeviceError(f"iteration {solver.iter}: {error}; {rest}")


def probe(prefix: str) -> None:
    """Refuse a prefix that no snapshot could be written to, rather than find that out when one is due."""
    folder = os.path.abspath(os.path.dirname(prefix) or ".")
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        why = "no permission to write there" if os.path.isdir(folder) else "that is not a folder"
        raise ConfigError(f"snapshot_prefix: {prefix!r} would put snapshots into {folder}: {why}")


def restore(solver: Any, path: str | os.PathLike[str]) -> None:
    """Read a state, the model it names, and the file beside it; nothing is changed unless history and model fit."""
    source = os.fspath(path)
    with solverstate.opened(source) as state:
        histories = solver.update.histories()
        check(state.history, histories, source, solver)
        beside = resume.read(source)
        if state.learned_net:
            solver.net.copy_from(find_model(state.learned_net, source))
        for history, stored in zip(histories, state.history):
            history[...] = stored.read().reshape(history.shape)
        solver.iter = state.iter
    resume.restore(solver, beside, source)


def check(found: Any, wanted: list[np.ndarray], source: str, solver: Any) -> None:
    """Refuse a history that is not of this net and solver type."""
    if len(found) != len(wanted):
        raise WeightsError(
            f"{source}: holds {len(found)} history blobs, but a {solver.param.type} solver of net "
            f"{solver.net.name!r} has {len(wanted)}; was it written by another net or another solver type?"
        )
    for index, (stored, history) in enumerate(zip(found, wanted)):
        if np.prod(stored.shape, dtype=object) != history.size:
            raise WeightsError(
                f"{source}: history {index} has shape {stored.shape}, the net's parameter {history.shape}"
            )


def find_model(path: str, state: str) -> str:
    """The model a state names, or the file of that name beside the state if both have been moved."""
    name = re.split(r"[\\/]", path)[-1]  # snapshots travel between systems
    beside = os.path.join(os.path.dirname(state), name)
    for candidate in (path, beside):
        if os.path.isfile(candidate):
            return candidate
    raise WeightsError(f"{state}: its model {path} is neither there nor beside it as {beside}")


def newest(prefix: str) -> str | None:
    """The state written last of all complete snapshots with this prefix: state and model are there and readable."""
    pattern = re.compile(re.escape(prefix) + r"_iter_(\d+)\.solverstate(\.h5)?")
    matches = [pattern.fullmatch(path) for path in glob.glob(f"{glob.escape(prefix)}_iter_*")]
    found = [(os.path.getmtime(m[0]), int(m[1]), m[0]) for m in matches if m]
    for _, _, path in sorted(found, reverse=True):
        try:
            with solverstate.opened(path) as state:
                model = find_model(state.learned_net, path)
            with weights.opened(model) as layers:
                for _ in layers:
                    pass
            return path
        except CaffeError as error:
            log.warning("passing over a snapshot: %s", error)
    return None
