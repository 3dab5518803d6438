"""The linker: kernels run where LLVM would have put them, without LLVM, and what it does not understand goes there."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pycaffe_lite import ops
from pycaffe_lite.backend.cpu import linker, native, processor
from pycaffe_lite.backend.cpu.program import Program
from pycaffe_lite.kernel import Kernel, recording

LINUX = sys.platform == "linux" and platform.machine() == "x86_64"
here = pytest.mark.skipif(not LINUX, reason="other systems leave linking to LLVM")


def code_of(kernel: Kernel) -> tuple[str, bytes]:
    return native.entry(kernel, np.dtype(np.float32)).compile()


def every_kernel() -> list[Kernel]:
    """Kernels with constants, tables, sums, calls of the C library: all kinds of relocation."""
    from pycaffe_lite.layers import exp, softmax_with_loss  # noqa: F401  (whose kernels are among them)

    wanted = {"fill", "copy_rows", "add_up", "exp_forward", "softmax_loss", "multiply"}
    return [kernel for kernel in Kernel.every if kernel.name in wanted or "softmax" in kernel.name]


@here
def test_kernels_are_understood() -> None:
    for kernel in every_kernel():
        assert linker.Object.read(*code_of(kernel)), kernel.name


@pytest.mark.parametrize("by_llvm", [False, True])
def test_kernels_compute_the_same_wherever_they_are_linked(monkeypatch: pytest.MonkeyPatch, by_llvm: bool) -> None:
    monkeypatch.setattr(linker, "X86", linker.X86 and not by_llvm)
    monkeypatch.setattr(native, "_loaded", {})
    x, y = np.arange(40, dtype=np.float32), np.zeros(40, np.float32)
    program = Program()
    with recording(program):
        ops.fill(3, 40, y)
        ops.add_to(x, 40, y)
    program.run()
    assert y.tolist() == (x + 3).tolist()


@here
def test_what_is_not_understood_goes_to_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(linker, "_by_llvm", lambda symbol, code: asked.append(symbol) or 1)
    assert linker.link([("f", b"not ELF"), ("g", b"\x7fELF\x01\x01")]) == [1, 1]
    symbol, code = next(code_of(kernel) for kernel in every_kernel() if "softmax" in kernel.name)
    kinds = [relocation.kind for relocation in linker.Object.read(symbol, code).relocations]  # type: ignore[union-attr]
    monkeypatch.setattr(linker, "KNOWN", frozenset(linker.KNOWN - {kinds[0]}))
    assert linker.link([(symbol, code)]) == [1] and asked == ["f", "g", symbol]
    assert linker.link([]) == []


@here
def test_a_name_that_no_library_has_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    calling = next(k for k in every_kernel() if b"\0exp" in code_of(k)[1] or b"\0memset\0" in code_of(k)[1])
    monkeypatch.setattr(linker, "_library_address", lambda name: None)
    assert linker.Object.read(*code_of(calling)) is None


@here
def test_memory_that_may_not_become_code_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="does not let memory become code"):
        linker._protect(1, 1)  # no page begins there


@here
def test_a_process_with_a_full_cache_needs_no_llvm() -> None:
    program = """
import sys
import numpy as np
from pycaffe_lite import ops
y = np.zeros(5, np.float32)
ops.fill(3, 5, y)
assert (y == 3).all()
print(sorted({"llvmlite", "numba"} & set(sys.modules)))
"""
    for _ in range(2):
        out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_processor_is_known_by_what_linux_says_of_it(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    told = "vendor_id\t: V\ncpu family\t: 6\nmodel\t: 7\nmodel name\t: A CPU\nstepping\t: 2\nflags\t: fma avx2\n"
    file.write_text(told + "\n" + told.replace("A CPU", "another").replace("avx2", "none"))
    assert processor._told(str(file)) == ("A CPU (vendor_id V, cpu family 6, model 7, stepping 2)", "+fma,+avx2")
    file.write_text("Processor: ARM\n")
    assert processor._told(str(file)) is None
    assert processor._told(str(tmp_path / "nowhere")) is None
