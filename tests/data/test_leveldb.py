"""Reading LevelDB, from files put together here by its documented format."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pycaffe_lite.data.database import open_database
from pycaffe_lite.data.snappy import decompress
from pycaffe_lite.errors import DataError


def number(value: int) -> bytes:
    """A varint."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def text(data: bytes) -> bytes:
    return number(len(data)) + data


def log(*records: bytes) -> bytes:
    """A log; its checksums are left zero."""
    out = b""
    for record in records:
        first = True
        while True:
            room = 32768 - len(out) % 32768 - 7
            if room < 0:
                out += bytes(room + 7)
                continue
            piece, record = record[:room], record[room:]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not record]
            out += bytes(4) + struct.pack("<HB", len(piece), kind) + piece
            first = False
            if not record:
                break
    return out


def batch(sequence: int, *changes: tuple[bytes, bytes | None]) -> bytes:
    """A log record of puts and, where the value is None, deletions."""
    out = struct.pack("<QI", sequence, len(changes))
    for key, value in changes:
        out += b"\0" + text(key) if value is None else b"\1" + text(key) + text(value)
    return out


def block(*entries: tuple[bytes, bytes]) -> bytes:
    """A block whose keys leave out what they share with the key before."""
    out, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += number(shared) + number(len(key) - shared) + number(len(value)) + key[shared:] + value
        last = key
    return out + struct.pack("<II", 0, 1)


def snappy(data: bytes) -> bytes:
    """Snappy's format, all of it literal."""
    return number(len(data)) + bytes([61 << 2]) + struct.pack("<H", len(data) - 1) + data


def table(*entries: tuple[bytes, int, bytes | None], compressed: bool = False) -> bytes:
    """A table of one block per entry: key, sequence number, and value or None if deleted."""
    out, index = b"", []
    for key, sequence, value in entries:
        inner = key + struct.pack("<Q", sequence << 8 | (value is not None))
        raw = block((inner, value or b""))
        raw = snappy(raw) if compressed else raw
        index.append((inner, number(len(out)) + number(len(raw))))
        out += raw + bytes([compressed]) + bytes(4)
    place = number(len(out)) + number(len(block(*index)))
    out += block(*index) + bytes(5)
    return out + (number(0) + number(0) + place).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def write(path: Path, edit: bytes, **files: bytes) -> Path:
    """A database directory: its manifest's last edit, and its other files."""
    (path / "CURRENT").write_bytes(b"MANIFEST-000002\n")
    comparator = number(1) + text(b"leveldb.BytewiseComparator")
    (path / "MANIFEST-000002").write_bytes(log(comparator, edit))
    for name, contents in files.items():
        stem, _, suffix = name[1:].partition("_")
        (path / f"{stem}.{suffix}").write_bytes(contents)
    return path


def new_file(which: int) -> bytes:
    return number(7) + number(0) + number(which) + number(99) + text(b"a" * 9) + text(b"z" * 9)


def test_tables_and_logs_are_merged(tmp_path: Path) -> None:
    big = bytes(range(256)) * 300
    edit = number(2) + number(7) + new_file(4) + new_file(5) + new_file(6) + number(6) + number(0) + number(6)
    write(
        tmp_path,
        edit,
        _000004_ldb=table((b"apple", 1, b"old"), (b"apricot", 2, b"gone"), (b"avocado", 3, b"kept")),
        _000005_sst=table((b"apple", 4, b"new"), (b"apricot", 5, None), compressed=True),
        _000006_ldb=b"deleted by the manifest",
        _000003_log=log(batch(0, (b"ancient", b"flushed to a table long ago"))),
        _000007_log=log(batch(6, (b"big", big), (b"avocado", None)), batch(8, (b"cherry", b"last"))) + b"torn",
    )
    with open_database(tmp_path, "LEVELDB") as database:
        assert list(database) == [(b"apple", b"new"), (b"big", big), (b"cherry", b"last")]
        assert database.read(1) == (b"big", big)


def test_golden(golden: Path) -> None:
    with open_database("images_leveldb_png", "LEVELDB") as database, open_database("images_lmdb") as lmdb:
        assert database.keys() == lmdb.keys()
        assert all(b"\x89PNG" in value for _, value in database)


def test_errors(tmp_path: Path) -> None:
    def fails(match: str) -> None:
        with pytest.raises(DataError, match=match):
            open_database(tmp_path, "LEVELDB")

    write(tmp_path, new_file(4))
    fails(r"table 000004\.ldb is missing")
    whole = table((b"key", 1, b"value"))
    write(tmp_path, new_file(4), _000004_ldb=whole[:10])
    fails("truncated")
    write(tmp_path, new_file(4), _000004_ldb=whole[:-1])
    fails("not a complete LevelDB table")
    write(tmp_path, new_file(4), _000004_ldb=whole[:3] + whole[-48:])
    fails("truncated, it should go on")
    write(tmp_path, number(2) + number(0))
    fails("the LEVELDB database is empty")
    write(tmp_path, number(1) + text(b"other.Comparator"))
    fails("keys are ordered by other.Comparator")
    (tmp_path / "CURRENT").write_bytes(b"MANIFEST-000009\n")
    fails("names MANIFEST-000009, which is missing")


def test_snappy() -> None:
    assert decompress(b"\x02\x04ab") == b"ab"
    # Two literals, then a copy of eight from two back, which repeats what it writes.
    assert decompress(b"\x0a\x04ab" + b"\x11\x02") == b"ababababab"
    # The same with distances of two and of four bytes.
    assert decompress(b"\x0a\x04ab" + b"\x1e\x02\x00") == b"ababababab"
    assert decompress(b"\x0a\x04ab" + b"\x1f\x02\x00\x00\x00") == b"ababababab"
    assert decompress(snappy(bytes(5000))) == bytes(5000)
    with pytest.raises(DataError, match="a copy from before its beginning"):
        decompress(b"\x0a\x04ab" + b"\x11\x03")
    with pytest.raises(DataError, match="2 bytes instead of 9"):
        decompress(b"\x09\x04ab")
