"""Snapshots: when and where they are written, what a full disk leaves, and what cannot be gone on from."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite.errors import CaffeError, ConfigError, WeightsError
from pycaffe_lite.proto import SolverParameter, SolverState, text
from pycaffe_lite.solver.solver import Solver, get_solver

ROOT = Path(__file__).resolve().parents[2]
NET = """
name: "net"
layer { name: "in" type: "DummyData" top: "x" top: "t" dummy_data_param {
        shape { dim: 4 dim: 6 } shape { dim: 4 dim: OUTPUTS }
        data_filler { type: "gaussian" } data_filler { value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: OUTPUTS weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""


def solver(fields: str = "", outputs: int = 3, net: str = NET) -> Solver:
    net = net.replace("OUTPUTS", str(outputs))
    source = f'net_param {{ {net} }} base_lr: 0.05 lr_policy: "fixed" random_seed: 1 {fields}'
    return get_solver(text.parse(source, SolverParameter()))


def state(made: Solver) -> list[np.ndarray]:
    """All that an update changes."""
    values = [blob.data.copy() for blobs in made.net.params.values() for blob in blobs]
    return [np.array(made.iter), *values, *[h.copy() for h in made.update.histories()]]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def snapshot_of(tmp_path: Path, iterations: int = 3, fields: str = "momentum: 0.9", **options) -> str:
    made = solver(f'{fields} snapshot_prefix: "{tmp_path}/s"', **options)
    made.step(iterations)
    return made.snapshot()


# When and where ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, iterations",
    [
        ("max_iter: 5 snapshot: 2", [2, 4, 5]),
        ("max_iter: 4 snapshot: 2", [2, 4]),
        ("max_iter: 5 snapshot: 2 snapshot_after_train: false", [2, 4]),
        ("max_iter: 5", [5]),
        ("max_iter: 5 snapshot_after_train: false", []),
    ],
)
def test_when_snapshots_are_written(tmp_path, fields, iterations):
    solver(f'{fields} snapshot_prefix: "{tmp_path}/s"').solve()
    names = {f"s_iter_{i}.{kind}" for i in iterations for kind in ("caffemodel", "solverstate", "resume.json")}
    assert set(files(tmp_path)) == names


@pytest.mark.parametrize(
    "prefix, written",
    [
        ('snapshot_prefix: "deep/er/s"', "deep/er/s_iter_1"),
        ("", "my_solver_iter_1"),  # Caffe: the solver's name without its ending
        ('snapshot_prefix: "folder"', "folder/my_solver_iter_1"),
        ('snapshot_prefix: "folder/"', "folder/my_solver_iter_1"),
    ],
)
def test_where_snapshots_are_written(tmp_path, monkeypatch, prefix, written):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    net = NET.replace("OUTPUTS", "3")
    Path("my_solver.prototxt").write_text(f'net_param {{ {net} }} base_lr: 0.1 lr_policy: "fixed" {prefix}')
    made = get_solver("my_solver.prototxt")
    made.step(1)
    assert os.path.relpath(made.snapshot()) == f"{written}.solverstate"
    stored = SolverState.FromString(Path(f"{written}.solverstate").read_bytes())
    assert (stored.iter, os.path.relpath(stored.learned_net)) == (1, f"{written}.caffemodel")


def test_a_snapshot_with_gradients_has_them(tmp_path):
    from pycaffe_lite.proto import upgrade

    snapshot_of(tmp_path, fields="snapshot_diff: true")
    stored = next(la for la in upgrade.read_net(tmp_path / "s_iter_3.caffemodel").layer if la.name == "ip")
    assert any(stored.blobs[0].diff)


def test_going_on_from_a_snapshot_is_going_on(tmp_path):
    straight = solver(f'momentum: 0.9 snapshot_prefix: "{tmp_path}/s"')
    straight.step(3)
    path = straight.snapshot()
    straight.step(4)
    resumed = solver("momentum: 0.9")
    resumed.restore(path)
    assert resumed.iter == 3
    resumed.step(4)
    assert same(state(resumed), state(straight))


def test_a_snapshot_that_was_moved_is_found_with_its_model(tmp_path):
    made = solver(f'momentum: 0.9 snapshot_prefix: "{tmp_path}/s"')
    made.step(2)
    made.snapshot()
    (tmp_path / "moved").mkdir()
    for path in tmp_path.glob("s_iter_2*"):
        shutil.move(path, tmp_path / "moved")
    resumed = solver("momentum: 0.9")
    resumed.restore(tmp_path / "moved" / "s_iter_2.solverstate")
    assert same(state(resumed), state(made))


# A disk that is full, a folder that is not there ---------------------------------------------------------------


def test_a_full_disk_leaves_the_old_snapshot_whole(tmp_path, monkeypatch):
    made = solver(f'momentum: 0.9 snapshot_prefix: "{tmp_path}/s"')
    made.step(1)
    path = made.snapshot()
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    made.step(1)
    made.iter = 1  # over the files that are there

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        CaffeError, match=r"s_iter_1.*: cannot be written: No space left on device; the file that was there is"
    ):
        made.snapshot()
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    monkeypatch.undo()
    solver("momentum: 0.9").restore(path)


FULL = """
import resource, signal, sys
from pycaffe_lite.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


def test_a_file_that_may_not_grow_stops_the_command_and_leaves_no_piece_of_it(tmp_path):
    net = NET.replace("OUTPUTS", "20000")  # a model of 560 KB
    (tmp_path / "solver.prototxt").write_text(
        f'net_param {{ {net} }} base_lr: 0.01 lr_policy: "fixed" max_iter: 2 snapshot: 1 snapshot_prefix: "s"'
    )
    assert hasattr(signal, "SIGXFSZ") and hasattr(resource, "RLIMIT_FSIZE")
    done = subprocess.run(
        [sys.executable, "-c", FULL, "300000", "train", "--solver", "solver.prototxt", "--cpu"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert last == "caffe-lite train: error: s_iter_1.caffemodel: cannot be written: File too large"
    assert files(tmp_path) == ["solver.prototxt"]


@pytest.mark.parametrize("fields", ["max_iter: 3 snapshot: 1", "max_iter: 3"])
def test_a_prefix_that_cannot_be_written_to_is_found_before_training(tmp_path, fields):
    (tmp_path / "file").write_text("")
    begun = []
    with pytest.raises(
        ConfigError, match=r"snapshot_prefix: .*file/deep/s' would put snapshots into .*file: .* not a folder"
    ):
        made = solver(f'{fields} snapshot_prefix: "{tmp_path}/file/deep/s"')
        made.add_callback(lambda: begun.append(1), lambda: None)
        made.solve()
    assert not begun


def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(ConfigError, match="no permission to write there"):
        solver(f'max_iter: 3 snapshot: 1 snapshot_prefix: "{tmp_path}/s"')


# What cannot be gone on from -----------------------------------------------------------------------------------


def wrong_files(tmp_path: Path) -> dict[str, str]:
    """Files that are no state of a momentum solver of the net with 3 outputs."""
    good = snapshot_of(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    made = {
        "missing": str(tmp_path / "s_iter_4.solverstate"),
        "folder": str(other),
        "model": good.replace("solverstate", "caffemodel"),
        "another net": snapshot_of(other, outputs=5),
        "another type": snapshot_of(tmp_path / "other", iterations=2, fields='type: "Adam" momentum: 0.9'),
    }
    for name, content in {
        "empty": b"",
        "noise": np.random.default_rng(0).bytes(999),
        "text": NET.encode(),
        "cut off": Path(good).read_bytes()[:-7],
    }.items():
        made[name] = str(tmp_path / f"{name}.solverstate")
        Path(made[name]).write_bytes(content)
    lost = tmp_path / "lost"
    lost.mkdir()
    made["without its model"] = str(tmp_path / "alone.solverstate")
    shutil.copy(snapshot_of(lost, iterations=1), made["without its model"])
    os.remove(lost / "s_iter_1.caffemodel")
    return made


PROBLEMS = {
    "missing": "No such file",
    "folder": "folder|[Dd]irectory",
    "model": "model",
    "another net": r"history 0 has shape .*\(5, 6\).*\(3, 6\)|holds",
    "another type": "holds 4 history blobs, but a SGD solver .* has 2; was it written by another net or another",
    "empty": "empty",
    "noise": "not a solverstate|damaged|not a binary",
    "text": "text|prototxt",
    "cut off": "truncated|cut off|ends|damaged",
    "without its model": "its model .*s_iter_1.caffemodel is neither there nor beside it",
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_file_that_cannot_be_gone_on_from_is_named_and_changes_nothing(tmp_path, kind):
    path = wrong_files(tmp_path)[kind]
    made = solver("momentum: 0.9")
    made.step(1)
    before = state(made)
    with pytest.raises(WeightsError, match=PROBLEMS[kind]) as caught:
        made.restore(path)
    assert path in str(caught.value) and str(caught.value).count(path) == 1
    assert same(state(made), before)
