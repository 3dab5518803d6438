"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

from ..errors import CaffeError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """A temporary name beside `path` to write to; it takes the place of `path` when the block ends well.

    CaffeError, with the old file still there, if the folder is missing, the disk is full, or the like.
    """
    path = os.fspath(path)
    folder = os.path.dirname(path) or "."
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
        os.close(handle)
        yield temporary
        _settle(temporary)
        os.replace(temporary, path)
    except OSError as error:
        kept = "; the file that was there is untouched" if os.path.exists(path) else ""
        raise CaffeError(f"{path}: cannot be written: {error.strerror or error}{kept}") from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _settle(path: str) -> None:
    """On disk, and with the permissions of an ordinary new file."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
