"""Files that are broken, lie about themselves, or are something else: a WeightsError, and nothing allocated for it."""

from __future__ import annotations

import io
import json
import os
import shutil
import tracemalloc
import zipfile

import h5py
import lmdb
import numpy as np
import pytest
from small_net import assert_equal, make_net, values

from pycaffe_lite.cli import main
from pycaffe_lite.errors import WeightsError
from pycaffe_lite.formats import blobproto, solverstate, wire
from pycaffe_lite.proto import BlobProto, BlobShape, SolverState

GIGA = 10**9


def refused(net, path, *parts: str) -> None:
    """Loading fails with all these words, allocates next to nothing, and leaves the net as it was."""
    before = values(net)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError) as info:
            net.copy_from(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    for part in (os.path.basename(path), *parts):
        assert part in str(info.value)
    assert_equal(net, before)


def sized(number: int, content: bytes, announced: int = 0) -> bytes:
    return wire.header(number, announced or len(content)) + content


def caffemodel(blob: bytes, name: bytes = b"score") -> bytes:
    return sized(100, sized(1, name) + sized(7, blob))


def shape(*dims: int) -> bytes:
    return sized(7, BlobShape(dim=dims).SerializeToString())


def blob(**fields) -> bytes:
    return BlobProto(**fields).SerializeToString()


FEW = sized(5, np.zeros(4, "<f4").tobytes())
BLOBS = {
    "5 GB announced": (sized(5, b"1234" * 200, 5 * GIGA) + shape(5, 64), "announces 5,000,000,000 bytes, of which"),
    "a shape of 5 GB": (FEW + shape(50000, 25000), "shape (50000, 25000) needs 1,250,000,000 values, but there are 4"),
    "a size that overflows": (FEW + shape(2**32, 2**32), "needs 18,446,744,073,709,551,616 values"),
    "sizes that overflow to what is there": (FEW + shape(2**62, 16), "needs 73,786,976,294,838,206,464 values"),
    "a negative size": (FEW + shape(-2, -2), "shape (-2, -2) has a negative size"),
    "legacy axes that are negative": (blob(num=-1, channels=-4, height=1, width=1, data=[0] * 4), "negative"),
    "33 axes": (FEW + shape(*[1] * 33), "more than 32 axes"),
    "a million axes": (FEW + shape(*[1] * 10**6), "more than 32 axes"),
    "half a number": (sized(5, b"123456") + shape(1), "data ends in the middle of a number"),
    "half a number, raw": (blob(raw_data=b"123", raw_data_type=2) + shape(1), "middle of a number"),
    "an unknown type": (blob(raw_data=b"1234", raw_data_type=4) + shape(1), "raw_data_type 4 is none of"),
    "too few gradients": (FEW + sized(6, b"1234") + shape(4), "shape (4,) needs 4 gradients, but there are 1"),
    "no shape": (FEW, "shape () needs 1 values, but there are 4"),
    "no values": (shape(5, 64), "shape (5, 64) needs 320 values, but there are 0"),
    "broken single numbers": (shape(2) + b"\x2d1234\x2d12", "Error parsing message"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BLOBS)
def test_a_blob_that_cannot_be(net, tmp_path, kind):
    content, message = BLOBS[kind]
    (tmp_path / "a.caffemodel").write_bytes(caffemodel(content))
    refused(net, tmp_path / "a.caffemodel", "layer 'score', parameter 0: ", message)


def test_a_layer_of_5_gigabytes(net, tmp_path):
    whole = caffemodel(blobproto.from_array(net.params["score"][0].data).SerializeToString())
    (tmp_path / "a.caffemodel").write_bytes(sized(100, whole[4:60], 5 * GIGA))
    refused(net, tmp_path / "a.caffemodel", "layer 'score', parameter 0", "truncated")


def test_ten_thousand_nested_messages(net, tmp_path):
    for number in (1, 2, 100):  # V1 layers (2) hold a V0 layer (1)
        content = b""
        for _ in range(10_000):
            content = sized(number, content)
        (tmp_path / "a.caffemodel").write_bytes(sized(2, content) + sized(100, content))
        assert not net.copy_from(tmp_path / "a.caffemodel").loaded


def test_a_file_cut_off_anywhere(net, tmp_path):
    """Either the cut is between two layers, or the error says in which layer it is."""
    path = tmp_path / "a.caffemodel"
    net.save(path)
    whole = path.read_bytes()
    field_ends = {field.end for field in wire.fields(memoryview(whole), 0, len(whole))}
    other = make_net()
    for cut in [*range(1, 700, 5), *range(700, len(whole), 997)]:
        path.write_bytes(whole[:cut])
        if cut in field_ends:
            continue
        with pytest.raises(WeightsError, match=r"a\.caffemodel: .*(truncated|holds no layers|text)"):
            other.copy_from(path)
    path.write_bytes(whole[:-500])
    refused(net, path, "layer 'score', parameter 0: truncated: the field at byte")


@pytest.mark.parametrize("suffix", [".caffemodel", ".npz", ".safetensors", ".solverstate"])
def test_random_damage(net, tmp_path, suffix):
    """Whatever a few wrong bytes do, it is loaded or refused, and no other exception gets out."""
    path = tmp_path / f"a{suffix}"
    load = net.copy_from if suffix != ".solverstate" else read_all
    if suffix == ".solverstate":
        solverstate.write(solverstate.State(3, "a.caffemodel", 0, [np.zeros((3, 4), np.float32)] * 3), str(path))
    else:
        pytest.importorskip("safetensors")
        net.save(path)
    whole, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    refusals = 0
    for _ in range(400):
        broken = bytearray(whole)
        for place in rng.integers(0, rng.choice([200, len(whole)]), rng.integers(1, 4)):
            broken[min(place, len(whole) - 1)] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            load(path)
        except WeightsError as error:
            refusals += 1
            assert path.name in str(error)
    assert refusals > 20


def read_all(path) -> None:
    with solverstate.opened(str(path)) as state:
        for stored in state.history:
            stored.read()


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes(net, tmp_path, seed):
    (tmp_path / "a.caffemodel").write_bytes(np.random.default_rng(seed).bytes(5000))
    refused(net, tmp_path / "a.caffemodel", "not a caffemodel")
    with pytest.raises(WeightsError, match=r"a\.caffemodel: not a solverstate"):
        read_all(tmp_path / "a.caffemodel")


# Other files


def some_lmdb(folder) -> None:
    with lmdb.open(str(folder)) as env, env.begin(write=True) as transaction:
        transaction.put(b"key", b"value")


def test_other_kinds_of_files(net, tmp_path):
    some_lmdb(tmp_path / "train_lmdb")
    shutil.copy(tmp_path / "train_lmdb" / "data.mdb", tmp_path / "copied.mdb")
    state = SolverState(iter=3, learned_net="x", history=[blobproto.from_array(np.zeros(3, np.float32))])
    mean = BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2])
    contents = {
        "empty.caffemodel": (b"", "the file is empty"),
        "state.caffemodel": (
            state.SerializeToString(),
            "it holds no layers; it is a solverstate, which --snapshot takes",
        ),
        "mean.caffemodel": (mean.SerializeToString(), "it is a single blob, such as a mean image"),
        "photo.caffemodel": (b"\x89PNG\r\n\x1a\n" + bytes(99), "this is a PNG image"),
        "page.caffemodel": (b"\n<!DOCTYPE html><html>", "this is a web page"),
        "net.caffemodel": ('name: "Netz"  # für später\nlayer { }'.encode(), "this is text (a prototxt?)"),
        "other.caffemodel": (b"PK\x03\x04" + bytes(50), "not an .npz of numpy's"),
        "short.safetensors": (b"\x09", "not a .safetensors file"),
    }
    for name, (content, message) in contents.items():
        if name.endswith(".safetensors"):
            pytest.importorskip("safetensors")
        (tmp_path / name).write_bytes(content)
        refused(net, tmp_path / name, message)
    refused(net, tmp_path / "train_lmdb", "this is a folder (an LMDB), not a caffemodel")
    refused(net, tmp_path / "copied.mdb", "this is an LMDB, not a caffemodel")
    refused(net, tmp_path, "this is a folder, not a caffemodel")
    refused(net, tmp_path / "nowhere.caffemodel", "No such file or directory")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(net, tmp_path):
    os.mkfifo(tmp_path / "pipe.caffemodel")
    refused(net, tmp_path / "pipe.caffemodel", "not a file")


# HDF5


def hdf5(path, **items) -> None:
    """A file with these datasets; two underscores stand for a slash."""
    with h5py.File(path, "w") as file:
        for name, item in items.items():
            file.create_dataset(name.replace("__", "/"), **(item if isinstance(item, dict) else {"data": item}))


def test_hdf5_files_that_are_no_model(net, tmp_path):
    path = tmp_path / "a.caffemodel.h5"
    huge = {"shape": (70000, 70000), "dtype": "f4", "chunks": (100, 100)}
    cases = {
        "it has no group /data": {"label": [1]},
        "this is a solverstate; --snapshot takes it": {"iter": [3], "history__0": [1.0]},
        "layer 'score', parameter 0: holds": {"data__score__0": "text"},
        "shape (70000, 70000) takes 19,600,000,000 bytes, of which 0 are in the file": {"data__score__0": huge},
        "parameter 1: shape (70000, 70000) takes": {"data__score__1": {**huge, "compression": "gzip"}},
        "/data/score/weights is no parameter": {"data__score__weights": [1.0]},
    }  # fmt: skip
    for message, items in cases.items():
        hdf5(path, **items)
        refused(net, path, message)
    net.save(path)
    whole = path.read_bytes()
    for cut in (9, 100, 1000, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:cut])
        refused(net, path, "damaged")


def test_hdf5_files_with_less_than_they_announce_are_not_shown_either(tmp_path, capsys):
    path = tmp_path / "a.caffemodel.h5"
    hdf5(path, data__ip__0={"shape": (70000, 70000), "dtype": "f4"})
    assert main(["show", str(path)]) == 1
    assert "/data/ip/0: shape (70000, 70000) takes 19,600,000,000 bytes" in capsys.readouterr().err
    hdf5(path, data__ip__0={"data": np.zeros((1000, 1000), np.float32), "compression": "gzip", "chunks": (1000, 1000)})
    assert main(["show", str(path)]) == 0, "zeros can be compressed as far as that"
    assert path.stat().st_size < 12_000


def test_hdf5_files_with_types_in_the_place_of_arrays(net, tmp_path, capsys):
    path = tmp_path / "a.caffemodel.h5"
    with h5py.File(path, "w") as file:
        file["data/score/0"] = np.dtype("f4")
    refused(net, path, "/data/score/0 is a type, not an array")
    assert main(["show", str(path)]) == 0
    assert capsys.readouterr().out == "/data/score/0: a type\n"


def test_hdf5_files_that_are_no_solverstate(tmp_path):
    path = tmp_path / "a.solverstate.h5"
    cases = {
        "not a solverstate: it has no /iter": {"data__ip__0": [1.0]},
        "not a solverstate: it has no /history": {"iter": [3]},
        "/iter must be one integer, got int64 (2,)": {"iter": [3, 4], "history__0": [1.0]},
        "/iter must be one integer, got float64 (1,)": {"iter": [3.5], "history__0": [1.0]},
        "/learned_net must be a string": {"iter": [3], "history__0": [1.0], "learned_net": [1]},
        "/learned_net is no array": {"iter": [3], "history__0": [1.0], "learned_net__a": [1]},
        "/current_step is no array": {"iter": [3], "history__0": [1.0], "current_step__a": [1]},
        "history 0: is no array": {"iter": [3], "history__0__a": [1.0]},
        "arrays named 0, 1, ..., got 0, 2": {"iter": [3], "history__0": [1.0], "history__2": [1.0]},
    }
    for message, items in cases.items():
        hdf5(path, **items)
        with pytest.raises(WeightsError) as info:
            read_all(path)
        assert message in str(info.value) and path.name in str(info.value)


# .npz and .safetensors


def npy(descr: str, dims: str, content: bytes = b"") -> bytes:
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {dims}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


def test_npz_files_that_lie(net, tmp_path):
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    cases = {
        "score/0.npy: shape (40000, 40000) takes 6,400,000,000 bytes, of which 0 are there": {
            "score/0.npy": npy("<f4", "(40000, 40000)"),
            "score/1.npy": npy("<f4", "(5,)"),
        },
        "shape (-5, -64) takes": {"score/0.npy": npy("<f4", "(-5, -64)"), "score/1.npy": npy("<f4", "(5,)")},
        "holds object, not numbers": {"score/0.npy": objects.getvalue()},
        "holds <U3, not numbers": {"score/0.npy": npy("<U3", "(5,)")},
        "score/0.npy is no array of numpy's": {"score/0.npy": b"text"},
        "array 'weights' is no parameter: those are named <layer>/<i>": {"weights.npy": npy("<f4", "(5,)", bytes(20))},
    }
    for message, members in cases.items():
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        refused(net, tmp_path / "a.npz", message)


def test_npz_files_with_names_that_are_no_text(net, tmp_path):
    net.save(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    assert whole.count(b"score/0.npy") == 2, "in front of the array, and in the list at the end"
    (tmp_path / "a.npz").write_bytes(whole.replace(b"score/0.npy", b"scor\xff/0.npy", 1))
    refused(net, tmp_path / "a.npz", "not an .npz of numpy's, or a damaged one")


def test_npz_files_that_end_too_soon(net, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("score/0.npy", npy("<f4", "(5, 64)", b"1234"))
        archive.writestr("score/1.npy", npy("<f4", "(5,)", b"1234"))
    refused(net, tmp_path / "a.npz", "score/0.npy")


def test_safetensors_files_that_lie(net, tmp_path):
    pytest.importorskip("safetensors")

    def described(entry: dict, content: bytes = b"") -> bytes:
        head = json.dumps({"score/0": entry}).encode()
        return len(head).to_bytes(8, "little") + head + content

    huge = {"dtype": "F32", "shape": [40000, 40000], "data_offsets": [0, 40000 * 40000 * 4]}
    for content in (described(huge), (5 * GIGA).to_bytes(8, "little") + b"{}", described({"dtype": "F32"})):
        (tmp_path / "a.safetensors").write_bytes(content)
        refused(net, tmp_path / "a.safetensors", "not a .safetensors file, or a damaged one")
