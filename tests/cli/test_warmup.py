"""caffe-lite warmup: what it compiles, what it says, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from pycaffe_lite.backend.cpu import native
from pycaffe_lite.cli import main
from pycaffe_lite.cli import warmup as command
from pycaffe_lite.data.mnist import Digits, write_database

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import zoo

ROOT = Path(__file__).resolve().parents[2]


def warmup(cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The verb in a process of its own, with this cache."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CAFFE_LITE_CACHE": str(cache)}
    command = [sys.executable, "-m", "pycaffe_lite", "warmup", *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_says_what_it_did_and_where(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "data" type: "Data" top: "data" data_param { source: "none" batch_size: 2 } '
        "transform_param { crop_size: 3 } }\n"
        'layer { name: "power" type: "Power" bottom: "data" top: "power" }\n'
    )
    first, again = (warmup(tmp_path / "cache", "--model", str(net)) for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stderr
    assert f"{net}: " in first.stdout
    assert " 0 there already" in first.stdout
    assert str(tmp_path / "cache") in first.stdout
    assert f"{net}: 0 compiled" in again.stdout


def test_shapes_that_only_the_data_knows(tmp_path: Path) -> None:
    """They come from the data beside the net, or from --shape where there is none, as in an image for a container."""
    write_database(tmp_path / "here_lmdb", Digits(np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.uint8)))
    refused, given, found = (
        warmup(tmp_path / "cache", "--model", str(net), *shape)
        for net, shape in [
            (data_net(tmp_path / "away.prototxt", "away_lmdb"), ()),
            (data_net(tmp_path / "away.prototxt", "away_lmdb"), ("--shape", "data=2,1,4,4")),
            (data_net(tmp_path / "here.prototxt", "here_lmdb"), ()),
        ]
    )
    assert refused.returncode == 1 and "give --shape data=2,C,H,W" in refused.stderr
    assert given.returncode == found.returncode == 0, given.stderr + found.stderr


def data_net(path: Path, source: str) -> Path:
    path.write_text(
        'layer { name: "data" type: "Data" top: "data" '
        f'data_param {{ source: "{source}" batch_size: 2 backend: LMDB }} }}'
        'layer { name: "power" type: "Power" bottom: "data" top: "power" }'
    )
    return path


def test_refuses_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = warmup(tmp_path / "file")
    assert done.returncode == 1
    assert "caffe-lite warmup: error: the kernel cache" in done.stderr
    assert "Traceback" not in done.stderr


def test_refuses_to_have_done_what_was_not_kept(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(native, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(native, "unkept", ["fill-float32"])
    assert main(["warmup", "--model", str(data_net(tmp_path / "net.prototxt", "a")), "--shape", "data=2,1,4,4"]) == 1
    assert "1 of them could not be kept: the cache" in capsys.readouterr().err


def test_covers_the_nets_that_people_train(tmp_path: Path, monkeypatch) -> None:
    """Also those kernels that are made because something works in place."""
    linked: list[native.Code] = []
    monkeypatch.setattr(native, "link", lambda codes: linked.extend(codes) or [0] * len(linked))
    monkeypatch.setattr("pycaffe_lite.backend.cpu.program.link", lambda codes: linked.extend(codes) or [0] * 9999)
    monkeypatch.setattr(command, "launch_once", lambda: None)
    command.everything()
    ahead = {code.key for code in linked}
    for source in zoo.NETS.values():
        linked.clear()
        path = tmp_path / "net.prototxt"
        path.write_text(source(2))
        command.model(str(path))
        assert not {code.label for code in linked if code.key not in ahead}


def test_refuses_a_net_that_is_none(tmp_path: Path) -> None:
    done = warmup(tmp_path / "cache", "--model", str(tmp_path / "missing.prototxt"))
    assert done.returncode == 1
    assert "missing.prototxt" in done.stderr
    assert "Traceback" not in done.stderr
