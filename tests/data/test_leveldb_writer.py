"""Writing LevelDB: what is written is read again, here and by LevelDB itself, and is there whole or not at all."""

from __future__ import annotations

import os

import numpy as np
import pytest

from pycaffe_lite.data import leveldb_writer
from pycaffe_lite.data.crc32c import crc, masked_crc
from pycaffe_lite.data.database import open_database
from pycaffe_lite.data.writer import open_writer
from pycaffe_lite.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def entries(count: int, size: int) -> list[tuple[bytes, bytes]]:
    """Keys as Caffe's tools make them, and values up to a size."""
    return [(b"%08d_name" % number, RNG.bytes(int(RNG.integers(size + 1)))) for number in range(count)]


def write(path, items, overwrite=False) -> None:
    with open_writer(path, "LEVELDB", overwrite) as writer:
        for key, value in items:
            writer.put(key, value)


def read(path) -> list[tuple[bytes, bytes]]:
    with open_database(path, "LEVELDB") as database:
        assert database.keys() == [key for key, _ in database]
        return list(database)


def bit_by_bit(data: bytes) -> int:
    total = 0xFFFFFFFF
    for byte in data:
        total ^= byte
        for _ in range(8):
            total = total >> 1 ^ (0x82F63B78 if total & 1 else 0)
    return total ^ 0xFFFFFFFF


def test_the_sum_is_crc_32c():
    assert crc(b"123456789") == 0xE3069283  # the check value of the standard
    assert crc(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    for size in (4, 5, 1023, 1024, 1025, 3000):
        data = RNG.bytes(size)
        assert crc(data) == bit_by_bit(data), size
    value = crc(b"foobar")
    assert masked_crc(b"foobar") == ((value >> 15 | value << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


@pytest.mark.parametrize(("count", "size"), [(1, 0), (1, 50), (7, 1440), (400, 100), (3, 300_000)])
@pytest.mark.parametrize("table", [1, 10_000, 32 << 20])
def test_what_is_written_is_read(tmp_path, monkeypatch, count, size, table):
    monkeypatch.setattr(leveldb_writer, "_TABLE", table)
    items = entries(count, size)
    write(tmp_path / "db", items)
    assert read(tmp_path / "db") == items
    assert os.listdir(tmp_path) == ["db"]


def test_a_manifest_of_several_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(leveldb_writer, "_TABLE", 1)
    monkeypatch.setattr(leveldb_writer, "_BLOCK", 1)  # so each entry has a table of its own
    items = [(b"%08d_" % number + bytes(number % 7), RNG.bytes(5)) for number in range(700)]
    write(tmp_path / "db", items)
    assert (tmp_path / "db" / "MANIFEST-000002").stat().st_size > 32768
    assert read(tmp_path / "db") == items


def test_keys_longer_than_a_block_of_the_manifest(tmp_path):
    items = [(b"a" * 40_000, b"1"), (b"b" * 90_000, b"2")]
    write(tmp_path / "db", items)
    assert read(tmp_path / "db") == items


@pytest.mark.parametrize("table", [1, 32 << 20])
def test_leveldb_itself_reads_it_and_goes_on_with_it(tmp_path, monkeypatch, table):
    plyvel = pytest.importorskip("plyvel")
    monkeypatch.setattr(leveldb_writer, "_TABLE", table)
    items = [*entries(700, 50), (b"a" * 90_000, b"long")]
    write(tmp_path / "db", items)
    theirs = plyvel.DB(str(tmp_path / "db"), paranoid_checks=True)
    assert list(theirs.iterator(verify_checksums=True)) == items
    theirs.put(b"new", b"value")
    theirs.compact_range()
    theirs.close()
    assert read(tmp_path / "db") == sorted([*items, (b"new", b"value")])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ((b"a", b"a"), "key b'a' was written twice"),
        ((b"b", b"a"), "must come in order, but b'a' came behind b'b'"),
    ],
)
def test_keys_that_are_refused(tmp_path, keys, message):
    with pytest.raises(DataError, match=message):
        write(tmp_path / "db", [(key, b"") for key in keys])
    assert os.listdir(tmp_path) == []


def test_what_was_there_stays_unless_it_is_to_be_replaced(tmp_path):
    old, new = entries(3, 10), entries(5, 10)
    write(tmp_path / "db", old)
    with pytest.raises(DataError, match="db: exists already"):
        write(tmp_path / "db", new)
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "db", "LEVELDB", overwrite=True) as writer:
        writer.put(*new[0])
        raise KeyboardInterrupt
    assert read(tmp_path / "db") == old
    write(tmp_path / "db", new, overwrite=True)
    assert read(tmp_path / "db") == new
    assert os.listdir(tmp_path) == ["db"]


def test_no_entries(tmp_path):
    write(tmp_path / "db", [])
    with pytest.raises(DataError, match="database is empty"):
        read(tmp_path / "db")


def test_another_backend_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be LMDB or LEVELDB, got LMBD; did you mean 'LMDB'"):
        open_writer(tmp_path / "db", "LMBD")
