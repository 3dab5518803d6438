"""LMDB databases: a shared read-only view, and a writer."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pycaffe_lite.data.database import Database
from pycaffe_lite.data.writer import Writer
from pycaffe_lite.errors import DataError

if TYPE_CHECKING:
    import lmdb

_COMMIT_EVERY = 1000  # entries; what Caffe's own tools use
_FIRST_MAP_SIZE = 64 << 20


class _SharedEnvironment:
    """An open LMDB environment, and how many databases use it.

    LMDB refuses to open a file twice in one process, yet a train and a test net often read the same one.
    """

    def __init__(self, source: str) -> None:
        self.env = _open_environment(source)
        self.users = 0


_environments: dict[tuple[int, int], _SharedEnvironment] = {}
# Reentrant: while it is held, the garbage collector may find a database that is to be closed.
_environments_lock = threading.RLock()


def _share_environment(source: str) -> tuple[tuple[int, int], lmdb.Environment]:
    """The environment of ``source``, shared by every path that leads to the same file, and its identity."""
    file = os.stat(Path(source, "data.mdb"))
    identity = (file.st_dev, file.st_ino)
    with _environments_lock:
        if identity not in _environments:
            _environments[identity] = _SharedEnvironment(source)
        _environments[identity].users += 1
        return identity, _environments[identity].env


def _leave_environment(identity: tuple[int, int]) -> None:
    """One user less; the last one closes it."""
    with _environments_lock:
        shared = _environments[identity]
        shared.users -= 1
        if shared.users == 0:
            del _environments[identity]
            shared.env.close()


def _open_environment(source: str) -> lmdb.Environment:
    """Open without writing a byte: no lock file, so a database on read-only storage will do."""
    import lmdb

    size = Path(source, "data.mdb").stat().st_size
    if size == 0:
        raise DataError(f"{source}: data.mdb is empty; was writing it interrupted?")
    try:
        # Records are read in order, one pass after another: the kernel's own read-ahead helps.
        env = lmdb.open(source, readonly=True, lock=False, readahead=True)
    except lmdb.Error as error:
        raise DataError(f"{source}: cannot be opened as an LMDB: {_reason(error)}") from error
    # LMDB maps the file: touching a page that was cut off would kill the process with a bus error.
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if size < needed:
        env.close()
        raise DataError(f"{source}: data.mdb is truncated: {size} of {needed} bytes; copy it again")
    return env


def _reason(error: Exception) -> str:
    """LMDB's message without the path it begins with, which ours names already."""
    return str(error).rpartition(": ")[2]


class LmdbDatabase(Database):
    """A Caffe LMDB: sequential reads follow the cursor, others look the key up."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._identity: tuple[int, int] | None = None
        self._identity, env = _share_environment(source)
        self._entries: int = env.stat()["entries"]
        self._transaction = env.begin()
        self._cursor = self._transaction.cursor()
        self._at = -1
        self._keys: list[bytes] | None = None

    def __len__(self) -> int:
        return self._entries

    def keys(self) -> list[bytes]:
        if self._keys is None:
            with self._transaction.cursor() as cursor:
                self._keys = list(cursor.iternext(keys=True, values=False))
        return self._keys

    def read(self, index: int) -> tuple[bytes, bytes]:
        import lmdb

        try:
            if not self._move_to(index):
                raise DataError(f"{self.source}: no entry {index} of {len(self)}; the database is damaged")
            return self._cursor.item()
        except lmdb.Error as error:
            raise DataError(f"{self.source}: entry {index} cannot be read: {_reason(error)}") from error

    def _move_to(self, index: int) -> bool:
        """Put the cursor on an entry: one step on, back to the start, or a search."""
        if index == self._at + 1 and index > 0:
            found = self._cursor.next()
        elif index == 0:
            found = self._cursor.first()
        else:
            found = self._cursor.set_key(self.keys()[index])
        self._at = index
        return bool(found)

    def close(self) -> None:
        identity, self._identity = self._identity, None
        if identity is not None:
            self._cursor.close()
            self._transaction.abort()
            _leave_environment(identity)

    def __del__(self) -> None:
        self.close()


class DatabaseWriter(Writer):
    """Writes an LMDB, a thousand entries at a time."""

    def __init__(self, target: str | os.PathLike[str], overwrite: bool = False) -> None:
        import lmdb

        super().__init__(target, overwrite)
        # Nobody reads a partial database, so neither locks nor a sync for each commit are needed.
        self._env = lmdb.open(os.fspath(self._partial), map_size=_FIRST_MAP_SIZE, lock=False, sync=False)
        self._pending: dict[bytes, bytes] = {}

    def put(self, key: bytes, value: bytes) -> None:
        if key in self._pending:
            raise self._duplicate(key)
        self._pending[key] = value
        if len(self._pending) >= _COMMIT_EVERY:
            self._commit()

    def _finish(self) -> None:
        self._commit()
        self._env.sync(True)

    def _let_go(self) -> None:
        self._env.close()

    def _commit(self) -> None:
        """Write the pending entries in one transaction, again with twice the room if they do not fit."""
        import lmdb

        try:
            with self._env.begin(write=True) as transaction:
                for key, value in self._pending.items():
                    if not transaction.put(key, value, overwrite=False):
                        raise self._duplicate(key)
        except lmdb.MapFullError:
            self._env.set_mapsize(2 * self._env.info()["map_size"])
            self._commit()
        except lmdb.Error as error:
            raise DataError(f"{self.target}: cannot be written: {_reason(error)}") from error
        self._pending.clear()
