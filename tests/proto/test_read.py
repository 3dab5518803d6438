"""Files as people have them: text or binary, missing, cut short, or something else altogether."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycaffe_lite.errors import PrototxtError
from pycaffe_lite.proto import BlobProto, BlobShape, LayerParameter, NetParameter, SolverState
from pycaffe_lite.proto.binary import decode
from pycaffe_lite.proto.text import read, write_text

LAYER = LayerParameter(name="ip", type="InnerProduct", blobs=[BlobProto(shape=BlobShape(dim=[2]), data=[1, 2])])
NET = NetParameter(name="a net", layer=[LAYER])


def refusal(path, kind=NetParameter):
    with pytest.raises(PrototxtError) as caught:
        read(path, kind)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize("form", ["text", "binary"])
def test_text_and_binary_are_told_apart_by_content(tmp_path, form):
    path = tmp_path / "any.name"
    path.write_bytes(write_text(NET).encode() if form == "text" else NET.SerializeToString())
    assert read(path, NetParameter) == NET
    assert read(str(path), NetParameter) == NET


@pytest.mark.parametrize("name", ["", "x", "n" * 10, "n" * 35, "n" * 300])
def test_binary_whatever_the_length_of_the_name(tmp_path, name):
    """The name comes first, and its length may look like a printable character."""
    net = NetParameter(name=name, layer=[LAYER])
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    assert read(path, NetParameter) == net


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"", ": the file is empty"),
        (b" \n\n", ": the file is empty"),
        (b"\n<!DOCTYPE html>\n<html>", ": this is a web page, not a NetParameter"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            ": this is a Git LFS pointer (run 'git lfs pull'), not a NetParameter",
        ),
        (b"\x89HDF\r\n\x1a\n\x00", ": this is an HDF5 file, not a NetParameter"),
        (b"\x00\x01\x02\x03", ": not a binary NetParameter (byte 0 begins no field of it)"),
        (b"\x0a\x01x\xff\xff\x01", ": not a binary NetParameter (byte 3 begins no field of it)"),
        (b"\x98\xea\x30\x01", ": not a binary NetParameter"),
    ],
)
def test_files_that_hold_no_net(tmp_path, data, problem):
    path = tmp_path / "net"
    path.write_bytes(data)
    assert refusal(path) == problem


def test_a_stray_control_character_makes_no_binary(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"# a net, last saved under DOS\n" * 50 + b"\x1a")
    assert refusal(path) == ":51:1: expected a field name, found '\\x1a'"


def test_a_file_cut_short(tmp_path):
    path = tmp_path / "net.caffemodel"
    data = NET.SerializeToString()
    path.write_bytes(data[:-5])
    assert refusal(path) == ": truncated: field 'layer' at byte 7 lacks its last 5 bytes"
    path.write_bytes(data[:8])
    assert refusal(path) == ": truncated in the middle of the field at byte 7"


def test_damage_inside_a_field(tmp_path):
    path = tmp_path / "net.caffemodel"
    data = bytearray(NET.SerializeToString())
    data[11] = 200  # the length of the layer's name, far too long now
    path.write_bytes(data)
    assert refusal(path) == ": damaged inside a field of NetParameter"


@given(st.binary(max_size=40), st.integers(0, 40))
def test_no_damage_ends_in_another_error(damage, at):
    data = bytearray(NET.SerializeToString())
    data[at : at + len(damage)] = damage
    with contextlib.suppress(PrototxtError):
        decode(bytes(data), NetParameter(), "net.caffemodel")


def test_missing_files_and_folders(tmp_path):
    assert refusal(tmp_path / "no.prototxt") == ": No such file or directory"
    assert refusal(tmp_path) == ": Is a directory"


def test_models_that_people_trained(shared):
    kinds = {".caffemodel": NetParameter, ".solverstate": SolverState, ".binaryproto": BlobProto}
    paths = [path for folder in ("models", "golden") for path in (shared / folder).rglob("*") if path.suffix in kinds]
    assert len(paths) > 30
    for path in paths:
        assert read(path, kinds[path.suffix]).ListFields(), path


def test_strings_of_another_age(tmp_path):
    """Paths in GBK or Latin-1, which Caffe never looked at, come as text that shows their bytes."""
    net = NetParameter(name="net", input=["caf?"])
    net.layer.add(name="l?yer", type="Data").data_param.source = "caf?"
    path = tmp_path / "old.caffemodel"
    path.write_bytes(net.SerializeToString().replace(b"?", b"\xe9"))
    found = read(path, NetParameter)
    assert (found.layer[0].name, found.layer[0].data_param.source) == ("l\\xe9yer", "caf\\xe9")
    assert list(found.input) == ["caf\\xe9"]
