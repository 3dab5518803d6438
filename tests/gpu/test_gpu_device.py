"""The real GPU's code, over a CuPy, a cuBLAS and a cuDNN of the tests: every call as NVIDIA documents it."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from emulator import COMPILER, EmulatedGpu
from exam import Case, Run, build, check_against_cpu
from fake_nvidia import FakeCuPy, FakeKernel, FakeStream, RuntimeFailure

from pycaffe_lite import device as devices
from pycaffe_lite.backend.gpu import libraries
from pycaffe_lite.backend.gpu.device import CupyGpu
from pycaffe_lite.errors import DeviceError
from pycaffe_lite.proto import NetParameter, SolverParameter
from pycaffe_lite.proto import text as prototxt
from pycaffe_lite.solver.solver import Solver

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


def test_other_layers_that_ask_for_cudnn_are_told(nvidia, caplog):
    def built(engine):
        body = f'type: "Pooling" pooling_param {{ kernel_size: 2 engine: {engine} }}'
        with devices.using(CupyGpu()):
            build(Case(body))

    built("CAFFE")
    built("DEFAULT")
    assert "engine" not in caplog.text
    built("CUDNN")
    assert "engine: CUDNN, but only convolutions are computed by cuDNN: our own kernels compute l" in caplog.text


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


def test_a_compiler_that_is_missing_is_told(nvidia, monkeypatch):
    def missing(self):
        raise RuntimeError("CuPy failed to load libnvrtc.so.13")

    monkeypatch.setattr(FakeKernel, "compile", missing)
    with devices.using(CupyGpu()), pytest.raises(DeviceError, match=r"kernel relu_forward \(.*libnvrtc.*pip install"):
        Run(build(Case('type: "ReLU"')), Case('type: "ReLU"')).forward()


def test_libraries_that_are_missing_are_told(nvidia, caplog):
    nvidia.clear()
    CupyGpu()
    assert "cuBLAS is not installed" in caplog.text and "cuDNN is not installed" in caplog.text


def test_too_little_memory_is_told(nvidia, monkeypatch):
    gpu = CupyGpu()

    def exhausted(count, dtype):
        raise MemoryError

    monkeypatch.setattr(gpu.cupy, "zeros", exhausted)
    with pytest.raises(DeviceError, match=r"4\.0 MB more are needed, 3\.0 MB of 1024\.0 MB are free"):
        gpu.zeros(1 << 20, np.float32)


def test_a_failure_on_the_way_is_one_clear_message(nvidia):
    gpu = CupyGpu()
    program = gpu.program(np.float32)

    def lost():
        raise RuntimeFailure("cudaErrorIllegalAddress: an illegal memory access was encountered")

    program.append(lost, (), "lost")
    with pytest.raises(DeviceError, match=r"GPU 0 failed: cudaErrorIllegalAddress"):
        program.run()


SMALL_NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 64 dim: 100 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1000 } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "loss" loss_weight: 1 }
"""


def limited(monkeypatch, gpu, megabytes):
    """Let the GPU have so much memory that is not yet used."""
    left, honest = [megabytes * 2**20], gpu.cupy.zeros

    def zeros(count, dtype):
        left[0] -= count * np.dtype(dtype).itemsize
        if left[0] < 0:
            raise MemoryError
        return honest(count, dtype)

    monkeypatch.setattr(gpu.cupy, "zeros", zeros)
    monkeypatch.setattr(type(gpu._device), "mem_info", (int(megabytes * 2**20), 2**30))
    monkeypatch.setattr(gpu.cupy, "get_default_memory_pool", lambda: SimpleNamespace(total_bytes=lambda: 0))


@pytest.mark.parametrize(
    "megabytes, text",
    [
        (0.5, r"activations 0\.5 MB\. No batch_size would fit; take a smaller net"),
        (1.3, r"needs 1\.7 MB: parameters 0\.4 MB, gradients 0\.4 MB, history 0\.4 MB, activations 0\.5 MB"),
        (1.5, r"\. A batch_size of 32 with iter_size 2 should fit, for 64 as now"),
    ],
)
def test_a_solver_says_what_needs_the_memory_and_what_would_fit(nvidia, monkeypatch, megabytes, text):
    gpu = CupyGpu()
    limited(monkeypatch, gpu, megabytes)
    param = SolverParameter(net_param=prototxt.parse(SMALL_NET, NetParameter()), base_lr=0.1, lr_policy="fixed")
    with devices.using(gpu), pytest.raises(DeviceError, match=text):
        Solver(param)


def test_a_device_lost_in_mid_training_leaves_the_last_snapshot(nvidia, tmp_path, monkeypatch):
    fields = {"snapshot_prefix": str(tmp_path / "small"), "snapshot_after_train": False, "lr_policy": "fixed"}
    param = SolverParameter(net_param=prototxt.parse(SMALL_NET, NetParameter()), base_lr=1e-9, snapshot=2, **fields)
    gpu = CupyGpu()
    with devices.using(gpu):
        solver = Solver(param)
    launch, launches = FakeStream.launch, iter(range(10))

    def lost(self, graph):
        if next(launches) == 3:
            raise RuntimeFailure("cudaErrorECCUncorrectable")
        launch(self, graph)

    monkeypatch.setattr(FakeStream, "launch", lost)
    state = str(tmp_path / "small_iter_4.solverstate")
    with pytest.raises(DeviceError, match=f"iteration 4: GPU 0 failed: cudaError.*go on with --snapshot {state}"):
        solver.step(10)
    with devices.using(devices.CPU):
        resumed = Solver(param)
    resumed.restore(state)
    assert resumed.iter == 4


def test_cublas_is_of_the_cuda_that_cupy_has(nvidia, monkeypatch):
    asked = []
    monkeypatch.setattr(libraries, "find", lambda name, major: asked.append((name, major)))
    CupyGpu()
    assert asked == [("cublas", 12), ("cudnn", 9)]
