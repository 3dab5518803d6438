"""Machine code: loaded from the cache when it is there, compiled (which imports numba) when it is not.

Numba's own cache needs numba, 0.4 s of import, in every process, and does not see edits of the
files that its intrinsics come from. Here the object code itself is kept, under a key of all
sources a kernel is made of, of numba, and of the processor; loading it needs neither numba nor LLVM.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import struct
import sys
import tempfile
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from ...kernel import DeviceFunction, Kernel
from . import linker
from .processor import processor

log = logging.getLogger("pycaffe_lite")

_MAGIC = b"caffe-lite object 1\n"
_lock = threading.RLock()


@cache
def cache_folder() -> Path | None:
    """Where object code is kept: $CAFFE_LITE_CACHE, else in the user's cache folder; None for a user without a home."""
    base = os.environ.get("CAFFE_LITE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) if base else Path(home) / "caffe-lite"
    return None if str(folder).startswith("~") else folder  # where there is no home at all, "~" stays


def cache_problem() -> str | None:
    """Why nothing can be kept in the cache folder; None if it can."""
    folder = cache_folder()
    if folder is None:
        return "this user has no home folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        return error.strerror or str(error)
    return None


@cache
def _file_digest(path: str) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


def _source_digests(function: FunctionType, seen: set[int]) -> list[bytes]:
    """Digests of the files of everything compiled together with this function."""
    if id(function) in seen:
        return []
    seen.add(id(function))
    path = function.__code__.co_filename
    found = [
        _file_digest(path)
        if os.path.exists(path)
        else function.__code__.co_code + repr(function.__code__.co_consts).encode()
    ]
    for name in _names(function.__code__):
        used = function.__globals__.get(name)
        used = used.function if isinstance(used, DeviceFunction) else used
        if isinstance(used, FunctionType) and used.__name__ != "where":
            found += _source_digests(used, seen)
        elif isinstance(used, (int, float, str)):
            found.append(repr((name, used)).encode())
    return found


def _names(code: CodeType) -> tuple[str, ...]:
    inner = [n for c in code.co_consts if isinstance(c, CodeType) for n in _names(c)]
    return (*code.co_names, *inner)


@lru_cache(maxsize=1)
def _base_digest() -> bytes:
    """What every key depends on: Python's and numba's version, the processor, and the compiler's own files."""
    here = Path(__file__).parent
    names = "compile codegen atoms vector_codegen squash_codegen tile tile_assembly tile_codegen sparse sparse_codegen"
    own = [_file_digest(str(here / f"{name}.py")) for name in names.split()]
    versions = [importlib.metadata.version(p) for p in ("numba", "llvmlite")]
    return repr((sys.version_info[:2], versions, processor(), own)).encode()


def _key(function: FunctionType, extra: str) -> str:
    digest = hashlib.sha256(_base_digest() + extra.encode())
    for part in sorted(set(_source_digests(function, set()))):
        digest.update(part)
    return digest.hexdigest()[:40]


def _read(path: Path) -> tuple[str, bytes] | None:
    """Symbol and object code of a cache file; None if it is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body = content[len(_MAGIC) + 32 :]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != content[len(_MAGIC) : len(_MAGIC) + 32]:
        return None
    (length,) = struct.unpack_from("<I", body)
    return body[4 : 4 + length].decode(), body[4 + length :]


unkept: list[str] = []  # what this process has compiled and could not keep


def _keep(code: Code, symbol: str, content: bytes) -> None:
    """Write object code into the cache; where that does not work, it is said once, and nothing else happens."""
    folder = cache_folder()
    try:
        if folder is None:
            raise OSError("this user has no home folder")
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / code.file, symbol, content)
    except OSError as error:
        if not unkept:
            log.warning(
                "kernel cache%s cannot be written (%s): what it lacks is compiled anew in every process; "
                "set CAFFE_LITE_CACHE to a folder that can be", f" {folder}" if folder else "", error.strerror or error,
            )  # fmt: skip
        unkept.append(code.label)


def _write(path: Path, symbol: str, code: bytes) -> None:
    """Write a cache file; a rename makes it appear whole, whoever else is writing it."""
    body = struct.pack("<I", len(symbol)) + symbol.encode() + code
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            file.close()
            os.chmod(file.name, 0o644)  # in an image, another user may run what root has warmed up
            os.replace(file.name, path)
        except OSError:
            with suppress(OSError):
                os.unlink(file.name)
            raise


_loaded: dict[str, int] = {}
compiled: list[str] = []  # what this process has compiled, or has had compiled, because no cache had it


def loaded() -> int:
    """How many kernels are linked into this process."""
    return len(_loaded)


class Code:
    """A function that is to be machine code: what `compile.<compiler>(function, *how, key)` makes."""

    def __init__(self, function: FunctionType, label: str, compiler: str, *how: Any):
        self.function, self.label, self.compiler, self.how = function, label, compiler, how
        self.key = _key(function, repr((label, compiler, how)))
        self.file = f"{label}-{self.key}.o"

    def compile(self) -> tuple[str, bytes]:
        """Its symbol and object code."""
        from . import compile as compiling

        return getattr(compiling, self.compiler)(self.function, *self.how, self.key)


def link(codes: Iterable[Code]) -> list[int]:
    """Addresses of these, from memory, from files, or compiled: several at a time where much is missing."""
    codes = list(codes)
    with _lock:
        wanted = {code.key: code for code in codes if code.key not in _loaded}
        folder = cache_folder()
        found, missing = dict[str, tuple[str, bytes]](), []
        for key, code in wanted.items():
            kept = _read(folder / code.file) if folder else None
            if kept:
                found[key] = kept
            else:
                missing.append(code)
        if missing:
            from .crew import compile_all

            for code, made in compile_all(missing):
                compiled.append(code.label)
                _keep(code, *made)
                found[code.key] = made
        _loaded.update(zip(found, linker.link(list(found.values()))))
        return [_loaded[code.key] for code in codes]


@cache
def entry(kernel: Kernel, dtype: np.dtype[Any], same: tuple[tuple[str, str], ...] = ()) -> Code:
    """The native entry `(start, stop, thread, args)` of a kernel for one element type.

    `same` pairs names of pointers with the earlier arguments that they are equal to.
    """
    kinds = tuple((p.name, p.kind) for p in kernel.parameters)
    label = f"{kernel.name}-{dtype.name}"
    return Code(kernel.function, label, "kernel_entry", kinds, dtype.name, kernel.any_order, same)


def function_address(function: FunctionType, signature: str) -> int:
    """Native address of a plain function over int64 and `long*` arguments (the launchers)."""
    return link([Code(function, function.__name__, "plain_function", signature)])[0]
