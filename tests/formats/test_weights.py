"""Weights out of a net and into another, in every format, and what is told about it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from small_net import NET, assert_equal, make_net, values

from pycaffe_lite.errors import CaffeError, WeightsError
from pycaffe_lite.formats import blobproto, caffemodel, wire
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, V0LayerParameter, upgrade

pytest.importorskip("safetensors")
FORMATS = [".caffemodel", ".caffemodel.h5", ".npz", ".safetensors"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_saved_is_loaded_bit_for_bit(net, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    net.save(path)
    other = make_net()
    report = other.copy_from(path)
    assert_equal(other, values(net))
    assert os.listdir(tmp_path) == [path.name]
    assert set(report.loaded) == set(net.params)
    assert report.count == sum(entry.blob.count for entry in net.graph.learnable)
    assert not report.skipped and not report.missing and not report.mismatched


@pytest.mark.parametrize("suffix", FORMATS)
def test_half_precision_is_saved_in_half_the_space(net, tmp_path, suffix):
    whole, half = tmp_path / f"whole{suffix}", tmp_path / f"half{suffix}"
    net.save(whole)
    net.save(half, half=True)
    assert os.path.getsize(whole) - os.path.getsize(half) > 1.5 * sum(e.blob.count for e in net.graph.learnable)
    other = make_net()
    other.copy_from(half)
    assert_equal(other, {name: array.astype(np.float16).astype(np.float32) for name, array in values(net).items()})


def test_numbers_beyond_half_precision_are_refused(net, tmp_path):
    net.params["score"][1].data[2] = -70000
    with pytest.raises(WeightsError, match="layer 'score', parameter 1: 70000 is beyond float16's 65504"):
        net.save(tmp_path / "half.caffemodel", half=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".caffemodel", ".caffemodel.h5", ".npz", ".safetensors"])
def test_double_precision_survives(tmp_path, suffix):
    net, other = make_net(dtype=np.float64), make_net(dtype=np.float64)
    net.save(tmp_path / f"a{suffix}")
    other.copy_from(tmp_path / f"a{suffix}")
    assert_equal(other, values(net))
    single = make_net()
    single.copy_from(tmp_path / f"a{suffix}")
    assert_equal(single, {name: array.astype(np.float32) for name, array in values(net).items()})


def test_gradients_are_saved_when_asked_for(net, tmp_path):
    net.save(tmp_path / "a.caffemodel", write_diff=True)
    other = make_net()
    other.copy_from(tmp_path / "a.caffemodel")
    assert_equal(other, values(net, "diff"), "diff")
    net.save(tmp_path / "a.h5", write_diff=True)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["diff/ip/0"], net.params["ip"][0].diff)
        np.testing.assert_array_equal(file["diff/again/0"], net.params["ip"][0].diff)  # Caffe: shared ones too
        assert "0" not in file["data/again"] and "0" in file["data/ip"]  # Caffe: only where it is owned
    with pytest.raises(WeightsError, match=r"\.npz files hold no gradients"):
        net.save(tmp_path / "a.npz", write_diff=True)


def test_files_are_caffes_byte_for_byte(shared, tmp_path):
    folder = shared / "golden" / "solvers"
    net = make_net((folder / "net.prototxt").read_text())
    for path in sorted(folder.glob("*_iter_10.caffemodel")):
        net.copy_from(path)
        net.save(tmp_path / "ours.caffemodel")
        assert (tmp_path / "ours.caffemodel").read_bytes() == path.read_bytes(), path.name


def test_hdf5_is_laid_out_as_caffe_does(shared, tmp_path):
    folder = shared / "golden" / "solvers"
    net = make_net((folder / "net.prototxt").read_text())
    net.copy_from(folder / "adam_iter_10.caffemodel.h5")
    net.save_hdf5(tmp_path / "ours")
    with h5py.File(tmp_path / "ours") as ours, h5py.File(folder / "adam_iter_10.caffemodel.h5") as theirs:
        assert described(ours) == described(theirs)
        theirs.visititems(
            lambda name, item: isinstance(item, h5py.Group) or np.testing.assert_array_equal(ours[name], item)
        )
    net.load_hdf5(tmp_path / "ours")


def described(file) -> dict:
    found = {}
    file.visititems(
        lambda name, item: found.update({name: (getattr(item, "shape", None), str(getattr(item, "dtype", "")))})
    )
    return found


def old_net(version: int, net) -> NetParameter:
    """The net's weights in a caffemodel of Caffe's first or second year, blobs with four axes."""
    made = NetParameter(name="old")
    for name, arrays in net.params.items():
        layer = made.layers.add(name=name) if version == 1 else made.layers.add().layer
        layer.name = name
        for blob in arrays:
            shape = (1,) * (4 - len(blob.shape)) + blob.shape
            num, channels, height, width = shape
            layer.blobs.add(num=num, channels=channels, height=height, width=width, data=blob.data.ravel())
    return made


@pytest.mark.parametrize("version", [0, 1])
def test_old_versions_are_read(net, tmp_path, version):
    old = old_net(version, net)
    assert isinstance(old.layers[0].layer, V0LayerParameter)
    (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
    other = make_net()
    assert set(other.copy_from(tmp_path / "old.caffemodel").loaded) == set(net.params)
    assert_equal(other, values(net))


def test_legacy_shapes_stand_for_those_without_their_leading_ones(net, tmp_path):
    def with_bias_shape(**axes):
        old = old_net(1, net)
        bias = old.layers[-1].blobs[1]
        for axis, size in axes.items():
            setattr(bias, axis, size)
        (tmp_path / "old.caffemodel").write_bytes(old.SerializeToString())
        return tmp_path / "old.caffemodel"

    make_net().copy_from(with_bias_shape())
    with pytest.raises(WeightsError, match=r"shape \(5, 1, 1, 1\) in the file, \(5,\) in the net"):
        make_net().copy_from(with_bias_shape(num=5, width=1))


def nvidia(array: np.ndarray, kind: int) -> dict:
    return {"raw_data_type": kind, "raw_data": array.astype({0: "<f8", 1: "<f4", 2: "<f2"}[kind]).tobytes()}


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_nvidias_raw_fields_are_read(tmp_path, kind):
    net = make_net()
    for entry in net.graph.learnable:
        entry.blob.data[...] = np.round(entry.blob.data, 2).astype(np.float16)
    made = NetParameter()
    for name, blobs in net.params.items():
        layer = made.layer.add(name=name)
        for blob in blobs:
            layer.blobs.add(shape={"dim": blob.shape}, **nvidia(blob.data, kind))
    (tmp_path / "nv.caffemodel").write_bytes(made.SerializeToString())
    other = make_net()
    other.copy_from(tmp_path / "nv.caffemodel")
    assert_equal(other, values(net))


def test_arrays_that_are_not_packed_are_read(net, tmp_path):
    """Legal protobuf, though no Caffe writes it: every number with a tag of its own."""
    bias = net.params["score"][1].data
    blob = b"\x3a\x03\x0a\x01\x05" + b"".join(b"\x2d" + value.tobytes() for value in bias)
    layer = (
        b"\x0a\x05score" + blobs(blobproto.from_array(net.params["score"][0].data).SerializeToString()) + blobs(blob)
    )
    (tmp_path / "a.caffemodel").write_bytes(sized(100, layer))
    other = make_net()
    other.copy_from(tmp_path / "a.caffemodel")
    np.testing.assert_array_equal(other.params["score"][1].data, bias)


def sized(number: int, content: bytes) -> bytes:
    return wire.header(number, len(content)) + content


def blobs(content: bytes) -> bytes:
    return sized(7, content)


# What is told


def test_the_report_and_the_log_tell_what_became_of_each_layer(net, tmp_path, caplog):
    net.save(tmp_path / "a.caffemodel")
    other = make_net(NET.replace('"score"', '"new_score"').replace('name: "part"', 'name: "relu"'))
    caplog.set_level(logging.INFO, "pycaffe_lite")
    report = other.copy_from(tmp_path / "a.caffemodel")
    assert set(report.loaded) == {"part/conv", "ip", "again"}
    assert report.skipped == {"score": [(5, 64), (5,)]}
    assert report.missing == {"new_score": [(5, 64), (5,)]}
    lines = [record.getMessage() for record in caplog.records]
    assert "Ignoring source layer score" in lines and "Ignoring source layer part" in lines  # Caffe's words
    assert str(report).splitlines() == [
        f"3 layer(s) with 4,272 parameters loaded from {tmp_path / 'a.caffemodel'}",
        "  in the net only, left as they were: new_score (5, 64) (5,)",
        "  in the file only, skipped: score (5, 64) (5,)",
    ]
    assert set(str(report).splitlines()) <= set(lines)


def test_a_warning_when_nothing_was_loaded(net, tmp_path, caplog):
    net.save(tmp_path / "a.caffemodel")
    other = make_net(NET.replace('name: "', 'name: "my_').replace("my_w", "w"))
    before = values(other)
    other.copy_from(tmp_path / "a.caffemodel")
    assert_equal(other, before)
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1 and "nothing was loaded: net 'my_small' has none" in warnings[0]


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_shape_is_refused_and_nothing_is_loaded(net, tmp_path, suffix):
    net.save(tmp_path / f"a{suffix}")
    other = make_net(NET.replace("num_output: 5", "num_output: 7"))
    before = values(other)
    with pytest.raises(WeightsError) as info:
        other.copy_from(tmp_path / f"a{suffix}")
    for part in (f"a{suffix}: layer 'score' (InnerProduct), parameter 0: shape (5, 64) in the file, (7, 64) in the net",
                 "give it another name, or leave it as it is: train and test take --ignore-mismatch"):  # fmt: skip
        assert part in str(info.value)
    assert_equal(other, before)

    report = other.copy_from(tmp_path / f"a{suffix}", ignore_mismatch=True)
    assert report.mismatched == {"score": [(5, 64), (5,)]} and not report.missing
    assert "of another shape in the file, left as they were: score (5, 64) (5,)" in str(report)
    expected = values(net) | {name: before[name] for name in ("score/0", "score/1")}
    assert_equal(other, expected)


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_number_of_parameters_is_refused(net, tmp_path, suffix):
    net.save(tmp_path / f"a{suffix}")
    other = make_net(NET.replace("num_output: 5", "num_output: 5 bias_term: false"))
    with pytest.raises(
        WeightsError, match=r"layer 'score' \(InnerProduct\) has 1 parameter\(s\) in the net and 2 in the file"
    ):
        other.copy_from(tmp_path / f"a{suffix}")
    other = make_net(NET.replace('name: "part" type: "ReLU"', 'name: "part" type: "Scale"'))
    if suffix == ".caffemodel":  # the only one to hold layers without parameters, if they are all there is of a name
        with pytest.raises(
            WeightsError, match=r"layer 'part' \(Scale\) has 1 parameter\(s\) in the net and 0 in the file"
        ):
            other.copy_from(tmp_path / f"a{suffix}")
    else:
        assert "part" in other.copy_from(tmp_path / f"a{suffix}").missing


def test_of_two_layers_of_one_name_the_first_in_the_net_and_the_last_in_the_file_count(net, tmp_path):
    made = NetParameter()
    for value in (1, 2):
        layer = made.layer.add(name="score")
        for blob in net.params["score"]:
            layer.blobs.append(blobproto.from_array(np.full(blob.shape, value, np.float32)))
    (tmp_path / "a.caffemodel").write_bytes(made.SerializeToString())
    net.copy_from(tmp_path / "a.caffemodel")
    assert (net.params["score"][0].data == 2).all()


def test_weights_in_the_nets_own_file_are_used(net, tmp_path):
    net.save(tmp_path / "a.caffemodel")
    param = upgrade.read_net(tmp_path / "a.caffemodel")
    assert_equal(Net.from_proto(param), values(net))


# What can go wrong on the way out


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_leaves_the_old_file(net, tmp_path, suffix):
    """In a process that may write no more than 4 KB a file: to a program a full disk looks the same."""
    path = tmp_path / f"a{suffix}"
    net.save(path)
    before = path.read_bytes()
    script = f"""
import resource, sys
from pycaffe_lite.errors import CaffeError
from small_net import make_net
net = make_net()
net.save({str(tmp_path / "warm")!r} + {suffix!r})  # all modules are loaded
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    net.save({str(path)!r})
except CaffeError as error:
    sys.exit(str(error))
"""
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    assert done.returncode == 1 and "the file that was there is untouched" in done.stderr, done.stderr
    assert str(path) in done.stderr
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, f"warm{suffix}"])


def test_a_folder_that_is_not_there(net, tmp_path):
    with pytest.raises(CaffeError, match=r"nowhere/a\.caffemodel: cannot be written: No such file or directory"):
        net.save(tmp_path / "nowhere" / "a.caffemodel")


def test_layer_names_that_hdf5_cannot_hold(tmp_path):
    net = make_net(NET.replace('name: "score"', 'name: "../score"'))
    with pytest.raises(WeightsError, match=r"layer '\.\./score': HDF5 cannot hold a layer of this name"):
        net.save(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("package", "suffix", "extra"), [("h5py", ".h5", "hdf5"), ("safetensors", ".safetensors", "safetensors")]
)
def test_advice_where_a_package_is_missing(net, tmp_path, monkeypatch, package, suffix, extra):
    net.save(tmp_path / f"a{suffix}")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.numpy", None)
    for act in (net.save, net.copy_from):
        with pytest.raises(WeightsError, match=rf"pip install 'caffe-lite\[{extra}\]'"):
            act(tmp_path / f"a{suffix}")


def test_a_warning_where_protobuf_gives_up(net, tmp_path, monkeypatch, caplog):
    net.save(tmp_path / "a.caffemodel")
    assert not caplog.records
    monkeypatch.setattr(caffemodel, "PROTOBUF_LIMIT", 10_000)
    net.save(tmp_path / "a.caffemodel")
    assert "more than 2 GB is read by nothing but caffe-lite" in caplog.text
