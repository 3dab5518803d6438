"""`caffe-lite draw` as a person calls it."""

from __future__ import annotations

import pytest

from pycaffe_lite.cli import main

NET = """
name: "small"
input: "x" input_shape { dim: 1 dim: 3 }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "p" type: "Softmax" bottom: "ip" top: "p" include { phase: TEST } }
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    return "net.prototxt"


def test_text_on_standard_output(net, capsys):
    assert main(["draw", net, "--rankdir=TB", "--display_lrm"]) == 0
    out = capsys.readouterr().out
    assert out.startswith('digraph "small" {\n  rankdir=TB;\n')
    assert '"ip_InnerProduct" [label="ip (InnerProduct) lr mult: 1.0, 1.0"' in out
    assert "p_Softmax" in out


def test_to_a_file(net, tmp_path):
    assert main(["draw", net, "net.dot", "--phase", "TRAIN"]) == 0
    written = (tmp_path / "net.dot").read_text()
    assert '"x_blob" -> "ip_InnerProduct"' in written
    assert "p_Softmax" not in written


def test_what_is_missing_is_said(net, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["draw", net, "net.png"]) == 1
    assert "Graphviz's program `dot` must be installed" in capsys.readouterr().err
    assert not (tmp_path / "net.png").exists()
    assert main(["draw", "none.prototxt"]) == 1
    assert "none.prototxt: No such file" in capsys.readouterr().err
