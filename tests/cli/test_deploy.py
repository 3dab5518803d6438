"""`caffe-lite deploy` on files."""

from __future__ import annotations

from pycaffe_lite.cli import main
from pycaffe_lite.net import deploy as room
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import caffe_pb2
from pycaffe_lite.proto.upgrade import read_net


def test_published_nets_with_their_weights(shared, tmp_path, capsys):
    folder, out = shared / "models" / "lenet_everpeace", tmp_path / "deploy.prototxt"
    weights = str(folder / "lenet_iter_10000.caffemodel")
    net = str(folder / "lenet_train_test.prototxt")
    assert main(["deploy", net, str(out), "--shape", "1,1,28,28", "--weights", weights]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{out}: 9 layers, outputs prob",
        "dropped: accuracy",
        "data was transformed by: transform_param { scale: 0.00390625 }",
        "on random input the scores differ by at most 0 of the largest",
    ]
    assert out.read_text().startswith("# data was transformed by: transform_param { scale: 0.00390625 }\nname: ")
    made = Net(out, caffe_pb2.TEST, weights=weights)
    assert (made.inputs, made.outputs, made.blobs["data"].shape) == (["data"], ["prob"], (1, 1, 28, 28))
    want = read_net(folder / "lenet.prototxt")
    assert [layer.type for layer in made.param.layer][1:] == [
        layer.type for layer in want.layer if layer.type != "Input"
    ]


def test_scores_that_differ_are_refused(shared, tmp_path, capsys, monkeypatch):
    folder, out = shared / "models" / "lenet_everpeace", tmp_path / "deploy.prototxt"
    clean = room.cleaned

    def change(layer):
        made = clean(layer)
        if made.type == "Pooling":
            made.pooling_param.pool = 1
        return made

    monkeypatch.setattr(room, "cleaned", change)
    words = ["--shape", "1,1,28,28", "--weights", str(folder / "lenet_iter_10000.caffemodel")]
    assert main(["deploy", str(folder / "lenet_train_test.prototxt"), str(out), *words]) == 1
    assert "the new net does not compute the same: blob 'ip2' differs by" in capsys.readouterr().err
    assert not out.exists()


def test_a_shape_that_is_not_known(shared, tmp_path, capsys):
    net = shared / "models" / "lenet_everpeace" / "lenet_train_test.prototxt"
    assert main(["deploy", str(net), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert f"{net}:" in error and "give --shape data=100,C,H,W" in error
