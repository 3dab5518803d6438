"""Small databases for the tests of data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from datums import WriteDatabase, mnist_files

from pycaffe_lite.data.database_lmdb import DatabaseWriter
from pycaffe_lite.proto import Datum


@pytest.fixture
def write_database(tmp_path: Path) -> WriteDatabase:
    """Writes datums to a new LMDB, with keys 00000000, 00000001 ..., and returns its path."""

    def write(datums: Iterable[Datum]) -> str:
        path = tmp_path / f"db{len(list(tmp_path.iterdir()))}_lmdb"
        with DatabaseWriter(path) as writer:
            for number, datum in enumerate(datums):
                writer.put(b"%08d" % number, datum.SerializeToString())
        return str(path)

    return write


@pytest.fixture
def mnist_directory(tmp_path: Path) -> Path:
    """A directory with MNIST's four files, small."""
    path = tmp_path / "idx"
    path.mkdir()
    for name, contents in mnist_files().items():
        (path / name).write_bytes(contents)
    return path


@pytest.fixture
def golden(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files made by Caffe's own tools; they name each other by paths that start from there."""
    files = shared / "golden" / "files"
    monkeypatch.chdir(files)
    return files
