"""Small trainings for the tests of the commands, and the commands as processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trainings import NET, SOLVER

from pycaffe_lite.data import mnist, synthetic_digits

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a solver file (with these fields besides the usual ones) and its net in a folder, which is entered."""
    monkeypatch.chdir(tmp_path)

    def write(fields: str = "", net: str = NET) -> str:
        (tmp_path / "net.prototxt").write_text(net)
        (tmp_path / "solver.prototxt").write_text(SOLVER + fields)
        return "solver.prototxt"

    return write


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """models/lenet with databases of 200 + 100 synthetic digits, and a solver for 20 iterations."""
    folder = tmp_path_factory.mktemp("digits")
    for path in (ROOT / "models" / "lenet").glob("*.prototxt"):
        shutil.copy(path, folder)
    images, labels = synthetic_digits.render(300, seed=1)
    mnist.write_database(folder / "mnist_train_lmdb", mnist.Digits(images[:200], labels[:200]))
    mnist.write_database(folder / "mnist_test_lmdb", mnist.Digits(images[200:], labels[200:]))
    (folder / "short.prototxt").write_text(
        'net: "lenet_train_test.prototxt" test_iter: 2 test_interval: 10 base_lr: 0.01 momentum: 0.9 '
        'weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 5 max_iter: 20 snapshot: 10 '
        'snapshot_prefix: "lenet" solver_mode: CPU random_seed: 1'
    )
    return folder


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Starts `caffe-lite` as a process; what is left running at the end of the test is killed."""
    started = []

    def begin(*arguments: str, **options: object) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        command = [sys.executable, "-m", "pycaffe_lite", *arguments]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **options)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
