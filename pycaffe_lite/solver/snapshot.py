"""Snapshots: a .caffemodel, and a .solverstate that names it and holds the history."""

from __future__ import annotations

import os
from typing import Any

from ..errors import WeightsError
from ..formats import blobproto
from ..formats.files import write_whole
from ..proto import SolverState, text
from . import policy


def write(solver: Any) -> str:
    """Write both files of the present iteration; returns the path of the state."""
    p = solver.param
    base = f"{p.snapshot_prefix}_iter_{solver.iter}"
    os.makedirs(os.path.dirname(base) or ".", exist_ok=True)
    model, state = f"{base}.caffemodel", f"{base}.solverstate"
    solver.report.snapshot("model", model)
    solver.net.save(model, p.snapshot_diff)
    solver.report.snapshot("state", state)
    message = SolverState(iter=solver.iter, learned_net=model, current_step=policy.steps_reached(p, solver.iter))
    for history in solver.update.histories():
        message.history.append(blobproto.from_array(history))
    write_whole(state, message.SerializeToString())
    return state


def restore(solver: Any, path: str | os.PathLike[str]) -> None:
    """Read a state and the model it names; nothing is changed unless everything fits."""
    source = os.fspath(path)
    message = read_state(source)
    histories = solver.update.histories()
    if len(message.history) != len(histories):
        raise WeightsError(
            f"{source}: holds {len(message.history)} history blobs, but a {solver.param.type} solver of net "
            f"{solver.net.name!r} has {len(histories)}; was it written by another net or another solver type?"
        )
    values = []
    for index, (history, proto) in enumerate(zip(histories, message.history)):
        array = blobproto.to_array(proto, where=f"{source}: history {index}")
        if array.size != history.size:
            raise WeightsError(
                f"{source}: history {index} has shape {array.shape}, the net's parameter {history.shape}"
            )
        values.append(array.reshape(history.shape))
    if message.learned_net:
        solver.net.copy_from(find_model(message.learned_net, source))
    for history, array in zip(histories, values):
        history[...] = array
    solver.iter = message.iter


def read_state(source: str) -> Any:
    """The SolverState in a file; WeightsError says what else it is."""
    if source.endswith((".caffemodel", ".caffemodel.h5")):
        raise WeightsError(f"{source}: this is a model; --snapshot takes its .solverstate (or give it to --weights)")
    try:
        message = text.read(source, SolverState)
    except Exception as error:
        raise WeightsError(f"{source}: not a solverstate: {error}") from error
    if not message.HasField("iter"):
        raise WeightsError(f"{source}: not a solverstate: it names no iteration")
    return message


def find_model(path: str, state: str) -> str:
    """The model a state names, or the file of that name beside the state if both have been moved."""
    beside = os.path.join(os.path.dirname(state), os.path.basename(path))
    for candidate in (path, beside):
        if os.path.exists(candidate):
            return candidate
    raise WeightsError(f"{state}: its model {path} is neither there nor beside it as {beside}")
