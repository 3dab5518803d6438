"""Writing LevelDB without LevelDB: sorted tables, and a manifest that names them.

Keys have to come in ascending order, as those of Caffe's tools do. So tables can be written one after the other
and put on LevelDB's last level, where they stay as they are. Layouts as in leveldb_files.py.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from pycaffe_lite.data.crc32c import masked_crc
from pycaffe_lite.data.writer import Writer
from pycaffe_lite.errors import DataError
from pycaffe_lite.formats.wire import varint_bytes

_BLOCK = 4096  # bytes of entries in a block, LevelDB's own measure
_TABLE = 32 << 20  # bytes in a table
_LAST_LEVEL = 6
_COMPARATOR = b"leveldb.BytewiseComparator"
_MAGIC = bytes.fromhex("57fb808b247547db")
_PUT = 1  # a kind of entry
_KINDS = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}  # of records: begins it? ends it?
_LOG_BLOCK, _LOG_HEADER = 32768, 7


class LeveldbWriter(Writer):
    """Writes a LevelDB that LevelDB itself, and so Caffe, can read."""

    def __init__(self, target: str | os.PathLike[str], overwrite: bool = False) -> None:
        super().__init__(target, overwrite)
        self._partial.mkdir()
        self._table: _Table | None = None
        self._edits = [varint_bytes(1) + _sized(_COMPARATOR)]  # records of the manifest; 1 is its tag of the order
        self._next_file = 3  # 2 is the manifest
        self._entries = 0
        self._last = b""

    def put(self, key: bytes, value: bytes) -> None:
        if self._entries and key == self._last:
            raise self._duplicate(key)
        if self._entries and key < self._last:
            raise DataError(
                f"{self.target}: keys of a LevelDB must come in order, but {key!r} came behind {self._last!r}"
            )
        self._last = key
        self._entries += 1
        if self._table is None:
            self._table = _Table(self._partial / f"{self._next_file:06d}.ldb")
        self._table.add(key + struct.pack("<Q", self._entries << 8 | _PUT), value)
        if self._table.size >= _TABLE:
            self._end_table()

    def _end_table(self) -> None:
        """Complete the table, and note it for the manifest (its tag 7)."""
        assert self._table
        self._table.end()
        numbers = b"".join(map(varint_bytes, (7, _LAST_LEVEL, self._next_file, self._table.size)))
        self._edits.append(numbers + _sized(self._table.first) + _sized(self._table.last))
        self._next_file += 1
        self._table = None

    def _finish(self) -> None:
        try:
            if self._table:
                self._end_table()
            # No log (tag 2), the next file (3), the last number of an entry (4).
            self._edits.append(b"".join(map(varint_bytes, (2, 0, 3, self._next_file, 4, self._entries))))
            _write(self._partial / "MANIFEST-000002", b"".join(_records(self._edits)))
            _write(self._partial / "CURRENT", b"MANIFEST-000002\n")
        except OSError as error:
            raise DataError(f"{self.target}: cannot be written: {error.strerror or error}") from error

    def _let_go(self) -> None:
        if self._table:
            self._table.file.close()


class _Table:
    """A table that is being written: blocks of entries, then an index of the blocks, then where the index is."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "wb")  # noqa: SIM115
        self.size = 0
        self.first = self.last = b""
        self._index = _Block()  # the last key of each block, and where it lies
        self._block = _Block()

    def add(self, key: bytes, value: bytes) -> None:
        """Add an entry; its key has LevelDB's trailer."""
        self.first = self.first or key
        self.last = key
        self._block.add(key, value)
        if self._block.size >= _BLOCK:
            self._end_block()

    def _end_block(self) -> None:
        self._index.add(self.last, self._store(self._block))
        self._block = _Block()

    def _store(self, block: _Block) -> bytes:
        """Write a block; returns its handle, which is where it lies and its size."""
        content = block.content() + b"\0"  # not compressed
        self.file.write(content + struct.pack("<I", masked_crc(content)))
        handle = varint_bytes(self.size) + varint_bytes(len(content) - 1)
        self.size += len(content) + 4
        return handle

    def end(self) -> None:
        """Write the rest, to the disk."""
        if self._block.size:
            self._end_block()
        filters = self._store(_Block())  # of which there are none
        footer = (filters + self._store(self._index)).ljust(40, b"\0") + _MAGIC
        self.file.write(footer)
        self.size += len(footer)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


class _Block:
    """Entries, each with its whole key, and where each begins."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._starts: list[int] = []
        self.size = 0

    def add(self, key: bytes, value: bytes) -> None:
        self._starts.append(self.size)
        parts = (varint_bytes(0) + varint_bytes(len(key)) + varint_bytes(len(value)), key, value)  # 0 bytes are shared
        self._parts += parts
        self.size += sum(map(len, parts))

    def content(self) -> bytes:
        starts = self._starts or [0]
        return b"".join(itertools.chain(self._parts, [struct.pack(f"<{len(starts) + 1}I", *starts, len(starts))]))


def _records(contents: list[bytes]) -> Iterator[bytes]:
    """Records of a log, cut where a block ends; fewer bytes than a header takes stay empty there."""
    room = _LOG_BLOCK
    for content in contents:
        rest: bytes | None = content
        while rest is not None:
            if room < _LOG_HEADER:
                yield bytes(room)
                room = _LOG_BLOCK
            piece, more = rest[: room - _LOG_HEADER], rest[room - _LOG_HEADER :]
            kind = bytes([_KINDS[rest is content, not more]])
            yield struct.pack("<IH", masked_crc(kind + piece), len(piece)) + kind + piece
            room -= len(piece) + _LOG_HEADER
            rest = more or None


def _sized(data: bytes) -> bytes:
    return varint_bytes(len(data)) + data


def _write(path: Path, content: bytes) -> None:
    """Write a file, to the disk."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
