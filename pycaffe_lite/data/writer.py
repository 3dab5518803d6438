"""Writing databases: all of one, or none."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any

from pycaffe_lite.errors import ConfigError, DataError, suggest


class Writer(ABC):
    """Writes a database beside its final place and moves it there when it is complete.

    >>> with open_writer("digits_lmdb") as writer:  # doctest: +SKIP
    ...     writer.put(b"00000000", datum.SerializeToString())
    """

    def __init__(self, target: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.target = Path(target)
        if self.target.exists() and not overwrite:
            raise DataError(f"{self.target}: exists already; remove it, or ask to overwrite it")
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self.target.with_name(f".{self.target.name}.partial-{os.getpid()}")
        shutil.rmtree(self._partial, ignore_errors=True)

    @abstractmethod
    def put(self, key: bytes, value: bytes) -> None:
        """Add one entry; keys are unique."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what is left, so that it is on the disk."""

    @abstractmethod
    def _let_go(self) -> None:
        """Close all files."""

    def close(self) -> None:
        """Write what is pending and move the database to its final place."""
        try:
            self._finish()
        except BaseException:
            self.abandon()
            raise
        self._let_go()
        retired = self.target.with_name(f".{self.target.name}.old-{os.getpid()}")
        if self.target.exists():
            self.target.rename(retired)
        self._partial.rename(self.target)
        shutil.rmtree(retired, ignore_errors=True)

    def abandon(self) -> None:
        """Remove what was written; the final place stays as it was."""
        self._let_go()
        shutil.rmtree(self._partial, ignore_errors=True)

    def _duplicate(self, key: bytes) -> DataError:
        return DataError(f"{self.target}: key {key!r} was written twice")

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        if kind is None:
            self.close()
        else:
            self.abandon()


def open_writer(target: str | os.PathLike[str], backend: str = "LMDB", overwrite: bool = False) -> Writer:
    """A writer of a database in directory ``target``; ``backend`` is LMDB or LEVELDB, as in a data_param."""
    if backend == "LMDB":
        from pycaffe_lite.data.database_lmdb import DatabaseWriter

        return DatabaseWriter(target, overwrite)
    if backend == "LEVELDB":
        from pycaffe_lite.data.leveldb_writer import LeveldbWriter

        return LeveldbWriter(target, overwrite)
    raise ConfigError(f"backend: must be LMDB or LEVELDB, got {backend}{suggest(backend, ('LMDB', 'LEVELDB'))}")
