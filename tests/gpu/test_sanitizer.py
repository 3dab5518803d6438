"""Every kernel, compiled by g++ with AddressSanitizer and UndefinedBehaviorSanitizer, over odd sizes.

The exam of the layers, products, convolutions and the updates of all solvers run once more in a process of its own,
on the emulated GPU. There each launch gets exact copies of its arrays, so that one element beyond an end is seen.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from emulator import COMPILER

ROOT = Path(__file__).resolve().parents[2]
EMULATED = ["-k", "emulated"]
RUNS = {
    "layers": ["tests/layers/test_exam.py", *EMULATED],
    "products and convolutions": ["tests/backend/test_on_devices.py", *EMULATED],
    "updates": ["tests/gpu/test_updates.py", *EMULATED],
    "training": ["tests/gpu/test_training.py", "-k", "emulated or Kept"],
    "feeding and 16 bits": ["tests/gpu/test_feed.py", "tests/gpu/test_half.py"],
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMPILER, reason="no g++, which the emulated GPU compiles with"),
]


def libraries() -> list[str]:
    """The sanitizers' libraries, which must be in the process from its start; none where g++ has none."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        command = [COMPILER, f"-print-file-name={name}"]
        found.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    return found if all(map(os.path.isabs, found)) else []


@pytest.mark.parametrize("what", RUNS)
def test_no_kernel_leaves_its_arrays(what):
    if not libraries():
        pytest.skip("no sanitizers beside g++")
    environment = os.environ | {
        "LD_PRELOAD": ":".join(libraries()),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "CAFFE_LITE_EMULATOR_FLAGS": "-fsanitize=address,undefined -fno-sanitize-recover=undefined -g1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *RUNS[what]]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, f"{ran.stdout[-4000:]}\n{ran.stderr[-8000:]}"
