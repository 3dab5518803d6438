"""`caffe-lite merge-bn` on files: ours and published ones."""

from __future__ import annotations

import pytest

from pycaffe_lite.cli import main
from pycaffe_lite.net import merge_bn
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2
from pycaffe_lite.proto.text import read

NET = """
layer { name: "d" type: "Data" top: "x" top: "label" data_param { source: "gone" batch_size: 2 }
        transform_param { crop_size: 8 } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" param { lr_mult: 1 }
        convolution_param { num_output: 4 kernel_size: 3 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv"
        scale_param { bias_term: true bias_filler { type: "gaussian" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" include { phase: TRAIN } }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
"""


@pytest.fixture
def files(tmp_path):
    """A net with weights: (net, weights, net to write, weights to write)."""
    paths = [str(tmp_path / name) for name in ("net.prototxt", "w.caffemodel", "out.prototxt", "out.caffemodel")]
    (tmp_path / "net.prototxt").write_text(NET)
    deploy = NET.replace('type: "Data"', 'type: "Input"').replace(
        'data_param { source: "gone" batch_size: 2 }\n        transform_param { crop_size: 8 }',
        "input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 } }",
    )
    (tmp_path / "fill.prototxt").write_text(deploy)
    net = Net(tmp_path / "fill.prototxt", caffe_pb2.TEST)
    for blob, value in zip(net.params["bn"], (4.0, 6.0, 2.0)):
        blob.data[...] = value
    net.save(paths[1])
    return paths


def test_the_net_keeps_its_data_and_loses_its_batch_norm(files, capsys):
    assert main(["merge-bn", *files]) == 0
    out = capsys.readouterr().out
    assert out.startswith("2 layers folded into 1:\n  conv <- bn, scale\non random input the nets differ by at most ")
    written = read(files[2], NetParameter)
    assert [layer.type for layer in written.layer] == ["Data", "Convolution", "InnerProduct", "Accuracy"]
    assert not any(layer.include for layer in written.layer)
    assert written.layer[1].convolution_param.bias_term
    weights = read(files[3], NetParameter)
    blobs = {layer.name: [list(blob.shape.dim) for blob in layer.blobs] for layer in weights.layer if layer.blobs}
    assert blobs == {"conv": [[4, 3, 3, 3], [4]], "ip": [[3, 144], [3]]}


def test_files_appear_only_if_the_nets_agree(files, tmp_path, capsys, monkeypatch):
    right = merge_bn.folded
    monkeypatch.setattr(merge_bn, "folded", lambda *args: [1.01 * array for array in right(*args)])
    assert main(["merge-bn", *files]) == 1
    assert "does not compute the same: blob " in capsys.readouterr().err
    assert not list(tmp_path.glob("out.*"))


def test_what_cannot_be_done(files, tmp_path, capsys):
    assert main(["merge-bn", files[2], *files[1:]]) == 1
    assert "out.prototxt: No such file" in capsys.readouterr().err
    plain = tmp_path / "plain.prototxt"
    plain.write_text("\n".join(line for line in NET.splitlines() if "bn" not in line and "cale" not in line))
    assert main(["merge-bn", str(plain), *files[1:]]) == 1
    assert "there is nothing to merge: the net has no BatchNorm, Scale or Bias layer" in capsys.readouterr().err
    (tmp_path / "net.prototxt").write_text(NET.replace('"bn"', '"bn9"'))
    assert main(["merge-bn", *files]) == 1
    assert "no parameters for 'bn9'" in capsys.readouterr().err


PUBLISHED = [
    ("tusimple_mobilenet_yolov3_lite/mobilenet_yolov3_lite_deploy", "_iter_50000", 38, []),
    ("cifar100_svhn_bikong2/cifar100/normal/cifar100", "_normal", 6, ["--shape", "data=4,3,32,32"]),
]


@pytest.mark.parametrize("path, ending, layers, more", PUBLISHED)
def test_published_nets(shared, tmp_path, capsys, path, ending, layers, more):
    stem = shared / "models" / path
    net = stem.with_name(f"{stem.name}.prototxt" if more == [] else f"{stem.name}_train_test.prototxt")
    outs = [str(tmp_path / "o.prototxt"), str(tmp_path / "o.caffemodel")]
    assert main(["merge-bn", str(net), f"{stem}{ending}.caffemodel", *outs, *more]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{layers} layers folded into {layers // 2}:\n")
    assert float(out.split("at most ")[1].split()[0]) < 1e-5
    assert not {"BatchNorm", "Scale"} & {layer.type for layer in read(outs[0], NetParameter).layer}
