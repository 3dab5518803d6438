"""What Caffe's solver state cannot hold, in a file beside it: with it, a stopped run goes on bit for bit.

`<prefix>_iter_N.resume.json` has the position and random state of every layer, the window over which the
loss is smoothed, what tests have decided so far, and the state of the process's random streams.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from typing import Any

import numpy as np

from .. import random
from ..errors import CaffeError, WeightsError
from ..logs import log

VERSION = 1
AS_CAFFE = "data, random numbers and loss average start anew, as in Caffe"
_NOT_OURS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)  # a hand-made file


def beside(state: str, ending: str = ".resume.json") -> str:
    """The name of a file that belongs to a solver state."""
    return re.sub(r"\.solverstate(\.h5)?$", "", state) + ending


def write(solver: Any, path: str, state: str) -> None:
    """Write what belongs to the solver state in the file `state`."""
    tests = solver.untested or of_tests(solver)
    kept = {
        "version": VERSION,
        "iter": solver.iter,
        "solverstate_crc32": fingerprint(state),
        "random": random.state(),
        "smoothed_loss": solver.smoothed_loss.state(),
        "lr_scale": solver.lr_scale,
        "train": of_net(solver.net),
        **tests,
    }
    if solver.update.scaling:
        kept["loss_scaling"] = solver.update.scaling.state()
    with open(path, "w", encoding="utf-8") as file:
        json.dump(kept, file, default=_encode)


def of_tests(solver: Any) -> dict[str, Any]:
    """What tests have left behind, and will go on from."""
    return {"judge": solver.judge.state(), "test": [of_net(net) for net in solver.test_nets]}


def of_net(net: Any) -> dict[str, Any]:
    """What each layer must remember, by layer name."""
    return {layer.name: kept for layer in net.layers if (kept := layer.state_dict())}


def fingerprint(path: str) -> int:
    """A checksum of a file, by which a solver state knows that another run's file lies beside it."""
    total = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total = zlib.crc32(block, total)
    return total


def read(state: str) -> dict[str, Any] | None:
    """What is kept beside a solver state; None, and a line in the log, if there is nothing of this run."""
    path = beside(state)
    if not os.path.isfile(path):
        log.info("%s is not there: %s", path, AS_CAFFE)
        return None
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file, object_hook=_decode)
        version, checksum = kept["version"], kept["solverstate_crc32"]
    except (OSError, *_NOT_OURS) as error:
        raise damaged(path, error) from error
    if version != VERSION:
        raise WeightsError(f"{path}: of version {version}, but this caffe-lite reads version {VERSION}")
    if checksum != fingerprint(state):
        log.warning("%s belongs to another %s: %s", path, os.path.basename(state), AS_CAFFE)
        return None
    return kept


def restore(solver: Any, kept: dict[str, Any] | None, state: str) -> None:
    """Bring solver and nets to where they were; `kept` is what `read` gave."""
    if solver.update.average is not None:
        restore_average(solver, beside(state, "_ema.caffemodel"))
    if kept is None:
        return
    try:
        random.restore(kept["random"])
        solver.smoothed_loss.restore(kept["smoothed_loss"])
        solver.judge.restore(kept["judge"])
        if solver.update.scaling and "loss_scaling" in kept:
            solver.update.scaling.restore(kept["loss_scaling"])
        solver.lr_scale = float(kept.get("lr_scale", 1))
        for net, states in zip([solver.net, *solver.test_nets], [kept["train"], *kept["test"]]):
            restore_net(net, states)
    except _NOT_OURS as error:
        raise damaged(beside(state), error) from error


def restore_average(solver: Any, path: str) -> None:
    """Go on averaging the weights from those in a file."""
    if not os.path.isfile(path):
        log.info("%s is not there: the average of the weights starts anew", path)
        solver.update.restart_average()
        return
    with solver.update.averaged_weights():
        solver.net.copy_from(path)
        solver.update.restart_average()


def restore_net(net: Any, states: dict[str, Any]) -> None:
    """Let each layer go on from its state; one that has changed since starts anew, and says so."""
    for layer in net.layers:
        if layer.name not in states:
            continue
        try:
            layer.restore(states[layer.name])
        except _NOT_OURS as error:
            log.warning("layer %r (%s) cannot go on where it was, and starts anew: %s", layer.name, layer.type, error)


def damaged(path: str, error: Exception) -> WeightsError:
    """The error for a file that is not as it was written."""
    return WeightsError(
        f"{path}: damaged ({type(error).__name__}: {error}); without it training goes on, but {AS_CAFFE}"
    )


def _encode(value: Any) -> Any:
    """Arrays, which JSON has no word for. Every number of theirs is written so that it is read as itself."""
    array = np.asarray(value)
    if array.dtype.kind not in "biufU":
        raise CaffeError(
            f"cannot be kept in a snapshot: {value!r}; a layer's state_dict holds numbers, strings and arrays, "
            "in lists and dicts"
        )
    return {"dtype": array.dtype.str, "values": array.tolist()} if array.shape else array.item()


def _decode(value: dict[str, Any]) -> Any:
    return np.array(value["values"], value["dtype"]) if value.keys() == {"dtype", "values"} else value
