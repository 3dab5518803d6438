"""`caffe-lite upgrade` against the files that Caffe's own upgrade tools write."""

from __future__ import annotations

import pytest

from pycaffe_lite.cli import main
from pycaffe_lite.proto import NetParameter, SolverParameter
from pycaffe_lite.proto.text import read

CASES = [("net", "v0", NetParameter), ("net", "v1", NetParameter), ("solver", "old_solver", SolverParameter)]


@pytest.mark.parametrize("kind, name, message", CASES)
@pytest.mark.parametrize("suffix", ["prototxt", "caffemodel"])
def test_as_caffe_upgrades(shared, tmp_path, capsys, kind, name, message, suffix):
    files, out = shared / "golden" / "files", tmp_path / f"out.{suffix}"
    assert main(["upgrade", kind, str(files / f"{name}.prototxt"), str(out)]) == 0
    assert read(out, message) == read(files / f"{name}.upgraded.prototxt", message)
    form = "text" if suffix == "prototxt" else "binary"
    assert capsys.readouterr().out == f"{out}: written as {form}; {files / name}.prototxt upgraded\n"
    assert out.read_bytes().startswith(b"\n") == (suffix == "caffemodel")


def test_text_is_what_caffe_prints(shared, tmp_path):
    files, out = shared / "golden" / "files", tmp_path / "out.prototxt"
    main(["upgrade", "net", str(files / "v1.prototxt"), str(out)])
    assert out.read_text() == (files / "v1.upgraded.prototxt").read_text()


def test_in_place_and_again(tmp_path, capsys):
    path = tmp_path / "net"
    path.write_text('name: "n" layers { name: "r" type: RELU bottom: "x" top: "x" }')
    assert main(["upgrade", "net", str(path), str(path)]) == 0
    assert path.read_text().startswith('name: "n"\nlayer {\n  name: "r"\n  type: "ReLU"')
    assert main(["upgrade", "net", str(path), str(path)]) == 0
    assert capsys.readouterr().out.endswith("was up to date already\n")


def test_a_wrong_file_leaves_the_old_one(tmp_path, capsys):
    bad, out = tmp_path / "bad.prototxt", tmp_path / "out.prototxt"
    bad.write_text("layers { type: RELUU }")
    out.write_text("as it was")
    assert main(["upgrade", "net", str(bad), str(out)]) == 1
    assert f"{bad}:1:16: unknown value RELUU" in capsys.readouterr().err
    assert out.read_text() == "as it was"
    assert main(["upgrade", "solver", str(tmp_path / "gone"), str(out)]) == 1
    assert "gone: No such file" in capsys.readouterr().err
