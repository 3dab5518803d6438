"""The real GPU's code, over a CuPy, a cuBLAS and a cuDNN of the tests: every call as NVIDIA documents it."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
from emulator import COMPILER, EmulatedGpu
from exam import Case, Run, build, check_against_cpu
from fake_nvidia import FakeCuPy, RuntimeFailure

from pycaffe_lite import device as devices
from pycaffe_lite.backend.gpu.device import CupyGpu
from pycaffe_lite.errors import DeviceError

pytestmark = pytest.mark.skipif(not COMPILER, reason="no g++, which the emulated GPU compiles with")

CASES = [
    'type: "InnerProduct" inner_product_param { num_output: 6 }',
    'type: "InnerProduct" inner_product_param { num_output: 5 transpose: true }',
    'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 }',
    'type: "Convolution" convolution_param { num_output: 6 kernel_h: 2 kernel_w: 3 pad: 1 stride: 2 group: 3 }',
    'type: "Convolution" convolution_param { num_output: 1 kernel_size: 2 dilation: 2 bias_term: false }',
    'type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 3 stride: 2 group: 3 bias_term: false }',
]


@pytest.mark.parametrize("body", CASES)
@pytest.mark.parametrize("without", [None, "cublas", "cudnn"])
def test_layers_compute_what_the_cpu_does(nvidia, body, without):
    library = nvidia["cublas" if "InnerProduct" in body else "cudnn"]
    nvidia[without] = None
    with devices.using(CupyGpu()):
        check_against_cpu(Case(body, bottoms=[(2, 3, 7, 6)]))
    computed = [call for call in library.calls if call in library.on_stream]
    assert bool(computed) == (library in nvidia.values())


@pytest.mark.parametrize("body", CASES)
def test_what_libraries_compute_is_captured(nvidia, body):
    case = Case(body, bottoms=[(2, 3, 7, 6)])
    with devices.using(CupyGpu()):
        run = Run(build(case), case)
    results = [(run.forward(), *run.backward()) for _ in range(2)]  # eagerly, captured
    calls = sum(len(library.calls) for library in nvidia.values())
    results += [(run.forward(), *run.backward()) for _ in range(2)]
    assert calls == sum(len(library.calls) for library in nvidia.values()), "replayed: nothing is called"
    for again in results[1:]:
        for arrays in zip(results[0], again):
            for first, later in zip(*arrays, strict=True):
                np.testing.assert_array_equal(first, later)


def test_lines_are_planes_of_height_one(nvidia):
    case = Case('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 }', [(2, 3, 9)])
    with devices.using(CupyGpu()):
        check_against_cpu(case)
    assert "cudnnConvolutionForward" in nvidia["cudnn"].calls


@pytest.mark.parametrize(
    "engine, size, expected, warned",
    [
        ("CAFFE", (2, 3, 5, 5), False, False),
        ("CUDNN", (2, 3, 5, 5), True, False),
        ("CUDNN", (2, 3, 4, 4, 4), False, True),
        ("DEFAULT", (2, 3, 4, 4, 4), False, False),
    ],
)
def test_the_engine_decides_who_computes(nvidia, caplog, engine, size, expected, warned):
    body = f'type: "Convolution" convolution_param {{ num_output: 2 kernel_size: 2 engine: {engine} }}'
    with devices.using(CupyGpu()), caplog.at_level(logging.WARNING):
        check_against_cpu(Case(body, [size]))
    assert ("cudnnConvolutionForward" in nvidia["cudnn"].calls) == expected
    assert ("engine: CUDNN, but it has 3 spatial axes" in caplog.text) == warned


def test_algorithms_that_are_not_deterministic_are_not_taken(nvidia):
    nvidia["cudnn"].deterministic = False
    with devices.using(CupyGpu()), pytest.raises(DeviceError, match="no deterministic algorithm"):
        check_against_cpu(Case(CASES[2], [(1, 1, 4, 4)]))


def test_a_gpu_that_is_not_there_is_named(nvidia):
    with pytest.raises(DeviceError, match="GPU 2 asked for, but there is no GPU 2: this machine has 1"):
        devices.gpu(2)


@pytest.mark.parametrize(
    "driver, text",
    [(11080, "built for CUDA 12.9, but the driver is for CUDA 11.8"), (0, "no NVIDIA driver is installed")],
)
def test_a_driver_that_is_too_old_or_missing_is_told(nvidia, monkeypatch, driver, text):
    monkeypatch.setitem(sys.modules, "cupy", FakeCuPy(EmulatedGpu(), driver=driver))
    with pytest.raises(DeviceError, match=text):
        devices.gpu()


def test_too_little_memory_is_told_with_a_way_out(nvidia, monkeypatch):
    gpu = CupyGpu()

    def exhausted(count, dtype):
        raise MemoryError

    monkeypatch.setattr(gpu.cupy, "zeros", exhausted)
    with pytest.raises(DeviceError, match=r"4\.0 MB more are needed, 3\.0 MB of 1024\.0 MB are free.*batch_size"):
        gpu.zeros(1 << 20, np.float32)


def test_a_failure_on_the_way_is_one_clear_message(nvidia):
    gpu = CupyGpu()
    program = gpu.program(np.float32)

    def lost():
        raise RuntimeFailure("cudaErrorIllegalAddress: an illegal memory access was encountered")

    program.append(lost, None)
    with pytest.raises(DeviceError, match=r"GPU 0 failed: cudaErrorIllegalAddress.*snapshot before is intact"):
        program.run()
