"""``caffe-lite data mnist``: where digits come from, and when nothing is done."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite.cli import data
from pycaffe_lite.data import mnist
from pycaffe_lite.data.database import open_database
from pycaffe_lite.data.mnist import Digits, Mnist
from pycaffe_lite.errors import CaffeError, DataError


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, mirrors: object) -> bytes:
        raise DataError(f"cannot download {name}.gz")

    def draw(seed: int) -> Mnist:
        print(f"Drawing with seed {seed}")
        digits = Digits(np.full((2, 28, 28), seed, np.uint8), np.zeros(2, np.uint8))
        return Mnist(digits, digits)

    monkeypatch.setattr(mnist, "_download", fail)
    monkeypatch.setattr(data, "_draw", draw)


def caffe_lite(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    data.add_parser(parser.add_subparsers())
    args = parser.parse_args(["data", "mnist", *map(str, words)])
    return args.run(args)


def count(path: Path) -> int:
    with open_database(path) as database:
        return len(database)


def test_from_directory(tmp_path: Path, mnist_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert caffe_lite("--from", mnist_directory, "--out", out) == 0
    assert (count(out / "mnist_train_lmdb"), count(out / "mnist_test_lmdb")) == (5, 3)
    assert capsys.readouterr().out.splitlines() == [
        f"Wrote {out}/mnist_train_lmdb: 5 digits of 28 x 28 pixels",
        f"Wrote {out}/mnist_test_lmdb: 3 digits of 28 x 28 pixels",
    ]
    assert caffe_lite("--synthetic", "--out", out) == 0
    assert "is there already, with 5 digits (--force" in capsys.readouterr().out
    assert caffe_lite("--synthetic", "--out", out, "--force") == 0
    assert count(out / "mnist_train_lmdb") == 2
    assert sorted(path.name for path in out.iterdir()) == ["mnist_test_lmdb", "mnist_train_lmdb"]


def test_half_is_not_completed_from_elsewhere(tmp_path: Path, mnist_directory: Path) -> None:
    mnist.write_database(tmp_path / "mnist_train_lmdb", mnist.read_mnist(mnist_directory).train)
    with pytest.raises(DataError, match="mnist_test_lmdb does not; --force writes both"):
        caffe_lite("--synthetic", "--out", tmp_path)


def test_without_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="--from DIR with the four files of MNIST, or --synthetic"):
        caffe_lite("--out", tmp_path)
    assert list(tmp_path.iterdir()) == []
    capsys.readouterr()
    assert caffe_lite("--out", tmp_path, "--quick-start", "--seed", "9") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("MNIST cannot be downloaded; drawing synthetic digits instead")
    assert lines[2] == "Drawing with seed 9"


def test_sources_exclude_each_other() -> None:
    with pytest.raises(SystemExit):
        caffe_lite("--synthetic", "--quick-start")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--synthetic", "--seed", "-1"], "--seed: must not be negative, got -1"),
        (["--synthetic", "--out", "file"], "--out: must be a folder, got 'file'"),
        (["--from", "file"], "file: no such directory"),
    ],
)
def test_wrong_options_are_refused(words, message, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(CaffeError, match=message):
        caffe_lite(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
