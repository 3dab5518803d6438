"""LevelDB databases, read without LevelDB: the tables and logs are merged into one index of keys."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from pycaffe_lite.data.database import Database
from pycaffe_lite.data.leveldb_files import Handle, Table, block_entries, log_changes, read_manifest
from pycaffe_lite.errors import DataError


class _Place(NamedTuple):
    """Where a value is: between two bytes of a block of a table."""

    table: Table
    block: Handle
    start: int
    stop: int


class _Version(NamedTuple):
    """The newest known state of a key: its place, or its value if from a log, or None if deleted."""

    sequence: int
    value: _Place | bytes | None


class LeveldbDatabase(Database):
    """A Caffe LevelDB. LevelDB does not count its entries, so opening one reads through all of it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._tables: list[Table] = []
        self._newest: dict[bytes, _Version] = {}
        try:
            self._scan(Path(source))
        except (IndexError, struct.error, OSError) as error:
            self.close()
            raise DataError(f"{source}: damaged LevelDB ({error})") from error
        except DataError:
            self.close()
            raise
        live = {key: version.value for key, version in self._newest.items() if version.value is not None}
        self._keys = sorted(live)
        self._values = [live[key] for key in self._keys]
        self._block: tuple[Table, Handle] | None = None
        self._contents = b""
        del self._newest

    def _scan(self, source: Path) -> None:
        """Find every key in the files that the manifest names."""
        manifest = read_manifest(source)
        for number in sorted(manifest.tables):
            self._scan_table(_table_path(source, number))
        for path in sorted(source.glob("*.log")):
            if path.stem.isdigit() and int(path.stem) >= manifest.first_log:
                for change in log_changes(path):
                    self._note(change.key, _Version(change.sequence, change.value))

    def _scan_table(self, path: Path) -> None:
        table = Table(path)
        self._tables.append(table)
        for handle in table.blocks():
            for key, start, stop in block_entries(table.block(handle)):
                # The last eight bytes of a key are its sequence number and its kind: 1 put, 0 deletion.
                (trailer,) = struct.unpack_from("<Q", key, len(key) - 8)
                place = _Place(table, handle, start, stop) if trailer & 0xFF else None
                self._note(key[:-8], _Version(trailer >> 8, place))

    def _note(self, key: bytes, version: _Version) -> None:
        """Remember a version of a key, unless a newer one is known."""
        known = self._newest.get(key)
        if known is None or known.sequence < version.sequence:
            self._newest[key] = version

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> list[bytes]:
        return self._keys

    def read(self, index: int) -> tuple[bytes, bytes]:
        key, value = self._keys[index], self._values[index]
        if isinstance(value, _Place):
            value = self._contents_of(value.table, value.block)[value.start : value.stop]
        return key, value

    def _contents_of(self, table: Table, block: Handle) -> bytes:
        """A block, the last one being kept: small entries share it."""
        if self._block != (table, block):
            self._contents = table.block(block)
            self._block = (table, block)
        return self._contents

    def close(self) -> None:
        for table in self._tables:
            table.close()


def _table_path(source: Path, number: int) -> Path:
    """The file of a table, by its new or its old suffix."""
    for suffix in (".ldb", ".sst"):
        path = source / f"{number:06d}{suffix}"
        if path.is_file():
            return path
    raise DataError(f"{source}: table {number:06d}.ldb is missing; copy the database again")
