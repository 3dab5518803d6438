"""benchmarks/gpu.py as far as it goes without a GPU: its options, its table, and one measurement on the emulator."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NET = """
layer { name: "data" type: "Input" top: "data" top: "label"
        input_param { shape { dim: 4 dim: 6 } shape { dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def script(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def gpu(monkeypatch):
    return script("gpu", monkeypatch)


def test_options(gpu, capsys):
    args = gpu.parser().parse_args(["--only", "lenet,nets", "--nets", "GoogLeNet"])
    assert args.only == ["lenet", "nets"] and args.nets == ["GoogLeNet"] and not args.write
    assert gpu.parser().parse_args([]).nets == ["CaffeNet", "GoogLeNet", "ResNet-50"]
    with pytest.raises(SystemExit):
        gpu.parser().parse_args(["--nets", "VGG"])
    assert "VGG is none of LeNet, CaffeNet" in capsys.readouterr().err


def test_without_a_gpu_it_says_what_is_missing(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match="a GPU needs CuPy"):
        gpu.main()


def test_both_sides_measure_the_same(gpu):
    args = gpu.parser().parse_args(["--peer-python", "python", "--tf32", "--iterations", "7"])
    commands = gpu.sides("net.prototxt", args)
    assert len(commands) == 6
    for command in commands.values():
        assert "--tf32" in command and command[command.index("--iterations") + 1] == "7"


def test_ratios_are_to_the_best_of_the_peer(gpu):
    def measured(*times):
        return [{"ms": ms, "batch": 64, "nodes": 34} for ms in times]

    found = {
        "caffe-lite": measured(0.1, 0.08, 0.09),
        "PyTorch nchw, eager": measured(0.9),
        "PyTorch nhwc, eager": measured(0.45),
        "PyTorch nchw, CUDA graph": measured(0.18),
    }
    rows = dict(gpu.rows_of("LeNet", found))
    assert rows["LeNet, batch 64"] == "34 nodes a step"
    assert rows["LeNet, caffe-lite"].startswith("0.0900 ms, 11,111 iterations/s (runs 0.0800 to 0.1000 ms)")
    assert rows["LeNet, PyTorch's best eager / caffe-lite"] == "**5.00**"
    assert rows["LeNet, PyTorch's best CUDA graph / caffe-lite"] == "**2.00**"


def test_the_table_goes_between_its_marks(gpu, tmp_path):
    document = tmp_path / "benchmarks.md"
    document.write_text(gpu.DOCUMENT.read_text("utf-8"), "utf-8")
    before = document.read_text("utf-8")
    gpu.write(gpu.table([("LeNet", "fast")], "a GPU"), document)
    gpu.write(gpu.table([("LeNet", "faster")], "a GPU"), document)
    after = document.read_text("utf-8")
    assert "| LeNet | faster |" in after and "| LeNet | fast |" not in after
    assert after.split(gpu.BEGIN)[0] == before.split(gpu.BEGIN)[0]
    assert after.split(gpu.END)[1] == before.split(gpu.END)[1]


def test_our_side_runs(nvidia, tmp_path, monkeypatch):
    side = script("gpu_side", monkeypatch)
    net = tmp_path / "net.prototxt"
    net.write_text(NET)
    fields = {"file": str(net), "iterations": 3, "gpu": 0, "no_graph": False, "tf32": False, "precision": None}
    found = side.net(argparse.Namespace(**fields, keep_data=0))
    assert found["ms"] > 0 and found["batch"] == 4 and 5 < found["nodes"] < 12


def test_every_case_is_compared(nvidia, gpu, monkeypatch):
    import cases

    monkeypatch.setattr(cases, "CASES", {kind: cases.CASES[kind] for kind in ("ReLU", "InnerProduct")})
    monkeypatch.setattr(sys, "path", list(sys.path))
    ((what, told),) = gpu.emulator(gpu.parser().parse_args([]))
    assert what == f"emulator against device, {sum(map(len, cases.CASES.values()))} cases"
    assert told.startswith("at most ")
