"""The kernel cache: what is in it is used, what is damaged or foreign is not, and nothing halts without one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = """
import sys
import numpy as np
from pycaffe_lite.ops import fill
from pycaffe_lite.backend.cpu import native
y = np.zeros(5, np.float32)
fill(3, 5, y)
assert (y == 3).all()
print(len(native.compiled), "numba" in sys.modules)
"""


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    """A process with a warm interpreter and the environment given (nothing for an empty value)."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    env = {name: value for name, value in env.items() if value}
    return subprocess.Popen(
        [sys.executable, *(command or ("-c", PROGRAM))], env=env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ends(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it printed, after it has ended well."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip(), err


def test_two_processes_compile_at_once_and_a_third_does_not(tmp_path: Path) -> None:
    both = [start(CAFFE_LITE_CACHE=str(tmp_path)) for _ in range(2)]
    for process in both:
        ends(process)
    assert not [path.name for path in tmp_path.iterdir() if path.suffix != ".o"]
    assert ends(start(CAFFE_LITE_CACHE=str(tmp_path))) == ("0 False", "")
    for path in tmp_path.iterdir():  # damaged: one is cut off, the others are of another make
        path.write_bytes(path.read_bytes()[:-9] if path.name.startswith("fill") else b"not what it was")
    assert ends(start(CAFFE_LITE_CACHE=str(tmp_path)))[0] == "3 True"
    assert ends(start(CAFFE_LITE_CACHE=str(tmp_path)))[0] == "0 False"


def test_a_cache_that_takes_no_more_is_said_once_and_one_that_is_full_of_kernels_is_quiet(tmp_path: Path) -> None:
    full = "from pycaffe_lite.backend.cpu import native\ndef _write(*_): raise OSError(28, 'No space left on device')\n"
    full += f"native._write = _write\n{PROGRAM}"
    out, err = ends(start("-c", full, CAFFE_LITE_CACHE=str(tmp_path)))
    assert out == "3 True"
    assert err.count("cannot be written (No space left on device)") == 1
    ends(start(CAFFE_LITE_CACHE=str(tmp_path)))
    assert ends(start("-c", full, CAFFE_LITE_CACHE=str(tmp_path))) == ("0 False", "")
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in tmp_path.iterdir())  # other users may run them


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names processors of another kind")
def test_what_was_made_for_another_processor_is_not_used(tmp_path: Path) -> None:
    other = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"}
    for environment in (other, {}):
        assert ends(start(CAFFE_LITE_CACHE=str(tmp_path), **environment))[0] == "3 True"
        assert ends(start(CAFFE_LITE_CACHE=str(tmp_path), **environment))[0] == "0 False"


def test_a_cache_that_cannot_be_written_is_said_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out, err = ends(start(CAFFE_LITE_CACHE=str(tmp_path / "file" / "cache")))
    assert out == "3 True"
    assert "cannot be written" in err
    assert "set CAFFE_LITE_CACHE" in err


def test_an_unwritable_home_is_said_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    out, err = ends(start(HOME=str(tmp_path / "home"), CAFFE_LITE_CACHE="", XDG_CACHE_HOME=""))
    assert out == "3 True"
    assert err.count("cannot be written") == 1
