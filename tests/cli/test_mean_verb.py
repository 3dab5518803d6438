"""`caffe-lite mean`: Caffe's own mean image, means of every kind of source, and conversions."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pycaffe_lite.cli import main
from pycaffe_lite.data import mean_image
from pycaffe_lite.data.database_lmdb import DatabaseWriter
from pycaffe_lite.formats.mean import read_mean, write_mean
from pycaffe_lite.proto import Datum, LayerParameter, text

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 3, 4, 6), np.uint8)
MEAN = IMAGES.mean(0).astype(np.float32)
VALUES = IMAGES.mean((0, 2, 3))


def write_database(path: str, images) -> None:
    with DatabaseWriter(path) as writer:
        for number, image in enumerate(images):
            channels, height, width = image.shape
            datum = Datum(channels=channels, height=height, width=width)
            if image.dtype == np.uint8:
                datum.data = image.tobytes()
            else:
                datum.float_data.extend(image.ravel().tolist())
            writer.put(b"%08d" % number, datum.SerializeToString())


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder, entered, with the same images as a database, as files in folders, and as a list of them."""
    monkeypatch.chdir(tmp_path)
    write_database("db", IMAGES)
    os.makedirs("images/thing")
    for number, image in enumerate(IMAGES):
        Image.fromarray(image[::-1].transpose(1, 2, 0)).save(f"images/thing/{number}.png")
    Path("list.txt").write_text("".join(f"thing/{number}.png 0\n" for number in range(5)))
    return tmp_path


def mean(*words: str) -> int:
    return main(["mean", *words])


@pytest.mark.parametrize(("source", "backend"), [("images_lmdb", "lmdb"), ("images_leveldb_png", "leveldb")])
def test_as_caffes_own_tool(shared, tmp_path, source, backend, capsys):
    files = shared / "golden" / "files"
    out = tmp_path / "mean.binaryproto"
    assert main(["compute_image_mean", f"-backend={backend}", str(files / source), str(out)]) == 0
    assert out.read_bytes() == (files / "mean.binaryproto").read_bytes()
    lines = re.findall(r"I.*compute_image_mean.cpp:\d+\] (.*)", capsys.readouterr().err)
    values = read_mean(out).mean((1, 2))
    assert lines == [
        "Starting iteration",
        "Processed 14 files.",
        f"Write to {out}",
        "Number of channels: 3",
        *(f"mean_value channel [{channel}]: {value:g}" for channel, value in enumerate(values)),
    ]


@pytest.mark.parametrize(
    "source", [["db"], ["images"], ["list.txt", "--root", "images"], ["--root=images/", "list.txt"]]
)
def test_every_source_has_the_same_mean(folder, source, capsys):
    assert mean(*source, "mean.npy") == 0
    np.testing.assert_array_equal(read_mean("mean.npy"), MEAN)
    out = capsys.readouterr().out.splitlines()
    assert out == ["mean image of 3 x 4 x 6 (channels, height, width)", *(f"mean_value: {v:.7g}" for v in VALUES)]


def test_files_are_resized_and_grey(folder, capsys):
    assert mean("images", "mean.npy", "--resize", "2x3", "--gray") == 0
    assert read_mean("mean.npy").shape == (1, 2, 3)


def test_without_out_nothing_is_written(folder, capsys):
    before = set(os.listdir())
    assert mean("db") == 0
    assert set(os.listdir()) == before


@pytest.mark.parametrize("given", ["mean.npy", "mean.binaryproto"])
@pytest.mark.parametrize("wanted", ["out.npy", "out.binaryproto"])
def test_one_form_into_another(folder, given, wanted, capsys):
    write_mean(given, MEAN)
    assert mean(given, wanted) == 0
    np.testing.assert_array_equal(read_mean(wanted), MEAN)


def test_values_of_channels(folder, capsys):
    write_mean("mean.binaryproto", MEAN)
    assert mean("mean.binaryproto", "mean.prototxt") == 0
    param = text.read("mean.prototxt", LayerParameter)
    np.testing.assert_allclose(param.transform_param.mean_value, MEAN.mean((1, 2)), rtol=1e-6)
    assert mean("--values", "mean.binaryproto", "values.npy") == 0
    np.testing.assert_allclose(np.load("values.npy"), MEAN.mean((1, 2)), rtol=1e-6)


def test_an_image_made_of_values(folder, capsys):
    assert mean("104,117.5,123", "--resize", "2x3", "mean.npy") == 0
    np.testing.assert_array_equal(read_mean("mean.npy"), np.full((3, 2, 3), [[[104]], [[117.5]], [[123]]]))
    assert mean("0.5") == 0
    assert "mean_value: 0.5" in capsys.readouterr().out


def test_floats_and_their_mixture_with_bytes(folder, capsys):
    images = [IMAGES[0], IMAGES[1] / np.float32(7), IMAGES[2]]
    write_database("mixed", images)
    assert mean("mixed", "mean.npy") == 0
    np.testing.assert_allclose(read_mean("mean.npy"), np.mean([i.astype("f8") for i in images], 0), rtol=1e-6)


def test_the_sum_is_exact():
    # In float32, as Caffe adds, sums of bytes stop being exact at 2**24: after 66,000 white images.
    white = np.full((1, 1, 1), 255, np.uint8)
    many = (("white", white) for _ in range(100_001))
    assert mean_image.mean(many, lambda count: None) == 255


REFUSED = {
    "nothing there": (["gone"], "gone: no such file or folder"),
    "no mean file": (["gone.npy"], "gone.npy: no such mean file"),
    "other backend": (["--backend", "leveldb", "db"], "db: this database is LMDB, not LEVELDB"),
    "unknown backend": (["--backend", "sqlite", "db"], "must be LMDB or LEVELDB, got SQLITE"),
    "ending": (["db", "mean.jpg"], r"OUT: its name must end in .*, got 'mean.jpg'"),
    "values": (["--values", "db", "mean.binaryproto"], "--values: needs an OUT that ends in .npy"),
    "no numbers": (["1,2e", "mean.npy"], "values must be numbers with commas between, got '1,2e'"),
    "resized database": (["--resize", "4", "db"], "are for image files, but db is none"),
    "resized mean": (["--gray", "mean.npy"], "are for image files, but mean.npy is none"),
    "three files": (["db", "a.npy", "b.npy"], "SOURCE and OUT are wanted, got db a.npy b.npy"),
    "no such folder for OUT": (["db", "nowhere/mean.npy"], "nowhere/mean.npy: cannot be written"),
    "broken image": (["images", "mean.npy"], r"images/thing/2.png: not an image"),
    "sizes": (["list.txt", "--root", "images"], r"thing/3.png: has shape \(3, 9, 9\), but \S*thing/0.png \(3, 4, 6\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_one_clear_line(folder, capsys, name):
    if name == "broken image":
        Path("images/thing/2.png").write_bytes(b"")
    if name == "sizes":
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save("images/thing/3.png")
    arguments, message = REFUSED[name]
    before = set(os.listdir())
    assert mean(*arguments) == 1
    err = capsys.readouterr().err
    assert re.search(f"^caffe-lite mean: error: .*{message}", err, re.M), err
    assert "Traceback" not in err
    assert set(os.listdir()) == before


def test_a_database_of_different_sizes(folder, capsys):
    write_database("sizes", [IMAGES[0], IMAGES[1][:, :2]])
    assert mean("sizes") == 1
    message = r"sizes: entry '00000001': has shape \(3, 2, 6\), but sizes: entry '00000000' \(3, 4, 6\)"
    assert re.search(message, capsys.readouterr().err)
