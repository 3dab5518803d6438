"""The files of a LevelDB: the manifest, write-ahead logs, and sorted tables.

Their layout is described in LevelDB's doc/log_format.md and doc/table_format.md. Checksums are not
verified: CRC-32C in Python would take longer than all the rest.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pycaffe_lite.data.snappy import decompress, varint
from pycaffe_lite.errors import DataError

_LOG_BLOCK = 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_FOOTER = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
_COMPARATOR = b"leveldb.BytewiseComparator"


class Change(NamedTuple):
    """One put (or, without a value, one deletion) in a log."""

    sequence: int
    key: bytes
    value: bytes | None


class Manifest(NamedTuple):
    """Which files make up the database now."""

    tables: set[int]
    first_log: int


class Handle(NamedTuple):
    """Where a block lies in a table."""

    offset: int
    size: int


def log_records(path: Path) -> Iterator[bytes]:
    """The records of a log, whose fragments never cross a 32 KiB block; a torn end is left out."""
    raw = path.read_bytes()
    pieces: list[bytes] = []
    at = 0
    while at + 7 <= len(raw):
        room = _LOG_BLOCK - at % _LOG_BLOCK
        if room < 7:
            at += room
            continue
        size, kind = struct.unpack_from("<HB", raw, at + 4)
        piece = raw[at + 7 : at + 7 + size]
        # What a crash leaves behind is cut off, or zero; LevelDB itself ignores it too.
        if len(piece) < size or kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
            return
        at += 7 + size
        if kind in (_FULL, _FIRST):
            pieces = []
        pieces.append(piece)
        if kind in (_FULL, _LAST):
            yield b"".join(pieces)


def log_changes(path: Path) -> Iterator[Change]:
    """The puts and deletions in a log; each record is a batch of them."""
    for record in log_records(path):
        sequence, count = struct.unpack_from("<QI", record)
        at = 12
        for number in range(count):
            is_put = record[at] == 1
            key, at = _slice(record, at + 1)
            value = None
            if is_put:
                value, at = _slice(record, at)
            yield Change(sequence + number, key, value)


def read_manifest(source: Path) -> Manifest:
    """Replay the version edits in the file that CURRENT names."""
    manifest = source / (source / "CURRENT").read_text().strip()
    if not manifest.is_file():
        raise DataError(f"{source}: its file CURRENT names {manifest.name}, which is missing")
    tables: set[int] = set()
    first_log = 0
    for record in log_records(manifest):
        at = 0
        while at < len(record):
            tag, at = varint(record, at)
            if tag == 1:  # comparator
                name, at = _slice(record, at)
                if name != _COMPARATOR:
                    raise DataError(f"{source}: keys are ordered by {name.decode()}, which Caffe never uses")
            elif tag in (2, 3, 4, 9):  # log number, next file, last sequence, previous log
                value, at = varint(record, at)
                first_log = value if tag == 2 else first_log
            elif tag == 5:  # compaction pointer: level, key
                _, at = varint(record, at)
                _, at = _slice(record, at)
            elif tag == 6:  # deleted table: level, number
                _, at = varint(record, at)
                number, at = varint(record, at)
                tables.discard(number)
            elif tag == 7:  # new table: level, number, size, smallest key, largest key
                _, at = varint(record, at)
                number, at = varint(record, at)
                _, at = varint(record, at)
                _, at = _slice(record, at)
                _, at = _slice(record, at)
                tables.add(number)
            else:
                raise DataError(f"{manifest}: damaged, unknown tag {tag}")
    return Manifest(tables, first_log)


class Table:
    """A sorted table, mapped into memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < _FOOTER:
                raise DataError(f"{path}: truncated, a LevelDB table cannot have {size} bytes")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        footer = self._map[-_FOOTER:]
        if not footer.endswith(_MAGIC):
            raise DataError(f"{path}: not a complete LevelDB table; copy it again")
        _, at = _handle(footer, 0)  # of the index of filters, which only speed up look-ups
        self._index, _ = _handle(footer, at)

    def blocks(self) -> Iterator[Handle]:
        """The data blocks, in key order."""
        index = self.block(self._index)
        for _, start, _ in block_entries(index):
            yield _handle(index, start)[0]

    def block(self, handle: Handle) -> bytes:
        """The contents of a block, decompressed."""
        end = handle.offset + handle.size
        if end >= len(self._map):
            raise DataError(f"{self.path}: truncated, it should go on to byte {end}")
        raw, compression = self._map[handle.offset : end], self._map[end]
        if compression not in (0, 1):
            raise DataError(f"{self.path}: blocks compressed by method {compression} cannot be read")
        return decompress(raw) if compression else raw

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()


def block_entries(block: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Keys, each with where its value starts and stops; a key leaves out what it shares with the last."""
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    key = b""
    at = 0
    while at < end:
        shared, at = varint(block, at)
        unshared, at = varint(block, at)
        size, at = varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared + size
        yield key, at - size, at


def _handle(data: bytes, at: int) -> tuple[Handle, int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return Handle(offset, size), at


def _slice(data: bytes, at: int) -> tuple[bytes, int]:
    """A length and as many bytes."""
    size, at = varint(data, at)
    return data[at : at + size], at + size
