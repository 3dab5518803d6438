"""The emulated GPU is as strict as a real one: what it lets through would work there."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from emulator import COMPILER, EmulatedGpu

from pycaffe_lite.backend.gpu.source import CudaKernel
from pycaffe_lite.kernel import kernel, recording
from pycaffe_lite.layers.dropout import advance

pytestmark = pytest.mark.skipif(not COMPILER, reason="no g++, which the emulated GPU compiles with")


@kernel("x: T*, slope: T, count: int -> y: T*")
def scale(i, x, slope, count, y):
    y[i] = slope * x[i]


scale.cuda("y[i] = slope * x[i];")

reverse = CudaKernel(
    "reverse",
    "x: T*, count: int -> y: T*",
    """
    __shared__ T values[64];
    values[threadIdx.x] = x[i * 64 + threadIdx.x];
    __syncthreads();
    y[i * 64 + threadIdx.x] = values[63 - threadIdx.x];
    """,
    over="count / 64",
    block=64,
    names={},
)
lopsided = CudaKernel("lopsided", "count: int -> y: T*", "if (threadIdx.x < 16) __syncthreads();", "count", 32, {})


@pytest.fixture
def gpu() -> EmulatedGpu:
    return EmulatedGpu()


def recorded(gpu, kernel, *args):
    program = gpu.program(np.float32)
    with recording(program):
        kernel(*args)
    return program


def test_threads_of_a_block_meet_at_barriers(gpu):
    x = np.arange(640, dtype=np.float32)
    y = gpu.zeros(640, np.float32)
    recorded(gpu, reverse, gpu.upload(x), 640, y).run()
    assert np.array_equal(y.get().reshape(10, 64), x.reshape(10, 64)[:, ::-1])


def test_a_barrier_that_some_threads_never_reach_is_an_error(gpu):
    program = recorded(gpu, lopsided, 2, gpu.zeros(1, np.float32))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="lopsided: some threads of a block wait"):
            program.run()


def test_the_host_cannot_touch_memory_of_the_gpu(gpu):
    array = gpu.zeros(4, np.float32)
    for touch in (np.asarray, list, float, bool, lambda a: a[0] == 0, lambda a: a + 1, lambda a: np.add(a, 1)):
        with pytest.raises(TypeError):
            touch(array)
    with pytest.raises(TypeError):
        array[...] = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="float64"):
        array.set(np.zeros(4))


@pytest.mark.parametrize(
    "wrong, text",
    [
        ({"x": np.zeros(4, np.float32)}, "argument x must be an array on emulated GPU, got ndarray"),
        ({"x": "float64"}, "argument y must be a contiguous float64 array, got float32"),
        ({"y": "int32"}, "argument y must be a contiguous float32 array, got int32"),
        ({"x": "strided"}, "argument x must be a contiguous float32 array, got float32, not contiguous"),
        ({"count": 2**31}, "argument count = 2147483648 does not fit an int"),
    ],
)
def test_arguments_are_checked(gpu, wrong, text):
    args = {"x": gpu.zeros(4, np.float32), "slope": 2, "count": 4, "y": gpu.zeros(4, np.float32)}
    for name, value in wrong.items():
        if isinstance(value, str):
            args[name] = gpu.zeros(8, np.float32)[::2] if value == "strided" else gpu.zeros(4, value)
        else:
            args[name] = value
    with pytest.raises((TypeError, OverflowError), match=text):
        recorded(gpu, scale, *args.values())


def test_a_capture_runs_nothing_and_freezes_its_arguments(gpu):
    state = gpu.zeros(1, np.int64)
    program = recorded(gpu, advance, 3, state)
    program.run()  # eagerly
    assert state.get() == [3]
    with gpu.capture() as capture:
        program.run_eagerly()
    assert state.get() == [3]
    for _ in range(2):
        capture.graph.launch()
    assert state.get() == [9]


def test_nothing_but_launches_is_captured(gpu):
    array = gpu.zeros(2, np.float32)
    for forbidden in (array.get, lambda: array.set(np.zeros(2, np.float32)), lambda: gpu.zeros(1, np.float32)):
        with pytest.raises(RuntimeError, match="while a stream is being captured"), gpu.capture():
            forbidden()
    array.get()


def test_a_program_is_captured_when_it_runs_again(gpu):
    state = gpu.zeros(1, np.int64)
    program = recorded(gpu, advance, 1, state)
    for runs in range(1, 5):
        program.run()
        assert state.get() == [runs]
    assert [*program._chains] == [(0, 1)] and program._chains[0, 1].graph is not None


OUTSIDE = """
import numpy as np
from emulator import EmulatedGpu
from pycaffe_lite.backend.gpu.source import CudaKernel
from pycaffe_lite.kernel import recording

beyond = CudaKernel("beyond", "x: T*, count: int -> y: T*", "y[i] = x[i + %d];", "count", None, {})
gpu = EmulatedGpu()
program = gpu.program(np.float32)
with recording(program):
    beyond(gpu.zeros(64, np.float32)[:32], 32, gpu.zeros(32, np.float32))
program.run()
print("done")
"""


@pytest.mark.parametrize("distance", [0, 1])
def test_address_sanitizer_sees_the_ends_of_arrays(distance):
    library = subprocess.run([COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip("no AddressSanitizer")
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",
        "CAFFE_LITE_EMULATOR_FLAGS": "-fsanitize=address",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ran = subprocess.run([sys.executable, "-c", OUTSIDE % distance], env=environment, capture_output=True, text=True)
    assert (ran.stdout == "done\n") == (distance == 0)
    assert ("heap-buffer-overflow" in ran.stderr) == (distance == 1)
