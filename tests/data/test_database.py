"""Opening, reading, sharing and writing LMDB databases, and refusing what is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pycaffe_lite.data import database_lmdb
from pycaffe_lite.data.database import open_database
from pycaffe_lite.data.database_lmdb import DatabaseWriter
from pycaffe_lite.errors import ConfigError, DataError


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """A database of five entries."""
    path = tmp_path / "five_lmdb"
    with DatabaseWriter(path) as writer:
        for number in range(5):
            writer.put(b"key%d" % number, b"value%d" % number)
    return path


def test_reads_in_any_order(five: Path) -> None:
    with open_database(five) as database:
        assert len(database) == 5
        assert database.keys() == [b"key0", b"key1", b"key2", b"key3", b"key4"]
        for index in (0, 1, 2, 0, 4, 3, 4, 0, 0, 2):
            assert database.read(index) == (b"key%d" % index, b"value%d" % index)
        assert list(database) == [(b"key%d" % n, b"value%d" % n) for n in range(5)]


def test_one_file_is_opened_as_often_as_wanted(five: Path, tmp_path: Path) -> None:
    link = tmp_path / "link_lmdb"
    link.symlink_to(five)
    first, second, third = open_database(five), open_database(os.path.relpath(five)), open_database(link)
    assert first.read(1) == second.read(1) == third.read(1)
    first.close()
    second.close()
    assert third.read(3) == (b"key3", b"value3")
    third.close()
    third.close()
    file = os.stat(Path(five, "data.mdb"))
    assert (file.st_dev, file.st_ino) not in database_lmdb._environments  # others may be of nets of earlier tests


def test_a_replaced_database_is_not_mistaken_for_the_old_one(five: Path) -> None:
    old = open_database(five)
    with DatabaseWriter(five, overwrite=True) as writer:
        writer.put(b"new", b"entry")
    assert open_database(five).read(0) == (b"new", b"entry")
    assert old.read(0) == (b"key0", b"value0")


def test_reading_leaves_no_trace(five: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in five.iterdir()}
    with open_database(five) as database:
        list(database)
    assert {path.name: path.stat().st_mtime_ns for path in five.iterdir()} == before


def test_missing(five: Path) -> None:
    with pytest.raises(DataError, match=r"no such LMDB database; did you mean 'five_lmdb'\?"):
        open_database(five.with_name("fife_lmdb"))
    with pytest.raises(DataError, match="there is no directory"):
        open_database(five.parent / "nowhere" / "five_lmdb")


def test_file_instead_of_directory(five: Path) -> None:
    with pytest.raises(DataError, match=f"is a file, but .* give its directory, {five}"):
        open_database(five / "data.mdb")


def test_other_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no LMDB database, there is no file data\.mdb"):
        open_database(tmp_path)


def test_other_backend(five: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this database is LMDB, not LEVELDB; set backend: LMDB"):
        open_database(five, "LEVELDB")
    (tmp_path / "CURRENT").touch()
    with pytest.raises(DataError, match="set backend: LEVELDB"):
        open_database(tmp_path, "LMDB")
    with pytest.raises(ConfigError, match="must be LMDB or LEVELDB, got lmdb; did you mean 'LMDB'"):
        open_database(five, "lmdb")


def test_empty_database(tmp_path: Path) -> None:
    with DatabaseWriter(tmp_path / "empty_lmdb"):
        pass
    with pytest.raises(DataError, match="the LMDB database is empty"):
        open_database(tmp_path / "empty_lmdb")


@pytest.mark.parametrize("kept", [0, 100, 4096, 9000])
def test_truncated(tmp_path: Path, kept: int) -> None:
    with DatabaseWriter(tmp_path / "cut_lmdb") as writer:
        for number in range(100):
            writer.put(b"%d" % number, bytes(1000))
    os.truncate(tmp_path / "cut_lmdb" / "data.mdb", kept)
    with pytest.raises(DataError, match=r"cut_lmdb: (data\.mdb is|cannot be opened)"):
        open_database(tmp_path / "cut_lmdb")


def test_not_an_lmdb(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"garbage!" * 5000)
    with pytest.raises(DataError, match="File is not an LMDB file"):
        open_database(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(five: Path) -> None:
    (five / "data.mdb").chmod(0)
    with pytest.raises(DataError, match="no permission to read this file"):
        open_database(five)
    five.chmod(0)
    with pytest.raises(DataError, match="no permission to read this directory"):
        open_database(five)
    five.chmod(0o700)


def test_writer_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_lmdb, "_FIRST_MAP_SIZE", 1 << 16)
    with DatabaseWriter(tmp_path / "big_lmdb") as writer:
        for number in range(2500):
            writer.put(b"%05d" % number, bytes([number % 256]) * 500)
    with open_database(tmp_path / "big_lmdb") as database:
        assert len(database) == 2500
        assert database.read(2499) == (b"02499", bytes([2499 % 256]) * 500)


def test_writer_refuses_what_exists(five: Path) -> None:
    with pytest.raises(DataError, match="exists already"):
        DatabaseWriter(five)


def test_writer_refuses_a_key_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(DataError, match="key b'a' was written twice"),
        DatabaseWriter(tmp_path / "x") as writer,
    ):
        writer.put(b"a", b"1")
        writer.put(b"a", b"2")
    monkeypatch.setattr(database_lmdb, "_COMMIT_EVERY", 1)
    with (
        pytest.raises(DataError, match="key b'a' was written twice"),
        DatabaseWriter(tmp_path / "x") as writer,
    ):
        writer.put(b"a", b"1")
        writer.put(b"a", b"2")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_leaves_things_as_they_were(five: Path) -> None:
    with pytest.raises(KeyboardInterrupt), DatabaseWriter(five, overwrite=True) as writer:
        writer.put(b"half", b"done")
        raise KeyboardInterrupt
    with open_database(five) as database:
        assert len(database) == 5
    assert list(five.parent.iterdir()) == [five]


def test_golden_copy(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "images_lmdb", tmp_path / "copy")
    with open_database("images_lmdb") as original, open_database(tmp_path / "copy") as copy:
        assert list(original) == list(copy)
        assert original.keys()[:2] == [b"00000000_img_00.png", b"00000001_img_01.png"]
