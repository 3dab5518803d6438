"""The real GPU, through CuPy: memory, one stream, captured graphs, and NVIDIA's libraries where they are installed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...errors import DeviceError, DeviceMemoryError
from ...geometry import Geometry
from ...kernel import current_launcher
from ...net.budget import megabytes
from . import libraries
from .cublas import WORKSPACE, Cublas
from .cudnn import Cudnn, CudnnConvolution, HalfConvolution
from .gpu import Gpu, Precision, StreamName
from .half import CUDA_TYPES, Halves
from .source import AnyKernel, cuda_source

log = logging.getLogger("pycaffe_lite")

INSTALL = "pip install 'caffe-lite[gpu]' (CUDA 13) or 'caffe-lite[gpu12]' (CUDA 12)"
INSTALL_CUDNN = "pip install 'caffe-lite[cudnn]' (CUDA 13) or 'caffe-lite[cudnn12]' (CUDA 12)"
OTHERWISE = "or compute on the CPU with solver_mode: CPU or --cpu"


def import_cupy() -> Any:
    """CuPy, with a driver that can run it; DeviceError says what is missing and how to get it."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(f"a GPU needs CuPy, which cannot be imported ({error}): {INSTALL}, {OTHERWISE}") from error
    runtime = cupy.cuda.runtime
    try:
        runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        has = runtime.driverGetVersion()
        why = (
            f"CuPy was built for CUDA {version(runtime.runtimeGetVersion())}, but the driver is for CUDA "
            f"{version(has)} ({error}): update the driver, or {INSTALL}"
            if has
            else "no NVIDIA driver is installed, or there is no GPU: install the driver"
        )
        raise DeviceError(f"{why}, {OTHERWISE}") from error
    return cupy


def version(number: int) -> str:
    """12090 as "12.9"."""
    return f"{number // 1000}.{number % 1000 // 10}"


class CupyGpu(Gpu):
    """GPU number `number`. With `tf32` products may round their inputs to 10 bits; without `captures` all is eager.

    With a `precision` float32 products and convolutions read their inputs as numbers of 16 bits.
    """

    def __init__(
        self,
        number: int = 0,
        captures: bool = True,
        tf32: bool = False,
        most_kept_data: int = Gpu.most_kept_data,
        precision: Precision | None = None,
    ):
        super().__init__()
        self.cupy = import_cupy()
        runtime = self.cupy.cuda.runtime
        count = runtime.getDeviceCount()
        if not 0 <= number < count:
            raise DeviceError(f"there is no GPU {number}: this machine has {count}, numbered from 0")
        self.most_kept_data = most_kept_data
        self._told: set[str] = set()
        self._failures = (runtime.CUDARuntimeError, self.cupy.cuda.driver.CUDADriverError)
        self.name, self.number, self.captures = f"GPU {number}", number, captures
        self._device = self.cupy.cuda.Device(number)
        with self._device:
            # Blocking: what others do on the default stream waits for us, and we for them.
            self._stream = self.cupy.cuda.Stream()
            self._copies = self.cupy.cuda.Stream(non_blocking=True)
        self.blas = self._open_cublas(tf32)
        self.dnn = self._open_cudnn(tf32)
        self.precision = precision
        if precision:
            self._check_precision(precision)

    def _check_precision(self, precision: Precision) -> None:
        """Refuse what this GPU, or the libraries that are there, cannot compute in."""
        libraries_of = (("cuBLAS", self.blas, INSTALL), ("cuDNN", self.dnn, INSTALL_CUDNN))
        for name, found, install in libraries_of:
            if found is None:
                raise DeviceError(f"precision {precision} needs {name}, which is not installed: {install}")
        properties = self.cupy.cuda.runtime.getDeviceProperties(self.number)
        major, minor = properties["major"], properties["minor"]
        if precision == "bf16" and major < 8:
            raise DeviceError(
                f"precision bf16 needs a GPU of compute capability 8.0, this has {major}.{minor}: use fp16"
            )

    def _open_cublas(self, tf32: bool) -> Cublas | None:
        found = libraries.find("cublas", self.cupy.cuda.runtime.runtimeGetVersion() // 1000)
        if found is None:
            log.warning(
                "cuBLAS is not installed: %s computes matrix products with kernels of caffe-lite's own", self.name
            )
            return None
        self._blas_workspace = self.zeros(WORKSPACE, np.uint8)
        with self.stream():
            return Cublas(found[0], self._stream.ptr, self.address(self._blas_workspace), tf32)

    def _open_cudnn(self, tf32: bool) -> Cudnn | None:
        found = libraries.find("cudnn", 9)
        if found is None:
            log.warning(
                "cuDNN is not installed: %s computes convolutions with kernels of caffe-lite's own; for faster ones %s",
                self.name, INSTALL_CUDNN,
            )  # fmt: skip
            return None
        with self.stream():
            return Cudnn(found[0], self._stream.ptr, tf32)

    # Memory

    def zeros(self, count: int, dtype: Any) -> Any:
        try:
            with self.stream():
                return self.cupy.zeros(count, dtype)
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            free, total = self._device.mem_info
            made = DeviceMemoryError(
                f"{self.name} has too little memory: {megabytes(count * np.dtype(dtype).itemsize)} more are needed, "
                f"{megabytes(free)} of {megabytes(total)} are free"
            )
            made.available = free + self.cupy.get_default_memory_pool().total_bytes()
            raise made from error

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.cupy.ndarray)

    def address(self, array: Any) -> int:
        return array.data.ptr

    def copy_in(self, array: Any, host: np.ndarray) -> None:
        with self.stream():
            super().copy_in(array, host)

    def copy_out(self, host: np.ndarray, array: Any) -> None:
        with self.stream():
            super().copy_out(host, array)

    def pinned(self, count: int, dtype: Any) -> np.ndarray:
        with self.stream():
            memory = self.cupy.cuda.alloc_pinned_memory(count * np.dtype(dtype).itemsize)
        return np.frombuffer(memory, dtype, count)

    def event(self) -> CupyEvent:
        with self.stream():
            return CupyEvent(self)

    def copy_behind(self, array: Any, pinned: np.ndarray) -> None:
        with self.stream():
            array.data.copy_from_host_async(pinned.ctypes.data, pinned.nbytes, self._copies)

    def synchronize(self) -> None:
        with self.stream() as stream:
            stream.synchronize()

    # Launches

    @contextmanager
    def stream(self) -> Iterator[Any]:
        try:
            with self._device, self._stream:
                yield self._stream
        except self._failures as error:
            raise DeviceError(f"{self.name} failed: {error}") from error

    def launcher(
        self, kernel: AnyKernel, dtype: np.dtype[Any], blocks: int, threads: int, packed: Sequence[np.generic]
    ) -> Callable[[], None]:
        with self.stream():
            function = self.cupy.RawKernel(cuda_source(kernel, dtype.name), kernel.name, options=("--std=c++17",))
            try:
                function.compile()
            except self._failures:
                raise
            except Exception as error:  # CuPy has many: no NVRTC, headers of another CUDA, a GPU it does not know
                raise DeviceError(
                    f"{self.name} cannot compile kernel {kernel.name} ({type(error).__name__}: {error}): "
                    f"{INSTALL}, {OTHERWISE}"
                ) from error
        return partial(function, (blocks,), (threads,), tuple(packed))

    @contextmanager
    def capture(self) -> Iterator[Any]:
        made = SimpleNamespace(graph=None)
        with self.stream() as stream:
            stream.begin_capture()
            try:
                yield made
            finally:
                graph = stream.end_capture()
        made.graph = Replay(self, graph)

    # Libraries

    def gemm(
        self, a: Any, b: Any, out: Any, m: int, n: int, k: int, trans_a: bool, trans_b: bool, accumulate: bool
    ) -> None:
        if self.blas is None or 0 in (m, n, k):
            super().gemm(a, b, out, m, n, k, trans_a, trans_b, accumulate)
            return
        shape = m, n, k, trans_a, trans_b, accumulate
        if self.precision and out.dtype == np.float32:
            halves = Halves(self.precision, a.size, b.size)
            a, b = halves.of(a), halves.of(b)
            how = partial(self.blas.gemm_of_halves, CUDA_TYPES[self.precision])
        else:
            how = partial(self.blas.gemm, out.dtype)
        call = partial(how, *(self.address(array) for array in (a, b, out)), *shape)
        current_launcher().append(call, (a, b, out), "gemm")  # type: ignore[attr-defined]

    def convolution(self, geometry: Geometry) -> Any:
        planes = len(geometry.size) in (1, 2)
        if self.dnn is not None and planes and geometry.engine != "CAFFE":
            return geometry.copy_as(HalfConvolution if self.precision else CudnnConvolution)
        if self.precision:
            self._tell(f"precision {self.precision}: convolutions of our own kernels compute in float32")
        if geometry.engine == "CUDNN":
            why = "cuDNN is not installed" if planes else f"it has {len(geometry.size)} spatial axes"
            self._tell(f"engine: CUDNN, but {why}: our own kernels compute this convolution")
        return super().convolution(geometry)

    def _tell(self, line: str) -> None:
        """Log a warning that concerns many layers, once."""
        if line not in self._told:
            self._told.add(line)
            log.warning(line)


class CupyEvent:
    """Implements Event."""

    def __init__(self, device: CupyGpu):
        self._device = device
        self._event = device.cupy.cuda.Event(disable_timing=True)
        self._streams = {"compute": device._stream, "copy": device._copies}

    def record(self, stream: StreamName) -> None:
        with self._device.stream():
            self._event.record(self._streams[stream])

    def hold_back(self, stream: StreamName) -> None:
        with self._device.stream():
            self._streams[stream].wait_event(self._event)

    def synchronize(self) -> None:
        with self._device.stream():
            self._event.synchronize()


class Replay:
    """A captured graph, launched on the stream of its device."""

    def __init__(self, device: CupyGpu, graph: Any):
        self.device, self.graph = device, graph

    def launch(self) -> None:
        with self.device.stream() as stream:
            self.graph.launch(stream)
