"""MNIST's files: read, downloaded, written as databases; and the synthetic digits."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from datums import DIGITS, idx, mnist_files

from pycaffe_lite.data import mnist
from pycaffe_lite.data.database import open_database
from pycaffe_lite.data.synthetic_digits import render
from pycaffe_lite.errors import DataError
from pycaffe_lite.proto import Datum


def check(read: mnist.Mnist) -> None:
    for digits, expected in zip(read, DIGITS.values(), strict=True):
        np.testing.assert_array_equal(digits.images, expected.images)
        np.testing.assert_array_equal(digits.labels, expected.labels)


@pytest.mark.parametrize(
    ("rename", "pack"),
    [
        (str, bytes),
        ("{}.gz".format, gzip.compress),
        (lambda name: name.replace("-idx", ".idx"), bytes),
    ],
    ids=["plain", "gz", "dotted"],
)
def test_read(tmp_path: Path, rename: Callable[[str], str], pack: Callable[[bytes], bytes]) -> None:
    for name, contents in mnist_files().items():
        (tmp_path / rename(name)).write_bytes(pack(contents))
    check(mnist.read_mnist(tmp_path))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "not an IDX file of bytes; it begins with nothing"),
        (b"<html>", "it begins with 3c 68 74 6d"),
        (b"\0\0\x0d\1" + bytes(8), "not an IDX file of bytes"),
        (b"\0\0\x08\3\0\0", "cut off within its header"),
        (b"\0\0\x08\1\0\0\0\5abc", "must hold 5 = 5 bytes after its header, has 3"),
        (b"\0\0\x08\1\0\0\0\2ab", "must have 3 axes, has 1"),
        (idx(np.zeros((0, 28, 28), np.uint8)), r"is empty, its sizes are \(0, 28, 28\)"),
        (idx(np.zeros((4, 28, 28), np.uint8)), "holds 4 images, train-labels-idx1-ubyte 5 labels"),
        (gzip.compress(bytes(100))[:-9], "damaged gzip file"),
    ],
)
def test_broken_files(mnist_directory: Path, contents: bytes, message: str) -> None:
    (mnist_directory / "train-images-idx3-ubyte").write_bytes(contents)
    with pytest.raises(DataError, match=message):
        mnist.read_mnist(mnist_directory)


def test_missing_files(mnist_directory: Path) -> None:
    (mnist_directory / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"has neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte\.gz"):
        mnist.read_mnist(mnist_directory)
    with pytest.raises(DataError, match="no such directory"):
        mnist.read_mnist(mnist_directory / "nowhere")


def test_database_is_convert_mnist_datas(tmp_path: Path) -> None:
    digits = DIGITS["train"]
    mnist.write_database(tmp_path / "train_lmdb", digits)
    with open_database(tmp_path / "train_lmdb") as database:
        assert database.keys() == [b"00000000", b"00000001", b"00000002", b"00000003", b"00000004"]
        for (_, value), image, label in zip(database, *digits, strict=True):
            header = b"\x08\x01\x10\x1c\x18\x1c\x22\x90\x06"  # channels 1, height 28, width 28, 784 bytes
            assert value == header + image.tobytes() + bytes([0x28, label])


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Serves files on this machine, and returns their address."""
    servers = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    def start(contents: dict[str, bytes]) -> str:
        root = tmp_path / f"mirror{len(servers)}"
        root.mkdir()
        for name, data in contents.items():
            (root / f"{name}.gz").write_bytes(data)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_download(serve: Callable[[dict[str, bytes]], str], monkeypatch: pytest.MonkeyPatch) -> None:
    right = {name: gzip.compress(contents, mtime=0) for name, contents in mnist_files().items()}
    monkeypatch.setattr(mnist, "CHECKSUMS", {n: hashlib.sha256(c).hexdigest() for n, c in right.items()})
    nothing, wrong, good = serve({}), serve(dict.fromkeys(right, b"<html>moved</html>")), serve(right)
    check(mnist.download_mnist([nothing, wrong, good]))
    with pytest.raises(DataError) as info:
        mnist.download_mnist([nothing, wrong, "http://127.0.0.1:1/"])
    lines = str(info.value).splitlines()
    assert lines[0] == "cannot download train-images-idx3-ubyte.gz"
    for line, reason in zip(lines[1:], ("File not found", "wrong checksum, 18 bytes", "refused"), strict=True):
        assert reason in line


def test_checksums_are_those_of_the_real_files(shared: Path) -> None:
    for name, checksum in mnist.CHECKSUMS.items():
        assert hashlib.sha256((shared / "data/mnist" / f"{name}.gz").read_bytes()).hexdigest() == checksum


def test_real_mnist(shared: Path, tmp_path: Path) -> None:
    train, test = mnist.read_mnist(shared / "data/mnist")
    assert (len(train.images), len(test.images)) == (60000, 10000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    mnist.write_database(tmp_path / "test_lmdb", test)
    with open_database(tmp_path / "test_lmdb") as database:
        stored = [Datum.FromString(value) for _, value in database]
    assert [datum.label for datum in stored] == test.labels.tolist()
    assert b"".join(datum.data for datum in stored) == test.images.tobytes()


class TestSyntheticDigits:
    """What the drawn digits have in common with MNIST's."""

    images, labels = render(4000, seed=3)

    def test_same_seed_same_digits(self) -> None:
        images, labels = render(2500, seed=3)
        np.testing.assert_array_equal(images, self.images[:2500])
        np.testing.assert_array_equal(labels, self.labels[:2500])
        assert (render(10, seed=4)[0] != images[:10]).any()

    def test_every_digit_is_as_common(self) -> None:
        assert (np.abs(np.bincount(self.labels, minlength=10) / len(self.labels) - 0.1) < 0.02).all()

    def test_size_place_and_ink_are_mnists(self) -> None:
        weight = self.images.astype(float)
        axis = np.arange(28)
        total = weight.sum(axis=(1, 2))
        for centre in ((weight.sum(axis=1) @ axis) / total, (weight.sum(axis=2) @ axis) / total):
            assert np.abs(centre - 13.5).max() < 1.5
        ink = self.images > 100
        extent = np.maximum(ink.any(axis=1).sum(axis=1), ink.any(axis=2).sum(axis=1))
        assert 17 <= np.quantile(extent, 0.05) <= np.quantile(extent, 0.95) <= 21
        assert 25 < weight.mean() < 42  # MNIST's is 33

    def test_no_linear_classifier_reads_them_all(self) -> None:
        """Least squares to one-hot labels: MNIST's own result is 86 %."""
        pixels = np.c_[self.images.reshape(len(self.images), -1) / 255.0, np.ones(len(self.images))]
        train, test = slice(0, 3000), slice(3000, 4000)
        gram = pixels[train].T @ pixels[train] + 10 * np.eye(pixels.shape[1])
        weights = np.linalg.solve(gram, pixels[train].T @ np.eye(10)[self.labels[train]])
        accuracy = ((pixels[test] @ weights).argmax(axis=1) == self.labels[test]).mean()
        assert 0.7 < accuracy < 0.93
