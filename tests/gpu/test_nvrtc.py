"""Every kernel has a CUDA twin, and NVIDIA's compiler takes it, for old and new GPUs and both element types."""

from __future__ import annotations

import pytest
from kernels import DTYPES, all_kernels, on_gpu
from nvrtc import compile_source, library

from pycaffe_lite.backend.gpu.source import AnyKernel, cuda_source
from pycaffe_lite.errors import DeviceError
from pycaffe_lite.kernel import device_function, kernel

ARCHITECTURES = (75, 90, 120)  # Turing, Hopper, Blackwell

needs_nvrtc = pytest.mark.skipif(
    library() is None, reason="no NVRTC; pip install 'caffe-lite[gpu-test]' to compile CUDA sources"
)


def test_every_kernel_outside_the_cpu_backend_has_a_cuda_twin():
    kernels = on_gpu()
    assert len(kernels) > 60
    assert [name for name, k in kernels.items() if k.cuda_twin is None] == []
    assert any(name.startswith("backend.cpu.") for name in all_kernels())


def one_unit(kernels: dict[str, AnyKernel], dtype: str) -> str:
    """The sources of many kernels as one, each in a namespace: compiling one by one takes four times as long."""
    parts = []
    for number, one in enumerate(kernels.values()):
        source = cuda_source(one, dtype).replace(f"void {one.name}(", f"void k{number}_{one.name}(")
        parts.append(f"#undef where\nnamespace k{number} {{\n{source}\n}}")
    return "\n".join(parts)


@needs_nvrtc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_cuda_twin_compiles(dtype, architecture):
    cubin = compile_source(one_unit(on_gpu(), dtype), architecture)
    assert cubin.startswith(b"\x7fELF")
    assert all(f"_{k.name}".encode() in cubin for k in on_gpu().values())


@needs_nvrtc
def test_the_compiler_refuses_what_is_wrong():
    with pytest.raises(RuntimeError, match="undefined"):
        compile_source('extern "C" __global__ void f(float* x) { x[0] = nobody; }', 90)


@device_function
def twice(x):
    return 2 * x


def test_a_source_needs_a_twin_all_the_way_down():
    @kernel("count: int -> y: T*")
    def double_it(i, count, y):
        y[i] = twice(y[i])

    with pytest.raises(DeviceError, match="double_it has no CUDA twin"):
        cuda_source(double_it, "float32")
    double_it.cuda("y[i] = twice(y[i]);")
    with pytest.raises(DeviceError, match="twice has no CUDA source"):
        cuda_source(double_it, "float32")
