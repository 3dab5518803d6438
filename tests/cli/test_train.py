"""`caffe-lite train`: Caffe's log into a pipe, one live line on a terminal, and its options."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from watching import kinds, on_a_terminal, plain

from pycaffe_lite.cli import main
from pycaffe_lite.proto import upgrade


def test_the_log_has_every_kind_of_line_that_caffes_has_and_no_other(digits, shared, monkeypatch, capsys):
    monkeypatch.chdir(digits)
    assert main(["train", "--solver", "short.prototxt"]) == 0
    out, log = capsys.readouterr()
    theirs = (shared / "reference" / "logs" / "lenet" / "test" / "cpu.err").read_text()
    assert kinds(log) == kinds(theirs)
    assert out == "", "all of it goes to standard error"


def parse_log(log: str) -> tuple[list[dict], list[dict]]:
    """What Caffe's own parse_log.py reads: its regular expressions, and its one pass over the lines."""
    train, test, row, iteration, rate = [], [], None, -1, float("nan")
    for line in log.splitlines():
        found = re.search(r"Iteration (\d+)", line)
        if found:
            iteration = float(found[1])
        if iteration == -1:
            continue
        found = re.search(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)", line)
        if found:
            rate = float(found[1])
        for rows, kind in ((train, "Train"), (test, "Test")):
            found = re.search(kind + r" net output #(\d+): (\S+) = ([\.\deE+-]+)", line)
            if found:
                if not row or row["NumIters"] != iteration or row["kind"] != kind:
                    row = {"kind": kind, "NumIters": iteration, "LearningRate": rate}
                    rows.append(row)
                row[found[2]] = float(found[3])
    return train, test


def test_parsers_of_caffes_logs_read_ours(digits, monkeypatch, capsys):
    monkeypatch.chdir(digits)
    main(["train", "--solver", "short.prototxt"])
    log = capsys.readouterr().err
    assert log.splitlines()[0].endswith("Use CPU.") and "Solving LeNet" in log
    train, test = parse_log(log)
    assert [row["NumIters"] for row in train] == [0, 5, 10, 15]
    assert [row["NumIters"] for row in test] == [0, 10, 20]
    assert all(set(row) == {"kind", "NumIters", "LearningRate", "accuracy", "loss"} for row in test)
    assert train[-1]["LearningRate"] == pytest.approx(0.01 * (1 + 0.0001 * 10) ** -0.75, rel=1e-5)
    assert test[-1]["accuracy"] > test[0]["accuracy"]
    times = [re.match(r"I(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d+)", line) for line in log.splitlines()]
    assert sum(map(bool, times)) > 100, "month, day and time stand in front"


def test_metrics_are_written_beside_the_log(noise, capsys):
    path = noise("max_iter: 4 display: 2 test_iter: 2 test_interval: 2 snapshot_after_train: false")
    assert main(["train", "--solver", path, "--log-dir", "deep/logs"]) == 0
    lines = [json.loads(line) for line in Path("deep/logs/metrics.jsonl").read_text().splitlines()]
    told = [(line["kind"], line["iteration"]) for line in lines]
    assert told == [("test", 0), ("train", 0), ("test", 2), ("train", 2), ("train", 4), ("test", 4), ("done", 4)]
    log = capsys.readouterr().err
    shown = [float(m) for m in re.findall(r"\), loss = (\S+)", log)]
    written = [line["loss"] for line in lines if line["kind"] == "train" and line["iterations_per_second"] is not None]
    assert shown == pytest.approx(written, rel=1e-5)
    assert lines[1]["lr"] == pytest.approx(0.01)
    assert [line["output"] for line in lines if line["kind"] == "test"] == ["loss"] * 3


def final(name: str) -> np.ndarray:
    layer = next(la for la in upgrade.read_net(name).layer if la.name == "ip")
    return np.array(layer.blobs[0].data)


def test_iterations_override_max_iter(noise):
    path = noise("max_iter: 1000000")
    assert main(["train", "--solver", path, "--iterations", "3"]) == 0
    assert sorted(p.name for p in Path().glob("s_iter*")) == [
        "s_iter_3.caffemodel", "s_iter_3.resume.json", "s_iter_3.solverstate"
    ]  # fmt: skip


def test_weights_and_snapshot(noise, capsys):
    path = noise("max_iter: 3")
    assert main(["train", "--solver", path]) == 0
    straight_from = final("s_iter_3.caffemodel")
    assert main(["train", "--solver", path, "--iterations", "0", "--weights", "s_iter_3.caffemodel"]) == 0
    np.testing.assert_array_equal(final("s_iter_0.caffemodel"), straight_from)
    assert "Finetuning from s_iter_3.caffemodel" in capsys.readouterr().err
    assert main(["train", "--solver", path, "--iterations", "6", "--snapshot", "s_iter_3.solverstate"]) == 0
    assert "Restoring previous solver status from s_iter_3.solverstate" in capsys.readouterr().err
    resumed = final("s_iter_6.caffemodel")
    assert main(["train", "--solver", path, "--iterations", "6"]) == 0
    np.testing.assert_array_equal(final("s_iter_6.caffemodel"), resumed)


def test_several_files_of_weights_are_taken_in_order(noise, capsys):
    path = noise("max_iter: 1")
    main(["train", "--solver", path])
    os.rename("s_iter_1.caffemodel", "a.caffemodel")
    main(["train", "--solver", path, "--iterations", "2"])
    assert main(["train", "--solver", path, "--iterations", "0", "--weights", "a.caffemodel,s_iter_2.caffemodel"]) == 0
    np.testing.assert_array_equal(final("s_iter_0.caffemodel"), final("s_iter_2.caffemodel"))


def test_weights_may_be_named_in_the_solver(noise, tmp_path, monkeypatch, capsys):
    path = noise("max_iter: 1")
    main(["train", "--solver", path])
    os.rename("s_iter_1.caffemodel", "a.caffemodel")
    main(["train", "--solver", path, "--iterations", "2"])
    noise('max_iter: 0 weights: "s_iter_2.caffemodel, a.caffemodel," weights: "s_iter_2.caffemodel"')
    capsys.readouterr()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # and are looked for beside it
    assert main(["train", "--solver", f"../{path}"]) == 0
    np.testing.assert_array_equal(final("s_iter_0.caffemodel"), final("../s_iter_2.caffemodel"))
    log = capsys.readouterr().err
    told = [line.split("] ")[1] for line in log.splitlines() if "Finetuning" in line]
    assert told == [f"Finetuning from {name}.caffemodel" for name in ("s_iter_2", "a", "s_iter_2")]
    assert main(["train", "--solver", f"../{path}", "--weights", "nowhere.caffemodel"]) == 1
    assert "nowhere.caffemodel: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--solver=solver.prototxt", "--stage=more", "--sigint-effect=none"],
        ["-solver=solver.prototxt", "-stage=more", "-sigint_effect=none"],
        ["-solver", "solver.prototxt", "-stage", "more", "--sighup_effect", "stop"],
        ["--solver", "solver.prototxt", "--stage", "less,more", "--level=-1", "-cpu"],
    ],
)
def test_caffes_spellings_are_ours(noise, capsys, arguments):
    noise("max_iter: 1 snapshot_after_train: false")
    assert main(["train", *arguments]) == 0
    assert "This network produces output twice" in capsys.readouterr().err


def test_the_solvers_paths_start_where_one_is_or_else_where_it_is(noise, tmp_path, monkeypatch):
    noise("max_iter: 1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--solver", "../solver.prototxt"]) == 0
    assert Path("s_iter_1.caffemodel").exists(), "snapshots go where one is, as in Caffe"


def test_threads_do_not_change_the_result(noise):
    path = noise("max_iter: 5")
    results = []
    for threads in "1", "2":
        assert main(["train", "--solver", path, "--threads", threads]) == 0
        results.append(final("s_iter_5.caffemodel"))
    np.testing.assert_array_equal(*results)


# On a terminal -----------------------------------------------------------------------------------------------


def test_a_terminal_shows_one_live_line(noise, start):
    path = noise("max_iter: 2000 display: 1 test_iter: 1 test_interval: 1000")
    status, shown = on_a_terminal(start, "train", "--solver", path, "--stage", "more")
    assert status == 0
    assert "solver.cpp" not in shown and "Iteration 0" not in shown
    lasting = plain(shown)
    assert "Training noise to iteration 2000 (lr policy fixed)" in lasting and "Done in 0:0" in lasting
    assert "iteration 1000: test loss = " in lasting and "Writing s_iter_2000.solverstate" in lasting
    assert shown.count("\x1b[2K") >= 2 or shown.count("\r") >= 2, "the line is drawn over itself"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is back"


def test_an_error_gives_the_terminal_back(noise, start):
    path = noise("max_iter: 2000")
    Path(path).write_text(Path(path).read_text().replace("base_lr: 0.01", "base_lr: 1e30"))
    status, shown = on_a_terminal(start, "train", "--solver", path)
    assert status == 1
    assert "caffe-lite train: error: iteration" in shown and "Traceback" not in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is back"
