"""`caffe-lite convert-imageset`: Caffe's own databases byte for byte, folders as classes, and bad images."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pycaffe_lite.cli import main
from pycaffe_lite.data import records
from pycaffe_lite.data.database import open_database
from pycaffe_lite.data.datum import decode_datum
from pycaffe_lite.proto import Datum

RNG = np.random.default_rng(0)


def entries(path: str | Path, backend: str = "LMDB") -> list[tuple[bytes, bytes]]:
    with open_database(path, backend) as database:
        return list(database)


def samples(path: str | Path) -> list[tuple[str, tuple[int, ...], int]]:
    """Name, shape and label of each image in a database."""
    decoded = [decode_datum(*entry) for entry in entries(path)]
    return [(sample.key.decode().partition("_")[2], sample.pixels.shape, sample.label) for sample in decoded]


def convert(*words: str | Path) -> int:
    return main(["convert-imageset", *map(str, words)])


@pytest.fixture
def pets(tmp_path, monkeypatch) -> Path:
    """Folders of images, entered: two cats, one of them deeper, and a dog; a list of them, label 5 for the dog."""
    monkeypatch.chdir(tmp_path)
    for name, shape in {"cat/b.png": (6, 8, 3), "cat/old/a.PNG": (6, 8, 3), "dog/c.png": (6, 8)}.items():
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, shape, np.uint8)).save(path)
    (tmp_path / "pets" / "cat" / "readme.txt").write_text("no image")
    (tmp_path / "list.txt").write_text("cat/b.png 0\ndog/c.png 5\ncat/old/a.PNG 0\n")
    return tmp_path / "pets"


@pytest.mark.parametrize(
    ("flags", "golden"),
    [
        ([], "images_lmdb"),
        (["-gray", "-resize_height=12", "-resize_width=16"], "images_gray_lmdb"),
        (["--encoded=true", "--shuffle=false"], "images_leveldb_png"),
        (["--encoded", "--backend=leveldb"], "images_leveldb_png"),
    ],
)
def test_as_caffes_own_tool(shared, tmp_path, flags, golden, capsys):
    files = shared / "golden" / "files"
    assert main(["convert_imageset", *flags, f"{files}/images/", f"{files}/list.txt", str(tmp_path / "db")]) == 0
    ours = entries(tmp_path / "db", "LEVELDB" if "--backend=leveldb" in flags else "LMDB")
    theirs = entries(files / golden, "LEVELDB" if "leveldb" in golden else "LMDB")
    if "gray" not in golden:
        assert ours == theirs
        return
    for (our_key, our_value), (their_key, their_value) in zip(ours, theirs, strict=True):
        assert our_key == their_key
        mine, other = decode_datum(our_key, our_value), decode_datum(their_key, their_value)
        assert (mine.label, mine.pixels.shape) == (other.label, other.pixels.shape)
        assert abs(mine.pixels.astype(int) - other.pixels).max() <= 1  # OpenCV's resizing, within a grey level


def test_a_list(pets, capsys):
    assert convert(pets, "list.txt", "db") == 0
    assert samples("db") == [("cat/b.png", (3, 6, 8), 0), ("dog/c.png", (3, 6, 8), 5), ("cat/old/a.PNG", (3, 6, 8), 0)]
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "db: 3 images", "of 3 x 6 x 8 (channels, height, width)", "label 0: 2", "label 5: 1",
        "there are no images of label 1, 2, 3, 4",
    ]  # fmt: skip
    assert re.findall(r"\] (.*)", err) == ["A total of 3 images.", "Processed 3 files."]


def test_folders_are_classes(pets, capsys):
    assert convert("--labels", "labels.txt", pets, "db") == 0
    assert samples("db") == [("cat/b.png", (3, 6, 8), 0), ("cat/old/a.PNG", (3, 6, 8), 0), ("dog/c.png", (3, 6, 8), 1)]
    assert Path("labels.txt").read_text() == "cat\ndog\n"
    assert capsys.readouterr().out.splitlines()[2:] == ["label 0 cat: 2", "label 1 dog: 1"]


def test_options_may_stand_anywhere(pets, capsys):
    assert convert(pets, "--gray", "list.txt", "--resize", "4x5", "db") == 0
    assert {shape for _, shape, _ in samples("db")} == {(1, 4, 5)}


def test_a_square(pets, capsys):
    assert convert("--resize=3", pets, "db") == 0
    assert {shape for _, shape, _ in samples("db")} == {(3, 3, 3)}


def test_shuffled_the_same_each_time(pets, capsys):
    for number in range(9):
        Image.fromarray(RNG.integers(0, 256, (6, 8, 3), np.uint8)).save(pets / "dog" / f"{number}.png")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert convert("--shuffle", "--seed", str(seed), pets, name) == 0
    assert entries("a") == entries("b") != entries("c")
    assert sorted(samples("a")) == sorted(samples("c"))


@pytest.mark.parametrize(("encoding", "begins"), [("png", b"\x89PNG"), (".jpg", b"\xff\xd8"), ("webp", b"RIFF")])
def test_encoded_as_another_format(pets, encoding, begins, capsys):
    assert convert("--encode-type", encoding, pets, "db") == 0
    for (_, value), name in zip(entries("db"), ["cat/b.png", "cat/old/a.PNG", "dog/c.png"]):
        datum = Datum.FromString(value)
        assert datum.encoded and datum.data.startswith(begins)
        # A file that is already what is wanted is stored as it is; the grey one is not, in a database of colours.
        as_it_is = encoding == "png" and name != "dog/c.png"
        assert (datum.data == (pets / name).read_bytes()) == as_it_is
    assert {shape for _, shape, _ in samples("db")} == {(3, 6, 8)}
    pixels = decode_datum(*entries("db")[2]).pixels.astype(int)
    original = np.asarray(Image.open(pets / "dog" / "c.png"))
    assert abs(pixels - original).mean() < (1 if encoding == "png" else 12)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\nbroken", None])
@pytest.mark.parametrize("flags", [[], ["--encoded"]])
def test_an_image_that_cannot_be_read_ends_it(pets, capsys, content, flags):
    if content is None:
        (pets / "dog" / "c.png").unlink()
    else:
        (pets / "dog" / "c.png").write_bytes(content)
    assert convert(*flags, pets, "list.txt", "db") == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"caffe-lite convert-imageset: error: \S*pets/dog/c.png: .* \(--skip-bad leaves such images", err)
    assert sorted(os.listdir()) == ["list.txt", "pets"], "nothing is left behind"

    assert convert(*flags, "--skip-bad", pets, "list.txt", "db") == 0
    assert [name for name, _, _ in samples("db")] == ["cat/b.png", "cat/old/a.PNG"]
    assert [key for key, _ in entries("db")][1].startswith(b"00000002_"), "the number is the place in the list"
    out, err = capsys.readouterr()
    assert out.startswith("db: 2 images, 1 left out\n")
    assert re.search(r"W.* left out: \S*pets/dog/c.png: ", err)


def test_images_of_different_sizes(pets, capsys):
    Image.fromarray(RNG.integers(0, 256, (20, 4, 3), np.uint8)).save(pets / "dog" / "d.png")
    assert convert("--check-size", pets, "db") == 1
    assert re.search(r"dog/d.png: has shape \(3, 20, 4\), the images before it \(3, 6, 8\)", capsys.readouterr().err)
    assert not os.path.exists("db")
    assert convert(pets, "db") == 0
    assert "of 2 shapes, 6 to 20 high and 4 to 8 wide: batches of them need" in capsys.readouterr().out


def test_a_database_that_is_there(pets, capsys):
    assert convert(pets, "db") == 0
    assert convert(pets, "list.txt", "db") == 1
    assert "db: exists already" in capsys.readouterr().err
    assert convert(pets, "list.txt", "db", "--force") == 0
    assert [label for _, _, label in samples("db")] == [0, 5, 0]


def test_keys_longer_than_lmdb_takes_them():
    assert records.key(7, "a.png") == b"00000007_a.png"
    assert len(records.key(7, "ä" * 400)) == 511


REFUSED = {
    "no folder": (["gone", "db"], "gone: No such file"),
    "no classes": (["pets/dog", "db"], "pets/dog: there are no folders in it; each folder is a class"),
    "no list": (["pets", "gone.txt", "db"], "gone.txt: cannot be read: No such file"),
    "an image for a list": (["pets", "pets/dog/c.png", "db"], "c.png:1: must be a path, a space and a whole number"),
    "resize": (["--resize", "4x", "pets", "db"], "--resize: must be HEIGHTxWIDTH or one number, above 0, got '4x'"),
    "resize to nothing": (["--resize", "0", "pets", "db"], "--resize: must be .* above 0, got '0'"),
    "height alone": (["-resize_height=4", "pets", "db"], "must be given together, above 0, got 4 and 0"),
    "encoding": (["--encode-type", "xyz", "pets", "db"], "images cannot be encoded as 'xyz'"),
    "backend": (["--backend", "sqlite", "pets", "db"], "--backend: must be .*got 'sqlite'"),
    "labels of a list": (["--labels", "l.txt", "pets", "list.txt", "db"], "--labels: only where folders are"),
    "one file": (["pets"], "ROOT, LIST .* and DB are wanted, got pets"),
    "four files": (["a", "b", "c", "d"], "wanted, got a b c d"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_input_is_one_clear_line(pets, capsys, name):
    arguments, message = REFUSED[name]
    before = set(os.listdir())
    assert convert(*arguments) == 1
    err = capsys.readouterr().err
    assert re.search(f"^caffe-lite convert-imageset: error: .*{message}", err, re.M), err
    assert "Traceback" not in err
    assert set(os.listdir()) == before


def test_no_image_at_all(pets, capsys):
    for path in pets.rglob("*.[pP][nN][gG]"):
        path.write_bytes(b"")
    assert convert("--skip-bad", pets, "db") == 1
    assert "none of the 3 images could be read" in capsys.readouterr().err
    (pets / "empty").mkdir()
    assert convert(pets, "db") == 1
    assert "pets/empty: there are no images in this folder" in capsys.readouterr().err


def test_a_label_of_more_than_32_bits(pets, capsys):
    Path("list.txt").write_text("cat/b.png 3000000000\n")
    assert convert(pets, "list.txt", "db") == 1
    assert "cat/b.png: a label has 32 bits, got 3000000000" in capsys.readouterr().err
