"""The same results from the code for other processors: each in a process of its own, on a part of the table."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

AVX2 = "+avx,+avx2,+fma,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+bmi,+bmi2,+f16c,+lzcnt,+movbe"
PROCESSORS = {"AVX2": ("x86-64-v3", AVX2), "any": ("x86-64", "+sse2")}

PROGRAM = """
import numpy as np
from convolution_cases import TABLE, check
from pycaffe_lite.backend.cpu import tile, vector
from pycaffe_lite.backend.cpu.convolution import Convolution
from test_gemm import SHAPES, check as check_gemm
from test_channels import SHAPES as VIEWS, check as check_channels, check_joint, check_normalize
from test_elements import COUNTS, check as check_dropout
from test_losses import COUNTS as SCORES, TABLE as LABELS, check_entropy, check_labels
from test_lrn import TABLE as NORMS, check as check_lrn
from test_pooling import TABLE as POOLS, check as check_pool
from test_softmax import TABLE as COLUMNS, check as check_softmax
from test_winners import TABLE as WINNERS, check as check_winners

print(vector.LANES, tile.ASSEMBLY)
for shape in TABLE:
    check(Convolution(*shape), np.float32, relu=True)
for shape in SHAPES:
    for transposed in (False, True):
        check_gemm(transposed, transposed, *shape, np.float32, bias=True)
        check_gemm(False, transposed, *shape, np.float32, gap=3, accumulate=True, relu=True)
for pool in POOLS:
    check_pool(*pool)
for shape in WINNERS:
    check_winners(shape)
    check_winners(shape, 0.1)
for count in COUNTS:
    check_dropout(count)
for norm in NORMS:
    check_lrn(*norm)
for columns in COLUMNS:
    check_softmax(*columns)
for labels in LABELS:
    check_labels(*labels)
for scores in SCORES:
    check_entropy(scores)
for view in VIEWS:
    check_channels(view)
    check_normalize(view)
    check_joint(view, 2)
"""


X86_ONLY = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names processors of another kind")


def another(name: str) -> dict[str, str]:
    """The environment of a process that makes code for another processor."""
    processor, features = PROCESSORS[name]
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent.parent), os.environ.get("PYTHONPATH", "")])
    return dict(os.environ, NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES=features, PYTHONPATH=paths)


@X86_ONLY
@pytest.mark.parametrize("name", PROCESSORS)
def test_code_for_other_processors(name: str) -> None:
    environment = another(name)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == (["8", "True"] if name == "AVX2" else ["4", "False"])


# All that looks at numbers: kernels, Caffe's own arrays, the exam of all layers, joined layers, whole nets, solvers.
NUMBERS = [
    "backend/test_convolution.py", "backend/test_gemm.py", "backend/test_channels.py", "backend/test_elements.py",
    "backend/test_lrn.py", "backend/test_pooling.py", "layers/test_golden_layers.py", "layers/test_exam.py",
    "models/test_golden_models.py", "net/test_passes.py", "net/test_fold.py", "solver/test_golden_solvers.py",
]  # fmt: skip


@pytest.mark.slow
@X86_ONLY
@pytest.mark.parametrize("name", PROCESSORS)
def test_all_numbers_with_code_for_other_processors(name: str) -> None:
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not emulated and not gpu"]
    command += [str(root / file) for file in NUMBERS]
    done = subprocess.run(command, cwd=root.parent, env=another(name), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
