"""Files that appear whole or not at all, and files seen as memory."""

from __future__ import annotations

import codecs
import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import CaffeError, WeightsError
from ..proto import binary

Path = str | os.PathLike[str]
PIECE = 1 << 21  # numbers that are copied in one go
_LMDB = slice(16, 20), b"\xde\xc0\xef\xbe"  # where a data.mdb has its magic number


@contextlib.contextmanager
def replacing(*paths: Path, make_folder: bool = False) -> Iterator[list[str]]:
    """Temporary names beside `paths` to write to; they take the places of `paths` when the block ends well.

    With `make_folder`, the folder that they are in is made if it is missing.
    CaffeError, with the old files still there, if the folder is missing, the disk is full, or the like.
    """
    targets = [os.fspath(path) for path in paths]
    temporary: dict[str, str] = {}
    try:
        for target in targets:
            if make_folder:
                os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            temporary[target] = _name_beside(target)
        yield list(temporary.values())
        for name in temporary.values():
            _settle(name)
        for target, name in temporary.items():
            os.replace(name, target)
    except OSError as error:
        target = next((t for t, name in temporary.items() if name == error.filename), targets[0])
        kept = "; the file that was there is untouched" if os.path.exists(target) else ""
        raise CaffeError(f"{target}: cannot be written: {error.strerror or error}{kept}") from error
    finally:
        for name in temporary.values():
            with contextlib.suppress(OSError):
                os.unlink(name)


def _name_beside(target: str) -> str:
    handle, name = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target) or ".")
    os.close(handle)
    return name


def _settle(path: str) -> None:
    """On disk, and with the permissions of an ordinary new file."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def write_whole(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file, piece by piece, whole or not at all."""
    with replacing(path) as (temporary,):
        write(temporary, pieces)


def write(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file piece by piece: what is in memory already is not gathered into one copy first."""
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)


def view(path: Path, kind: str) -> memoryview:
    """A file as memory, of which only what is touched is ever read.

    WeightsError if it cannot be opened, is empty, or is plainly not a `kind` ("caffemodel").
    """
    source = os.fspath(path)
    if os.path.isdir(source):
        inside = " (an LMDB)" if os.path.exists(os.path.join(source, "data.mdb")) else ""
        raise WeightsError(f"{source}: this is a folder{inside}, not a {kind}")
    if os.path.exists(source) and not os.path.isfile(source):
        raise WeightsError(f"{source}: not a file")  # a pipe would wait for ever
    try:
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) if size else memoryview(b"")
    except OSError as error:
        raise WeightsError(f"{source}: {error.strerror or error}") from error
    if not content:
        raise WeightsError(f"{source}: the file is empty")
    if what := describe(content):
        raise WeightsError(f"{source}: this is {what}, not a {kind}")
    return content


def copy(out: np.ndarray, values: np.ndarray) -> None:
    """Copy values of the same shape that a file may hold, without the file being in memory beside its copy."""
    if not (out.flags.c_contiguous and values.flags.c_contiguous):
        np.copyto(out, values, casting="unsafe")
        return
    to, source, mapped = out.reshape(-1), values.reshape(-1), _mapping(values)
    for start in range(0, to.size, PIECE):
        to[start : start + PIECE] = source[start : start + PIECE]
        if mapped is not None and hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_DONTNEED)  # its pages are still in the system's cache, if somebody wants them


def _mapping(values: np.ndarray) -> mmap.mmap | None:
    """The file that an array is a view of."""
    base: Any = values
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    return base if isinstance(base, mmap.mmap) else None


def describe(content: memoryview) -> str:
    """What a file is if it is plainly no binary message, such as "a PNG image"; else an empty string."""
    start = bytes(content[:1024])
    where, magic = _LMDB
    if start[where] == magic:
        return "an LMDB"
    if other := binary.other_file(start):
        return other
    if binary.is_binary(start):
        return ""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # which allows a character cut off at the end
    except UnicodeDecodeError:
        return ""
    return "text (a prototxt?)"
