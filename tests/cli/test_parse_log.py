"""`caffe-lite parse-log` on logs of Caffe, on ours, and on all that happens to logs."""

from __future__ import annotations

import csv
import json
import math

import pytest

from pycaffe_lite import log_tables
from pycaffe_lite.cli import main
from pycaffe_lite.errors import DataError

STAMP = "I{} {} 28430 solver.cpp:218] "


def table(text):
    return log_tables.from_lines(text.splitlines())


@pytest.mark.parametrize("name, accuracy, seconds", [("cpu", 0.9906, 402.197517), ("gpu", 0.9908, 273.122073)])
def test_real_logs(shared, name, accuracy, seconds):
    log = log_tables.read_log(shared / "reference" / "logs" / "lenet" / "test" / f"{name}.err")
    assert [row["NumIters"] for row in log.train] == list(range(0, 10001, 100))
    assert [row["NumIters"] for row in log.test] == list(range(0, 10001, 500))
    assert log.test[-1]["accuracy"] == accuracy
    assert log.test[-1]["Seconds"] == pytest.approx(seconds, abs=1)
    for row in log.train[:-1]:
        assert row["LearningRate"] == pytest.approx(0.01 * (1 + 1e-4 * row["NumIters"]) ** -0.75, rel=1e-5)
        assert abs(row["loss"] - row["SmoothedLoss"]) < 1e-5
    assert log.columns(log.test) == ["NumIters", "Seconds", "LearningRate", "accuracy", "loss"]


SOLVER = """
net_param {
  layer { name: "data" type: "DummyData" top: "x" top: "y" dummy_data_param {
    data_filler { type: "constant" value: 1 } data_filler { type: "constant" value: 3 }
    shape { dim: 2 dim: 3 } shape { dim: 2 dim: 1 } } }
  layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 1 } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }
}
base_lr: 0.1 lr_policy: "step" gamma: 0.5 stepsize: 2 max_iter: 6 display: 2 test_iter: 1 test_interval: 3
snapshot_after_train: false
"""


def test_our_own_log_and_metrics_are_read_alike(tmp_path, capsys):
    solver = tmp_path / "solver.prototxt"
    solver.write_text(SOLVER)
    assert main(["train", "--solver", str(solver), "--cpu", "--log-dir", str(tmp_path)]) == 0
    (tmp_path / "train.log").write_text(capsys.readouterr().err)
    ours, metrics = log_tables.read_log(tmp_path / "train.log"), log_tables.read_log(tmp_path / "metrics.jsonl")
    for log in (ours, metrics):
        assert [row["NumIters"] for row in log.train[:3]] == [0, 2, 4]
        assert [row["LearningRate"] for row in log.train[:3]] == pytest.approx([0.1, 0.05, 0.025])
        assert [row["NumIters"] for row in log.test] == [0, 3, 6]
        assert log.test[0]["loss"] == 4.5  # 1/2 (0 - 3)^2
        assert log.test[2]["loss"] < 0.2
    assert [row["loss"] for row in ours.test] == pytest.approx([row["loss"] for row in metrics.test], rel=1e-5)


def test_values_that_are_no_numbers():
    log = table(
        "Iteration 0, loss = nan\n  Train net output #0: loss = -nan (* 1 = -nan loss)\n"
        "Iteration 1 (-0.5 iter/s, 3s/1 iters), loss = 1.#QNAN\n  Train net output #0: loss = inf\n"
        "Iteration 2, loss = 1e-05\n  Train net output #0: loss = 1.#INF\nIteration 2, lr = 1e-07\n"
    )
    smoothed = [row["SmoothedLoss"] for row in log.train]
    assert math.isnan(smoothed[0]) and math.isnan(smoothed[1]) and smoothed[2] == 1e-05
    assert math.isnan(log.train[0]["loss"])
    assert [row["loss"] for row in log.train[1:]] == [math.inf, math.inf]
    assert log.train[2]["LearningRate"] == 1e-07


def test_outputs_of_one_name_and_several_test_nets():
    lines = ["Iteration 5, Testing net (#0)", "    Test net output #0: acc = 0.5", "    Test net output #1: acc = 0.25"]
    lines += [line.replace("(#0)", "(#1)").replace("0.5", "0.75") for line in lines]
    log = table("\n".join(lines))
    assert [(row["TestNet"], row["acc"], row["acc_1"]) for row in log.test] == [(0, 0.5, 0.25), (1, 0.75, 0.25)]


def test_time_over_midnight_new_year_and_prefixes():
    log = table(
        "[1,0]<stderr>:I1231 23:59:58.500000 1 solver.cpp:272] Solving net\n"
        "[1,0]<stderr>:I1231 23:59:59.000000 1 solver.cpp:218] Iteration 0, loss = 1\n"
        "[1,0]<stderr>:I0101 00:00:01.500000 1 solver.cpp:218] Iteration 1, loss = 1\n"
        "[1,0]<stderr>:I20240102 garbage\n"
        "[1,0]<stderr>:I0102 00:00:01.5 1 solver.cpp:218] Iteration 2, loss = 1\n"
    )
    assert [row["Seconds"] for row in log.train] == [0.5, 3, 3 + 86400]


def test_logs_of_2013():
    log = table(
        "I1210 10:00:00.000000 1 solver.cpp:60] Solving LeNet\n"
        "I1210 10:00:01.000000 1 solver.cpp:137] Iteration 0, Testing net\n"
        "I1210 10:00:02.000000 1 solver.cpp:178] Test score #0: 0.0989\n"
        "I1210 10:00:02.000000 1 solver.cpp:178] Test score #1: 2.31\n"
        "I1210 10:00:03.000000 1 solver.cpp:287] Iteration 100, lr = 0.01\n"
        "I1210 10:00:03.000000 1 solver.cpp:105] Iteration 100, loss = 0.25\n"
    )
    assert [(row["score"], row["score_1"], row["Seconds"]) for row in log.test] == [(0.0989, 2.31, 1)]
    assert [(row["NumIters"], row["SmoothedLoss"], row["LearningRate"]) for row in log.train] == [(100, 0.25, 0.01)]


def test_logs_of_nvidia():
    log = table(
        "Iteration 20 (5.5 iter/s, 3.6s/20 iter), 0.3/60ep, loss = 6.9\n"
        "    Train net output #0: loss = 6.8 (* 1 = 6.8 loss)\nIteration 20, lr = 0.02, m = 0.9, wd = 0.0005, gs = 1\n"
    )
    assert log.train == [
        {"NumIters": 20, "Seconds": pytest.approx(math.nan, nan_ok=True), "LearningRate": 0.02, "SmoothedLoss": 6.9,
         "loss": 6.8}
    ]  # fmt: skip


def test_a_test_that_was_cut_off_is_left_out():
    log = table("Iteration 0, loss = 1\nIteration 500, Testing net (#0)\n")
    assert (len(log.train), len(log.test)) == (1, 0)


def test_no_log_at_all(tmp_path, capsys):
    path = tmp_path / "x.log"
    path.write_bytes(b"\xff\xfe hello")
    with pytest.raises(DataError, match="no training log"):
        log_tables.read_log(path)
    assert main(["parse-log", str(tmp_path / "gone")]) == 1
    assert "gone: No such file or directory" in capsys.readouterr().err


LOG = (
    "I1103 09:40:42.000000 1 solver.cpp:272] Solving LeNet\n"
    "I1103 09:40:43.000000 1 solver.cpp:330] Iteration 0, Testing net (#0)\n"
    "I1103 09:40:44.000000 1 solver.cpp:397]     Test net output #0: accuracy = 0.1155\n"
    "I1103 09:40:45.000000 1 solver.cpp:218] Iteration 0 (0 iter/s, 2.643s/100 iters), loss = 2.36203\n"
    "I1103 09:40:45.000000 1 sgd_solver.cpp:105] Iteration 0, lr = 0.01\n"
)


def test_forms_of_output(tmp_path, capsys):
    path = tmp_path / "a.log"
    path.write_text(LOG)
    assert main(["parse-log", str(path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "train: 1 rows"
    assert out[2].split() == ["0", "3", "0.01", "2.36203"]
    assert out[5].split() == ["0", "2", "0.01", "0.1155"]
    assert main(["parse-log", str(path), "--out", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["test"] == [
        {"NumIters": 0, "Seconds": 2, "LearningRate": 0.01, "accuracy": 0.1155}
    ]
    assert main(["parse-log", str(path), str(tmp_path), "--out", "csv"]) == 0
    with open(tmp_path / "a.log.test", newline="") as file:
        assert list(csv.reader(file)) == [
            ["NumIters", "Seconds", "LearningRate", "accuracy"],
            ["0", "2.0", "0.01", "0.1155"],
        ]
