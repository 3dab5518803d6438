"""Every solver case that Caffe 1.0 computed: step by step, and on from its own snapshots."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite import get_solver
from pycaffe_lite.solver.solver import Solver

FOLDER = Path(os.environ.get("CAFFE_LITE_SHARED") or Path(__file__).parents[3] / "shared") / "golden" / "solvers"
NAMES = sorted(path.name.split(".")[0] for path in FOLDER.glob("*.solver.prototxt"))
STATES = sorted(path.name for path in FOLDER.glob("*.solverstate*"))
MISSING = pytest.param("", marks=pytest.mark.skip(f"no golden arrays at {FOLDER}"))


@pytest.fixture
def golden(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cases; they name their net by a path that starts there."""
    monkeypatch.chdir(shared / "golden" / "solvers")
    return shared / "golden" / "solvers"


def close(got: np.ndarray, want: np.ndarray, what: str) -> None:
    """The tolerance of the golden files: 1e-4 of the larger of 1 and the value."""
    error = np.abs(np.reshape(got, want.shape) - want) / np.maximum(1, np.abs(want))
    assert error.max() <= 1e-4, f"{what}: off by {error.max():g}"


def parameters(solver: Solver) -> dict:
    """Parameters by the names of the golden files. ip2 shares ip1's matrix, whose first values are ip1's."""
    found = {f"{layer}_{i}": blob for layer, blobs in solver.net.params.items() for i, blob in enumerate(blobs)}
    assert found.pop("ip2_0").data_memory is found["ip1_0"].data_memory
    return found


def iterate(solver: Solver, batches: dict, iteration: int) -> float:
    for name in ("data", "label"):
        solver.net.blobs[name].data[...] = batches[name][iteration].reshape(solver.net.blobs[name].shape)
    return solver.step(1)


@pytest.mark.parametrize("name", NAMES or [MISSING])
def test_every_step_is_caffes(golden, name, device):
    start, batches, case = np.load("start.npz"), np.load("batches.npz"), np.load(f"{name}.npz")
    solver = get_solver(f"{name}.solver.prototxt")
    for key, blob in parameters(solver).items():
        blob.data[...] = start[key].reshape(blob.shape)
    compared = 0
    for i in range(20):
        close(iterate(solver, batches, i), case["loss"][i], f"loss {i}")
        close(solver.lr, case["lr"][i], f"rate {i}")
        for key, blob in parameters(solver).items():
            if f"iter{i + 1}_{key}" in case:
                close(blob.data, case[f"iter{i + 1}_{key}"], f"{key} after {i + 1} iterations")
                compared += 1
    assert compared == 3 * len(parameters(solver)), "after 1, 7 and 20 iterations"


@pytest.mark.parametrize("state", STATES or [MISSING])
def test_caffes_snapshots_go_on_as_caffe_does(golden, state, device):
    name = state.split("_iter_")[0]
    batches, case = np.load("batches.npz"), np.load(f"{name}.npz")
    solver = get_solver(f"{name}.solver.prototxt")
    solver.restore(state)
    assert solver.iter == 10
    for i in range(10, 20):
        close(iterate(solver, batches, i), case["loss"][i], f"loss {i}")
    for key, blob in parameters(solver).items():
        close(blob.data, case[f"iter20_{key}"], key)
