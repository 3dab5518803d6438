"""NVIDIA's run-time compiler through ctypes: CUDA C to machine code, on machines without a GPU or driver."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from pathlib import Path


@cache
def library() -> ctypes.CDLL | None:
    """libnvrtc of the wheel nvidia-cuda-nvrtc (or nvidia-cuda-nvrtc-cu12), else the system's; None if there is none."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(f) for f in (spec.submodule_search_locations or [])] if spec else []
    found = [str(p) for folder in folders for p in sorted(folder.glob("*/lib/libnvrtc.so.*[0-9]"))]
    for name in [*found, "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def compile_source(source: str, architecture: int) -> bytes:
    """The cubin of a source for sm_<architecture>; RuntimeError with the compiler's log if it is refused."""
    nvrtc = library()
    program = ctypes.c_void_p()
    text = source.encode()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"kernel.cu", 0, None, None))
    options = [f"--gpu-architecture=sm_{architecture}".encode(), b"--std=c++17", b"-default-device"]
    try:
        given = (ctypes.c_char_p * len(options))(*options)
        if nvrtc.nvrtcCompileProgram(program, len(options), given):
            raise RuntimeError(_read(program, "ProgramLog"))
        return _read(program, "CUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _read(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{what}")(program, buffer))
    return buffer.raw if what == "CUBIN" else buffer.value.decode()  # type: ignore[return-value]


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"NVRTC: error {status}")
