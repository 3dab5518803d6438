"""What the documentation shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite import cli
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2, text

DOCS = Path(__file__).resolve().parents[1] / "docs"
INPUT = 'force_backward: true layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } } '


@pytest.fixture
def own_layers(tmp_path: Path) -> tuple[Path, str]:
    """shrink.py and the net that uses it, cut out of docs/own-layers.md."""
    page = (DOCS / "own-layers.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (layer,) = re.findall(r"```prototxt\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "shrink.py"
    path.write_text(code)
    return path, INPUT + layer


def test_a_layer_of_ones_own_is_a_layer_like_any_other(own_layers, tmp_path, capfd):
    path, net_text = own_layers
    (tmp_path / "net.prototxt").write_text(net_text)
    model = str(tmp_path / "net.prototxt")
    assert cli.main(["time", "--import", str(path), "--model", model, "--iterations", "1"]) == 0
    assert "shrink\tforward" in capfd.readouterr().err

    assert cli.main(["layers", "--import", str(path), "Shrink"]) == 0
    assert capfd.readouterr().out.startswith("Shrink: y = x moved towards 0")

    net = Net.from_proto(text.parse(net_text, NetParameter()))
    x = np.array([[2, 0.25, -0.75], [-0.5, 0.5, 1]], np.float32)
    net.forward(data=x)
    np.testing.assert_allclose(net.blobs["shrunk"].data, [[1.5, 0, -0.25], [0, 0, 0.5]])
    net.blobs["shrunk"].diff[...] = 3
    net.run_backward()
    np.testing.assert_allclose(net.blobs["data"].diff, [[3, 0, 3], [0, 0, 3]])


@pytest.mark.parametrize(("name", "message"), [("gone.py", "must be a Python file"), ("broken.py", "NameError")])
def test_a_file_that_cannot_be_imported_is_one_message(tmp_path, capfd, name, message):
    (tmp_path / "broken.py").write_text("undefined_name\n")
    assert cli.main(["time", "--import", str(tmp_path / name), "--model", "net.prototxt"]) == 1
    assert message in capfd.readouterr().err


def test_the_net_of_the_pycaffe_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "pycaffe.md").read_text("utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "NetSpec()" in block)
    exec(compile(code, "train.py", "exec"), {})
    net = Net("net.prototxt", caffe_pb2.TEST)
    assert set(net.forward()) == {"loss", "accuracy"}
    with pytest.raises(ConfigError) as refused:
        exec(compile(code.replace("kernel_size=5", "kernal_size=5"), "train.py", "exec"), {})
    assert str(refused.value) in page


def test_the_page_on_python_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 7
    space: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"python.md, block {number}", "exec"), space)
    shown = capsys.readouterr().out
    for line in re.findall(r"# (.*)", "\n".join(blocks)):
        if line.startswith(("net 'digits' has", "parameter 0 of")):
            assert line in shown
    assert "<Net 'digits' TEST: 8 layers, 11,738 parameters, inputs ['data', 'label'], outputs" in shown
    assert space["history"].tests["accuracy"][-1, 1] > 0.9
    assert space["scores"].shape == (100, 10) and space["features"].shape == (7, 8, 12, 12)


def test_the_example_on_weights_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("safetensors")
    monkeypatch.chdir(tmp_path)
    source = (
        INPUT
        + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }'
    )
    (tmp_path / "net.prototxt").write_text(source)
    Net("net.prototxt", caffe_pb2.TEST).save("net.caffemodel")
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "files.md").read_text("utf-8"), re.DOTALL)
    exec(compile(code, "files.md", "exec"), {})
    assert capsys.readouterr().out == "1 layer(s) with 8 parameters loaded from net.safetensors\n"
