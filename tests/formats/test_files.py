"""Files that appear whole or not at all, and that are read without being in memory as a whole."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from pycaffe_lite.errors import CaffeError
from pycaffe_lite.formats import files
from pycaffe_lite.formats.files import replacing, write_whole


def test_a_group_of_files_is_replaced_together_or_not_at_all(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), replacing(old, new) as (first, second):
        for path in (first, second):
            with open(path, "wb") as file:
                file.write(b"after")
        assert old.read_bytes() == b"before" and not new.exists()
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["old"] and old.read_bytes() == b"before"
    with replacing(old, new) as paths:
        for path in paths:
            with open(path, "wb") as file:
                file.write(b"after")
    assert sorted(os.listdir(tmp_path)) == ["new", "old"] and old.read_bytes() == new.read_bytes() == b"after"


def test_the_error_names_the_file_that_cannot_be_written(tmp_path):
    with (
        pytest.raises(CaffeError, match="two: cannot be written: No space left on device"),
        replacing(tmp_path / "one", tmp_path / "two") as paths,
    ):
        raise OSError(28, "No space left on device", paths[1])
    assert os.listdir(tmp_path) == []


def test_new_files_may_be_read_by_whoever_may_read_new_files(tmp_path):
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "ours", [b"a", memoryview(b"bc")])
    assert (tmp_path / "ours").read_bytes() == b"abc"
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_values_are_copied_out_of_a_file_piece_by_piece(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(files, "PIECE", 7)
    values = np.arange(20, dtype=dtype).reshape(4, 5)
    (tmp_path / "file").write_bytes(values.tobytes())
    seen = np.frombuffer(files.view(tmp_path / "file", "file"), dtype).reshape(4, 5)
    assert files._mapping(seen) is not None and files._mapping(values) is None
    for source in (seen, values, seen.T.copy().T):
        out = np.zeros((4, 5), np.float32)
        files.copy(out, source)
        assert (out == values).all()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does")
def test_weights_that_are_loaded_are_not_in_memory_twice(tmp_path):
    program = """
import re, sys
from pycaffe_lite import Net
net = Net.from_prototxt('layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4096 } } } '
    'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 4096 } }')
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) >> 10
if sys.argv[1] == "save":
    net.params["ip"][0].data[...] = 1
    net.save(sys.argv[2])
else:
    before = peak()
    net.copy_from(sys.argv[2])
    assert (net.params["ip"][0].data == 1).all()
    print(peak() - before)
"""
    for verb in ("save", "load"):
        command = [sys.executable, "-c", program, verb, str(tmp_path / "big.caffemodel")]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 60 < int(out) < 100  # of which the weights are 64 MB; the comparison takes 16
