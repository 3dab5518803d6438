"""Which snapshots stay: the best model, the averaged weights, and the newest N."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from typing import Any


def write_best(solver: Any) -> None:
    """Write the weights that did best so far (the averaged ones, if they were tested) as <prefix>_best.caffemodel."""
    path = f"{solver.param.snapshot_prefix}_best.caffemodel"
    solver.report.snapshot("model", path)
    solver.net.save(path)


def write_average(solver: Any) -> None:
    """Write the averaged weights of this iteration as <prefix>_iter_<n>_ema.caffemodel, if there are any."""
    if solver.update.average is None:
        return
    path = f"{solver.param.snapshot_prefix}_iter_{solver.iter}_ema.caffemodel"
    solver.report.snapshot("model", path)
    with solver.update.averaged_weights():
        solver.net.save(path)


def prune(solver: Any) -> None:
    """Delete the files of all but the newest keep_last snapshots up to the present iteration."""
    if solver.param.keep_last < 1:
        return
    prefix = solver.param.snapshot_prefix
    found: dict[int, list[str]] = {}
    for path in glob.glob(f"{glob.escape(prefix)}_iter_*"):
        match = re.fullmatch(r"_iter_(\d+)(_ema)?\.(caffemodel|solverstate|resume)(\..*)?", path[len(prefix) :])
        if match and int(match[1]) <= solver.iter:
            found.setdefault(int(match[1]), []).append(path)
    for iteration in sorted(found)[: -solver.param.keep_last]:
        for path in found[iteration]:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
