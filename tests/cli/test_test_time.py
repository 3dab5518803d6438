"""`caffe-lite test` and `caffe-lite time`: Caffe's lines, and a table on a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from watching import kinds, on_a_terminal, plain

from pycaffe_lite.cli import main


@pytest.fixture
def trained(digits, monkeypatch, capsys) -> Path:
    """LeNet's folder, entered, with weights of a short training."""
    monkeypatch.chdir(digits)
    if not Path("lenet_iter_20.caffemodel").exists():
        assert main(["train", "--solver", "short.prototxt"]) == 0
    capsys.readouterr()
    return digits


NET = "lenet_train_test.prototxt"
WEIGHTS = "lenet_iter_20.caffemodel"


def lines(log: str, place: str) -> list[str]:
    return [m[1] for m in re.finditer(rf"^I\d{{4}} \S+ +\d+ {re.escape(place)}\] (.*)$", log, re.MULTILINE)]


def test_test_scores_batches_and_their_mean(trained, capsys):
    assert main(["test", "--model", NET, "--weights", WEIGHTS, "--iterations", "2"]) == 0
    log = capsys.readouterr().err
    assert lines(log, "caffe.cpp:287") == ["Running for 2 iterations."]
    batches = [re.fullmatch(r"Batch (\d), (accuracy|loss) = ([\d.e-]+)", text) for text in lines(log, "caffe.cpp:310")]
    assert [(m[1], m[2]) for m in batches] == [(b, name) for b in "01" for name in ("accuracy", "loss")]
    means = {name: sum(float(m[3]) for m in batches if m[2] == name) / 2 for name in ("accuracy", "loss")}
    accuracy, loss = lines(log, "caffe.cpp:327")
    assert float(accuracy.removeprefix("accuracy = ")) == pytest.approx(means["accuracy"], rel=1e-5)
    found = re.fullmatch(r"loss = (\S+) \(\* 1 = (\S+) loss\)", loss)
    assert float(found[1]) == float(found[2]) == pytest.approx(means["loss"], rel=1e-5)
    assert lines(log, "caffe.cpp:315") == [f"Loss: {found[1]}"]


def test_test_scores_as_training_did(trained, capsys):
    """The last test of the training ran over the same 100 digits."""
    assert main(["train", "--solver", "short.prototxt"]) == 0
    told = re.findall(r"Test net output #0: accuracy = (\S+)", capsys.readouterr().err)[-1]
    assert main(["test", "-model", NET, "-weights", WEIGHTS, "-iterations", "2"]) == 0
    assert lines(capsys.readouterr().err, "caffe.cpp:327")[0] == f"accuracy = {told}"


def test_test_of_another_stage(noise, capsys):
    path = noise("max_iter: 1")
    assert main(["train", "--solver", path]) == 0
    capsys.readouterr()
    arguments = ["test", "--model", "net.prototxt", "--weights", "s_iter_1.caffemodel", "--iterations", "1"]
    assert main([*arguments, "--stage", "more"]) == 0
    # One line for each of the twelve numbers of the output, as Caffe has it.
    assert len([text for text in lines(capsys.readouterr().err, "caffe.cpp:310") if "twice" in text]) == 12
    assert main(arguments) == 0
    assert len(lines(capsys.readouterr().err, "caffe.cpp:310")) == 1


def test_time_lists_every_layer_both_ways_and_memory(trained, capsys):
    assert main(["time", "--model", NET, "--weights", WEIGHTS, "--iterations", "2"]) == 0
    log = capsys.readouterr().err
    layers = ["mnist", "conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2", "loss"]
    for place, way in (("caffe.cpp:409", "forward"), ("caffe.cpp:412", "backward")):
        rows = [re.fullmatch(rf" *(\S+)\t{way}: ([\d.e-]+) ms\.", text) for text in lines(log, place)]
        assert [row[1] for row in rows] == layers
        assert all(float(row[2]) >= 0 for row in rows)
    assert {kind for kind in kinds(log) if kind[0].startswith("caffe.cpp")} == {
        ("caffe.cpp:352", "Use CPU."), ("caffe.cpp:360", "Performing Forward"), ("caffe.cpp:365", "Initial loss: #"),
        ("caffe.cpp:366", "Performing Backward"), ("caffe.cpp:374", "*** Benchmark begins ***"),
        ("caffe.cpp:375", "Testing for # iterations."), ("caffe.cpp:403", "Iteration: # forward-backward time: # ms."),
        ("caffe.cpp:406", "Average time per layer: "), ("caffe.cpp:417", "Average Forward pass: # ms."),
        ("caffe.cpp:419", "Average Backward pass: # ms."), ("caffe.cpp:421", "Average Forward-Backward: # ms."),
        ("caffe.cpp:423", "Total Time: # ms."), ("caffe.cpp:424", "*** Benchmark ends ***"),
    } | {kind for kind in kinds(log) if kind[0] in ("caffe.cpp:409", "caffe.cpp:412")}  # fmt: skip
    memory = dict(re.findall(r"Memory for ([a-z ]+): (\d+) bytes", log))
    assert int(memory["parameters"]) >= 4 * 431080 and int(memory["activations"]) > 0


def test_time_of_a_phase(trained, capsys):
    assert main(["time", "--model", NET, "--phase", "TEST", "--iterations", "1"]) == 0
    assert any("accuracy" in text for text in lines(capsys.readouterr().err, "caffe.cpp:409"))


def test_on_a_terminal_time_draws_a_table(trained, start):
    status, shown = on_a_terminal(start, "time", "--model", NET, "--iterations", "2")
    shown = plain(shown)
    assert status == 0 and "caffe.cpp" not in shown
    rows = [
        line
        for line in shown.splitlines()
        if re.search(r"conv2\s.*Convolution\s.*\d\.\d{3}.*\d\.\d{3}.*\d+\.\d%", line)
    ]
    assert len(rows) == 1
    assert re.search(r"memory: parameters 1\.6 MB, parameter gradients 1\.6 MB, activations \d+\.\d MB", shown)


@pytest.mark.parametrize("flags", [["--no-share"], ["--without", "all"], ["--without", "relu,norm"]])
def test_scores_do_not_depend_on_how_the_net_is_planned(flags, trained, monkeypatch, capsys):
    monkeypatch.setenv("CAFFE_LITE_WITHOUT", "")
    command, scores = ["test", "--model", NET, "--weights", WEIGHTS, "--iterations", "1"], []
    for more in ([], flags):
        assert main([*command, *more]) == 0
        scores.append(lines(capsys.readouterr().err, "caffe.cpp:327"))
    assert scores[0] == scores[1] and len(scores[0]) == 2


def test_time_with_shared_memory_needs_less(trained, capsys):
    sizes = []
    for more in ([], ["--share"]):
        assert main(["time", "--model", NET, "--phase", "TEST", "--iterations", "1", *more]) == 0
        (told,) = [text for text in lines(capsys.readouterr().err, "time.py:0") if "activations" in text]
        sizes.append(int(told.split()[-2]))
    assert sizes[1] < sizes[0]


def test_an_unknown_pass_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["test", "--model", "x", "--weights", "y", "--without", "rely"])
    assert "--without: must name passes" in capsys.readouterr().err
