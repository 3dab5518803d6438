"""`caffe-lite summary` as a person or a program calls it."""

from __future__ import annotations

import json

import pytest

from pycaffe_lite.cli import main

NET = """
name: "small"
layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "gone" batch_size: 4 }
        transform_param { crop_size: 6 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "top5" type: "Accuracy" bottom: "ip" bottom: "label" top: "top5" include { phase: TEST } }
"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    return str(path)


def test_both_phases_as_text(net, capsys):
    assert main(["summary", net]) == 0
    out = capsys.readouterr().out
    train, test = out.split("\n\n")
    lines = train.splitlines()
    assert lines[0] == "small (TRAIN)"
    assert lines[3].split() == ["ip", "InnerProduct", "4x10", "1,090", "4.32", "k", "8.68", "k", "160", "B"]
    assert "top5" in test and "top5" not in train
    assert "outputs: loss (), top5 ()" in test
    assert "note: layer 'd' (Data): its data is not here; assumed data=4,3,6,6 label=4" in test


def test_json(net, capsys):
    assert main(["summary", net, "--json", "--phase=TRAIN", "--shape", "data=2,1,4,4"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert list(made) == ["TRAIN", "notes"]
    assert made["TRAIN"]["totals"]["parameters"] == 16 * 10 + 10
    assert made["TRAIN"]["layers"][0]["tops"] == [["data", [2, 1, 4, 4]], ["label", [2]]]


def test_alike_phases_make_one_table(tmp_path, capsys):
    path = tmp_path / "net.prototxt"
    path.write_text(NET.replace("include { phase: TEST }", ""))
    main(["summary", str(path)])
    out = capsys.readouterr().out
    assert out.startswith("small (TRAIN and TEST)\n") and out.count("ip  ") == 1


def test_a_wrong_net_is_one_clear_line(net, tmp_path, capsys):
    bad = tmp_path / "bad.prototxt"
    bad.write_text(NET.replace('bottom: "data"', 'bottom: "dato"'))
    assert main(["summary", str(bad)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"caffe-lite summary: error: {bad}:5:41: layer 'ip' (InnerProduct): unknown bottom")
    assert "did you mean 'data'?" in error


def test_batches_of_nothing(tmp_path, capsys):
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 0 dim: 3 } } }')
    assert main(["summary", str(path)]) == 0
    assert "multiply-adds: 0, 0 a sample" in capsys.readouterr().out
