"""`caffe-lite lint` as a person, a script and an editor call it."""

from __future__ import annotations

import json

import pytest

from pycaffe_lite.cli import main

NET = """layer { name: "x" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } }
        pooling_param { stride: 2 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "%s" bottom: "t" top: "loss" }
"""

SOLVER = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 10 snapshot_prefix: "s"'


@pytest.fixture
def lint(tmp_path, capsys):
    def run(text, *words):
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        status = main(["lint", str(path), *words])
        return status, capsys.readouterr().out.replace(f"{tmp_path}/", "")

    return run


def test_findings_as_lines(lint):
    status, out = lint(NET % "prob")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == (
        "net.prototxt:6:1: warning: layer 'loss' (SoftmaxWithLoss): its scores come from Softmax 'prob', "
        "which it applies itself in TRAIN [score-function-twice]"
    )
    assert lines[1].startswith("    why: The loss computes probabilities from scores itself")
    assert lines[2] == "    do:  give it the bottom of 'prob' instead: bottom: 'ip'"
    assert lines[3].startswith("net.prototxt:4:9: warning: layer 'ip' (InnerProduct): pooling_param is ignored")
    assert lines[-1] == "0 errors, 2 warnings, 0 hints"


def test_rules_to_ignore(lint):
    status, out = lint(NET % "prob", "--ignore", "score-function-twice,ignored-block")
    assert (status, out) == (0, "0 errors, 0 warnings, 0 hints\n")


def test_an_unknown_rule(lint, capsys):
    assert lint(NET % "prob", "--ignore", "ignored-blok")[0] == 1


def test_errors_set_the_status(lint):
    status, out = lint(NET % "gone")
    assert status == 1
    assert out.startswith("net.prototxt:6:46: error: layer 'loss' (SoftmaxWithLoss): unknown bottom blob 'gone'")
    status, out = lint(NET.replace("num_output", "num_outputs"))
    assert status == 1
    assert out.startswith("net.prototxt:3:31: error: unknown field 'num_outputs' in InnerProductParameter")


@pytest.mark.parametrize("text", ["layer { " * 10_000, "", "\0\1\2", "layer {", "net: 3", "]"])
def test_whatever_is_in_the_file(lint, text):
    status, out = lint(text)
    assert status == 1 and "error: " in out and out.endswith("1 error, 0 warnings, 0 hints\n")


def test_no_file_at_all(tmp_path, capsys):
    assert main(["lint", str(tmp_path / "gone.prototxt")]) == 1
    out, error = capsys.readouterr()
    assert out == "" and error == f"caffe-lite lint: error: {tmp_path / 'gone.prototxt'}: No such file or directory\n"


def test_json(lint):
    status, out = lint(NET % "prob", "--json")
    made = json.loads(out)
    assert status == 0 and made["notes"] == []
    first = made["findings"][0]
    assert (first["rule"], first["level"], first["layer"]) == ("score-function-twice", "warning", "loss")
    assert first["where"] == "net.prototxt:6:1" and first["phases"] == ["TRAIN"]


def test_many_of_one_kind_are_told_shortly(lint):
    more = "".join(f'layer {{ name: "p{i}" type: "Power" bottom: "ip" top: "p{i}" }}\n' for i in range(9))
    out = lint(NET % "ip" + more)[1]
    assert out.count("nothing reads its top") == 5
    assert "    and 4 more: p5, p6, p7, p8\n" in out


def test_what_could_not_be_looked_at_is_said(lint):
    text = 'layer { name: "d" type: "Data" top: "x" top: "t" }\n' + "\n".join((NET % "ip").splitlines()[1:])
    status, out = lint(text)
    assert status == 0
    assert "note: TRAIN: shapes are not known, so not all was looked at: layer 'd' (Data)" in out
    assert "note" not in lint(text, "--shape", "x=2,3")[1]


def test_a_solver_with_a_net_that_lies_beside_it(tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(NET % "ip")
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "examples/net.prototxt"\n' + SOLVER)
    assert main(["lint", str(path)]) == 1
    out = capsys.readouterr().out
    assert f"{path}:1:1: error: net: there is no file 'examples/net.prototxt' [missing-file]" in out
    assert '    do:  net: "net.prototxt", which lies beside the solver' in out
    path.write_text(path.read_text().replace("examples/", ""))
    assert main(["lint", str(path)]) == 0
    assert "net.prototxt:4:9: warning: layer 'ip'" in capsys.readouterr().out


def test_weights_that_are_not_there(tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(NET % "ip")
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "net.prototxt" weights: "gone.caffemodel"\n' + SOLVER)
    assert main(["lint", str(path)]) == 1
    assert f"{path}:1:21: error: weights: there is no file 'gone.caffemodel'" in capsys.readouterr().out


def test_the_rules_are_listed(capsys):
    assert main(["lint", "--rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["batch-norm-factor-zero", "error"]
    assert len(lines) > 30
    assert main(["lint"]) == 1
    assert "FILE: a net or solver is needed" in capsys.readouterr().err
