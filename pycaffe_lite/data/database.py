"""Caffe's databases, read-only: directories (LMDB or LevelDB) whose entries are serialised Datums."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from pycaffe_lite.errors import ConfigError, DataError, suggest

# The file that tells a database of each backend from any other directory.
_MARKER = {"LMDB": "data.mdb", "LEVELDB": "CURRENT"}


class Database(ABC):
    """Entries in key order, each a key and a value; one thread reads at a time."""

    source: str

    @abstractmethod
    def __len__(self) -> int:
        """How many entries there are."""

    @abstractmethod
    def keys(self) -> list[bytes]:
        """Every key, in order; takes one pass over a large database."""

    @abstractmethod
    def read(self, index: int) -> tuple[bytes, bytes]:
        """The key and value of an entry; going up one by one is the fast way."""

    @abstractmethod
    def close(self) -> None:
        """Let the files go; closing twice is fine."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return (self.read(index) for index in range(len(self)))

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_database(source: str | os.PathLike[str], backend: str = "LMDB") -> Database:
    """Open the database in directory ``source``; ``backend`` is LMDB or LEVELDB, as in a data_param."""
    source = os.fspath(source)
    if backend not in _MARKER:
        raise ConfigError(f"data_param.backend: must be LMDB or LEVELDB, got {backend}{suggest(backend, _MARKER)}")
    _check_source(source, backend)
    database: Database
    if backend == "LMDB":
        from pycaffe_lite.data.database_lmdb import LmdbDatabase

        database = LmdbDatabase(source)
    else:
        from pycaffe_lite.data.database_leveldb import LeveldbDatabase

        database = LeveldbDatabase(source)
    if len(database) == 0:
        database.close()
        raise DataError(f"{source}: the {backend} database is empty")
    return database


def _check_source(source: str, backend: str) -> None:
    """Say plainly what is at ``source`` if it is not a readable database of that backend."""
    path = Path(source)
    if not path.exists():
        raise DataError(f"{source}: no such {backend} database{_where(path)}")
    if not path.is_dir():
        hint = f"; give its directory, {path.parent}" if path.name in _MARKER.values() else ""
        raise DataError(f"{source}: is a file, but a Caffe database is a directory{hint}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise DataError(f"{source}: no permission to read this directory")
    marker = path / _MARKER[backend]
    if not marker.exists():
        other = next((name for name in _MARKER if (path / _MARKER[name]).exists()), None)
        if other:
            raise DataError(f"{source}: this database is {other}, not {backend}; set backend: {other}")
        raise DataError(f"{source}: no {backend} database, there is no file {marker.name} in it")
    if not os.access(marker, os.R_OK):
        raise DataError(f"{marker}: no permission to read this file")


def _where(path: Path) -> str:
    """Where a relative path was looked for, and what is there under a similar name."""
    place = "" if path.is_absolute() else f" (paths start from {Path.cwd()})"
    if not path.parent.is_dir():
        return f"{place}; there is no directory {path.parent} either"
    return place + suggest(path.name, (p.name for p in path.parent.iterdir() if p.is_dir()))
