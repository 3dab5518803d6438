"""Python layers: called as pycaffe calls them, whatever they do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from exam import Case, build, spread

from pycaffe_lite.cli import main
from pycaffe_lite.errors import ConfigError, PythonLayerError
from pycaffe_lite.layers import python
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2, text


def body(layer, param_str="", module="sample_layers"):
    return f'type: "Python" python_param {{ module: "{module}" layer: "{layer}" param_str: "{param_str}" }}'


def net_of(*layers, phase=caffe_pb2.TEST, **options):
    lines = [
        "force_backward: true",
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }',
    ]
    param = text.parse("\n".join([*lines, *(f"layer {{ {layer} }}" for layer in layers)]), NetParameter())
    param.state.phase = phase
    net = Net.from_proto(param, **options)
    net.blobs["x"].data[...] = spread((2, 3))
    return net


def test_first_values_of_parameters_and_their_gradients():
    net = build(Case(body("Affine", "3 0.5")))
    layer = net.layer_dict["l"]
    layer.blobs[0].data[...], layer.blobs[1].data[...] = 2, 1  # build() gives others
    net.run_forward()
    assert np.allclose(net.blobs["y0"].data, 2 * net.blobs["x0"].data + 1)
    fresh = net_of(f'name: "l" bottom: "x" top: "y" {body("Affine", "3 0.5")}')
    assert [b.data.tolist() for b in fresh.params["l"]] == [[3], [0.5]]


def test_a_loss_counts_with_its_weight():
    net = net_of(f'name: "l" bottom: "x" top: "loss" loss_weight: 3 {body("Square")}')
    x = net.blobs["x"].data
    assert net.run_forward() == pytest.approx(3 * (x**2).sum() / 4, rel=1e-6)
    net.run_backward()
    assert np.allclose(net.blobs["x"].diff, 3 * x / 2)


def test_a_data_layer_and_a_shape_set_in_setup():
    net = net_of(f'name: "l" top: "n" {body("Counter", "4")}')
    assert net.blobs["n"].shape == (4,)
    assert [net.forward()["n"].tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_shapes_may_follow_from_values():
    net = net_of(
        f'name: "l" bottom: "x" top: "some" {body("Positive")}',
        'name: "twice" type: "Power" bottom: "some" top: "twice" power_param { scale: 2 }',
    )
    for flip in (1, -1):
        net.blobs["x"].data[...] = flip * np.array([[1, -2, 3], [4, -5, 6]])
        assert net.forward()["twice"].tolist() == ([2, 6, 8, 12] if flip == 1 else [4, 10])


def test_reshaping_reaches_it_before_the_first_forward_and_after():
    net = net_of(f'name: "l" bottom: "x" top: "y" {body("TimesTen")}')
    for shape in ((4, 4), (1, 1, 5), (2, 3)):
        net.blobs["x"].reshape(shape)
        net.blobs["x"].data[...] = 1
        assert (net.forward()["y"] == np.full(shape, 10)).all()


@pytest.mark.parametrize("maker", ["Power", "Sigmoid"])  # backward of Sigmoid needs its top, so it keeps its own
@pytest.mark.parametrize("alias", [True, False])
def test_in_place(maker, alias):
    net = net_of(
        f'name: "before" type: "{maker}" bottom: "x" top: "y"',
        f'name: "l" bottom: "y" top: "y" {body("Doubled")}',
        alias_in_place=alias,
    )
    x = net.blobs["x"].data.copy()
    made = 1 / (1 + np.exp(-x)) if maker == "Sigmoid" else x
    assert np.allclose(net.forward()["y"], 2 * made)
    net.blobs["y"].diff[...] = 1
    net.run_backward()
    slope = made * (1 - made) if maker == "Sigmoid" else 1
    assert np.allclose(net.blobs["x"].diff, 2 * slope)


def test_it_knows_its_phase_and_message(tmp_path):
    (tmp_path / "knowing.py").write_text(
        "import caffe\n"
        "class Knowing(caffe.Layer):\n"
        "    def __init__(self, param):\n"
        "        self.name = param.name\n"
        "    def reshape(self, bottom, top): top[0].reshape(2)\n"
        "    def forward(self, bottom, top):\n"
        "        told = self.param_str == self.param_str_ == 'a b'\n"
        "        top[0].data[:] = self.phase == caffe.TRAIN, self.name == 'l' and told\n"
    )
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(f'layer {{ name: "l" top: "y" {body("Knowing", "a b", "knowing")} }}')
    for phase in (caffe_pb2.TRAIN, caffe_pb2.TEST):
        assert Net(prototxt, phase).forward()["y"].tolist() == [phase == caffe_pb2.TRAIN, 1]


@pytest.mark.parametrize("where", ["setup", "reshape", "forward", "backward"])
def test_an_exception_shows_where_the_user_stumbled_and_the_layer(where):
    def run():
        net = net_of(f'name: "l" bottom: "x" top: "y" {body("Broken", where)}')
        net.run_forward()
        net.run_backward()

    with pytest.raises(PythonLayerError) as raised:
        run()
    message = str(raised.value)
    assert f"layer 'l' (Python): sample_layers.Broken.{where} raised KeyError" in message
    assert f'in {where}\n    self.stumble("{where}")' in message
    assert message.endswith("KeyError: 'this is mine'")
    assert "layers/python.py" not in message
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("layer", "module", "message"),
    [
        ("", "sample_layers", "python_param.layer: must be given"),
        ("TimesTen", "", "python_param.module: must be given"),
        ("TimesTen", "no_such_module", "python_param.module: no module 'no_such_module' in .* or sys.path"),
        ("TimesTen", "no_such.module", "python_param.module: no module 'no_such.module'"),
        ("TimesTem", "sample_layers", "module sample_layers has no 'TimesTem'; did you mean 'TimesTen'"),
    ],
)
def test_what_cannot_be_found_is_named(layer, module, message):
    with pytest.raises(ConfigError, match=rf"layer 'l' \(Python\): .*{message}"):
        net_of(f'name: "l" bottom: "x" top: "y" {body(layer, module=module)}')


def test_an_import_that_fails_inside_the_module_is_the_users(tmp_path):
    (tmp_path / "importing.py").write_text("import nowhere_at_all\n")
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(f'layer {{ name: "l" top: "y" {body("Any", module="importing")} }}')
    with pytest.raises(PythonLayerError, match=r"(?s)importing importing raised .*line 1.*No module named 'nowhere"):
        Net(prototxt)


def test_they_can_be_refused(monkeypatch):
    monkeypatch.setattr(python, "allowed", False)
    with pytest.raises(ConfigError, match=r"not allowed here, and this one would run sample_layers\.TimesTen"):
        net_of(f'name: "l" bottom: "x" top: "y" {body("TimesTen")}')


def test_the_command_line_can_refuse_them(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(python, "allowed", True)
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(f'layer {{ name: "l" top: "n" {body("Counter", "4")} }}')
    assert main(["time", "--model", str(prototxt), "--iterations", "1"]) == 0
    assert main(["time", "--model", str(prototxt), "--no-python-layers"]) == 1
    assert "layer 'l' (Python): Python layers are not allowed here" in capsys.readouterr().err


def test_import_caffe_is_this_package_under_every_name():
    script = (
        "import pycaffe_lite; pycaffe_lite.install_as_caffe()\n"
        "import caffe, caffe.proto, pycaffe_lite.proto\n"
        "from caffe.proto import caffe_pb2\n"
        "import caffe.net.net\n"
        "assert caffe is pycaffe_lite and caffe.proto is pycaffe_lite.proto\n"
        "assert caffe.Net is pycaffe_lite.Net and caffe.__spec__.name == 'pycaffe_lite'\n"
        "try: import caffe.nothing\n"
        "except ModuleNotFoundError as error: assert error.name == 'caffe.nothing', error\n"
        "else: raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
