"""CuPy, cuBLAS and cuDNN as far as caffe-lite calls them, over the emulated GPU: for testing the calls.

Functions of the two libraries are written down with the argument types of NVIDIA's documentation; a call
with another number or kind of arguments fails, where ctypes would pass on whatever it is given.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from emulator import DeviceArray, EmulatedGpu, compiled
from streams import EmulatedEvent

# What an argument may be, by a letter: a pointer, an int, a size, a pointer to a number of the host.
KINDS: dict[str, Callable[[Any], bool]] = {
    "p": lambda a: isinstance(a, ctypes.c_void_p),
    "i": lambda a: type(a) is int or isinstance(a, np.int32),
    "s": lambda a: isinstance(a, ctypes.c_size_t),
    "n": lambda a: type(a) is type(ctypes.byref(ctypes.c_int())),
}


PROPERTIES = {
    "name": b"Emulated GPU", "major": 9, "minor": 0, "totalGlobalMem": 1 << 30, "warpSize": 32,
    "maxThreadsDim": (1024, 1024, 64), "deviceOverlap": 1,
}  # fmt: skip


class RuntimeFailure(RuntimeError):
    """CUDARuntimeError."""


class FakeCuPy:
    """The module `cupy`, with `count` devices."""

    __version__ = "14.2.0"

    def __init__(self, gpu: EmulatedGpu, count: int = 1, driver: int = 13000):
        self.gpu, self.ndarray = gpu, DeviceArray
        self.zeros = gpu.zeros
        self.get_default_memory_pool = lambda: SimpleNamespace(total_bytes=lambda: 1 << 20)
        runtime = SimpleNamespace(
            CUDARuntimeError=RuntimeFailure,
            getDeviceCount=partial(self._count, count, driver),
            runtimeGetVersion=lambda: 12090,
            driverGetVersion=lambda: driver,
            getDeviceProperties=lambda number: PROPERTIES,
        )
        self.cuda = SimpleNamespace(
            runtime=runtime,
            driver=SimpleNamespace(CUDADriverError=RuntimeFailure),
            memory=SimpleNamespace(OutOfMemoryError=MemoryError),
            Device=lambda number: FakeDevice(),
            Stream=lambda non_blocking=False: FakeStream(gpu, "copy" if non_blocking else "compute"),
            Event=lambda disable_timing: FakeEvent(gpu),
            alloc_pinned_memory=lambda size: gpu.pinned(size, np.uint8),
        )

    @staticmethod
    def _count(count: int, driver: int) -> int:
        if driver < 12000:
            raise RuntimeFailure("cudaErrorInsufficientDriver")
        return count

    def RawKernel(self, source: str, name: str, options: tuple[str, ...]) -> Any:
        return FakeKernel(self.gpu, source, name)


class FakeDevice(nullcontext):
    mem_info = (3 << 20, 1 << 30)


class FakeStream(nullcontext):
    ptr = 77

    def __init__(self, gpu: EmulatedGpu, name: str):
        super().__init__(self)
        self.gpu, self.name = gpu, name

    def wait_event(self, event: FakeEvent) -> None:
        event.hold_back(self.name)

    def synchronize(self) -> None:
        self.gpu.synchronize()

    def begin_capture(self) -> None:
        self._context = self.gpu.capture()
        self._made = self._context.__enter__()

    def end_capture(self) -> Any:
        self._context.__exit__(None, None, None)
        made = self._made
        return SimpleNamespace(launch=lambda stream: stream.launch(made))

    def launch(self, graph: Any) -> None:
        graph.launch()


class FakeEvent(EmulatedEvent):
    def __init__(self, gpu: EmulatedGpu):
        super().__init__(gpu.copies)

    def record(self, stream: FakeStream) -> None:
        super().record(stream.name)


class FakeKernel:
    def __init__(self, gpu: EmulatedGpu, source: str, name: str):
        self.gpu, self.source, self.name, self.entry = gpu, source, name, None

    def compile(self) -> None:
        count = self.source.split(f"void {self.name}(")[1].split(")")[0].count(",") + 1
        self.entry = compiled(self.source, self.name, count)

    def __call__(self, grid: tuple[int], block: tuple[int], args: tuple[np.generic, ...]) -> None:
        assert self.entry is not None, "compiled while it runs: a capture would fail"
        assert all(isinstance(a, np.generic) for a in args)
        kernel = SimpleNamespace(name=self.name)
        self.gpu._launch(kernel, self.entry, *grid, *block, args, [0] * len(args))


class FakeLibrary:
    """Functions by name, each with the kinds of its arguments; what works on the stream can be captured."""

    def __init__(self, gpu: EmulatedGpu):
        self.gpu, self.calls = gpu, []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kinds, run = self.functions[name]

        def call(*args: Any) -> int:
            assert len(args) == len(kinds), f"{name} takes {len(kinds)} arguments, got {len(args)}"
            for place, (kind, arg) in enumerate(zip(kinds, args)):
                assert KINDS[kind](arg), f"{name}: argument {place} must be of kind {kind!r}, got {arg!r}"
            self.calls.append(name)
            if run is None:
                return 0
            work = partial(run, self, *(plain(a) for a in args))
            if name in self.on_stream and self.gpu.capturing:
                self.gpu.capturing.noted.append(work)
                return 0
            return work() or 0

        return call


def plain(arg: Any) -> Any:
    """The value of a ctypes argument; a byref as what it points to, for it may be written to."""
    if isinstance(arg, (ctypes.c_void_p, ctypes.c_size_t)):
        return arg.value
    return arg._obj if KINDS["n"](arg) else arg


def matrix(address: int, rows: int, columns: int, dtype: Any) -> np.ndarray:
    """Memory at an address as an array."""
    count = rows * columns * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * count).from_address(address), dtype).reshape(rows, columns)


def load(kind: int, address: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of a type of cuDNN's at an address; of 16-bit ones a copy in float32."""
    count = int(np.prod(shape))
    if kind == 9:  # bfloat16
        bits = matrix(address, 1, count, np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32).reshape(shape)
    array = matrix(address, 1, count, {0: np.float32, 1: np.float64, 2: np.float16}[kind]).reshape(shape)
    return array.astype(np.float32) if kind == 2 else array


def store(kind: int, address: int, values: np.ndarray) -> None:
    """Write numbers as a type of cuDNN's, rounded to the nearest, ties to even."""
    if kind == 9:
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        matrix(address, 1, values.size, np.uint16)[...] = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).reshape(1, -1)
        return
    dtype = {0: np.float32, 1: np.float64, 2: np.float16}[kind]
    with np.errstate(over="ignore"):
        matrix(address, 1, values.size, dtype)[...] = values.reshape(1, -1)


class FakeCublas(FakeLibrary):
    """The functions of cuBLAS that are called, column-major as it is."""

    @staticmethod
    def cublasGetStatusString(status: int) -> bytes:
        return b"CUBLAS_STATUS_FAKE"

    on_stream = ("cublasSgemm_v2", "cublasDgemm_v2", "cublasGemmEx")

    def create(self, out: Any) -> None:
        out.value = 1

    def get_version(self, handle: int, out: Any) -> None:
        out.value = 130200

    def gemm(self, dtype, handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc) -> None:
        def column_major(address: int, rows: int, columns: int, pitch: int) -> np.ndarray:
            assert pitch >= rows
            return matrix(address, columns, pitch, dtype)[:, :rows].T

        left = column_major(a, k, m, lda).T if ta else column_major(a, m, k, lda)
        right = column_major(b, n, k, ldb).T if tb else column_major(b, k, n, ldb)
        out = column_major(c, m, n, ldc)
        product = alpha.value * (left @ right)
        out[...] = product + beta.value * out if beta.value else product

    def gemm_ex(self, handle, ta, tb, m, n, k, alpha, a, kind, lda, b, b_kind, ldb, beta, c, c_kind, ldc, sum_in, how):
        """Products of 16-bit numbers, summed in float32: the matrices are put where `gemm` can read them."""
        assert (b_kind, c_kind, sum_in, how) == (kind, 0, 68, -1)
        whole = [(a, lda, m if ta else k), (b, ldb, k if tb else n)]
        wide = [
            np.ascontiguousarray(load({2: 2, 14: 9}[kind], address, (ld, columns))) for address, ld, columns in whole
        ]
        left, right = (array.ctypes.data for array in wide)
        self.gemm(np.float32, handle, ta, tb, m, n, k, alpha, left, lda, right, ldb, beta, c, ldc)

    functions = {
        "cublasGemmEx": ("piiiiinpiipiinpiiii", gemm_ex),
        "cublasCreate_v2": ("n", create),
        "cublasSetStream_v2": ("pp", None),
        "cublasSetWorkspace_v2": ("pps", None),
        "cublasSetMathMode": ("pi", None),
        "cublasGetVersion_v2": ("pn", get_version),
        "cublasSgemm_v2": ("piiiiinpipinpi", lambda self, *a: self.gemm(np.float32, *a)),
        "cublasDgemm_v2": ("piiiiinpipinpi", lambda self, *a: self.gemm(np.float64, *a)),
    }


class FakeCudnn(FakeLibrary):
    """The functions of cuDNN that are called; descriptors are numbers into a list of what was set."""

    on_stream = ("cudnnConvolutionForward", "cudnnConvolutionBackwardData", "cudnnConvolutionBackwardFilter")
    on_stream += ("cudnnConvolutionBackwardBias", "cudnnAddTensor")

    def __init__(self, gpu: EmulatedGpu, deterministic: bool = True):
        super().__init__(gpu)
        self.set: list[list[int]] = [[]]
        self.deterministic = deterministic
        self.cudnnGetVersion = lambda: 92800
        self.cudnnGetErrorString = lambda status: b"CUDNN_STATUS_FAKE"

    def create(self, out: Any) -> None:
        self.set.append([])
        out.value = len(self.set) - 1

    def settle(self, descriptor: int, *settings: int) -> None:
        self.set[descriptor] += settings

    def choose(
        self, handle: int, first: int, second: int, third: int, fourth: int, wanted: int, count: Any, found: Any
    ) -> None:
        count.value = 3
        for place, (status, determinism, memory) in enumerate([(9, 1, 0), (0, 0, 0), (0, self.deterministic, 1000)]):
            found[place].number, found[place].status = place, status
            found[place].determinism, found[place].memory = int(determinism), memory

    def set_tensor(self, descriptor: int, layout: int, kind: int, *shape: int) -> None:
        assert layout == 0
        self.set[descriptor] = [kind, *shape]

    def set_filter(self, descriptor: int, kind: int, layout: int, *shape: int) -> None:
        self.set_tensor(descriptor, layout, kind, *shape)

    def array(self, descriptor: int, address: int) -> np.ndarray:
        """The tensor or filter at an address."""
        kind, *shape = self.set[descriptor]
        return load(kind, address, shape)

    def windows(self, x: np.ndarray, w: np.ndarray, convolution: int, output: tuple[int, ...]):  # type: ignore[no-untyped-def]
        """(tap, slices of padded x that it meets), and the padding."""
        ph, pw, sh, sw, dh, dw, mode, _, group, math = self.set[convolution]
        assert mode == 1 and math == self.math
        taps = [
            (
                r,
                c,
                (
                    slice(r * dh, r * dh + sh * (output[0] - 1) + 1, sh),
                    slice(c * dw, c * dw + sw * (output[1] - 1) + 1, sw),
                ),
            )
            for r in range(w.shape[2])
            for c in range(w.shape[3])
        ]
        return taps, (ph, pw), group

    def convolve(
        self, direction, handle, alpha, first, a, second, b, convolution, algorithm, space, size, beta, third, c
    ) -> None:
        assert algorithm == 2 and size == 1000 and space
        ends = [self.array(d, p) for d, p in ((first, a), (second, b), (third, c))]
        x, w, y = {"forward": (0, 1, 2), "data": (2, 0, 1), "filter": (0, 2, 1)}[direction]
        x, w, y = ends[x], ends[w], ends[y]
        self.math = 1 if self.set[first][0] in (2, 9) else 3  # tensor cores for 16 bits, else true fp32
        out, total = ends[2], np.zeros_like(ends[2])
        taps, (ph, pw), group = self.windows(x, w, convolution, y.shape[2:])
        padded = np.pad(x if direction != "data" else total, [(0, 0), (0, 0), (ph, ph), (pw, pw)])
        ins, outs = x.shape[1] // group, y.shape[1] // group
        for g in range(group):
            i, o = slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs)
            for r, col, where in taps:
                if direction == "forward":
                    total[:, o] += np.einsum("nchw,oc->nohw", padded[(slice(None), i, *where)], w[o, :, r, col])
                elif direction == "data":
                    padded[(slice(None), i, *where)] += np.einsum("nohw,oc->nchw", y[:, o], w[o, :, r, col])
                else:
                    total[o, :, r, col] += np.einsum("nchw,nohw->oc", padded[(slice(None), i, *where)], y[:, o])
        if direction == "data":
            total = padded[:, :, ph : ph + x.shape[2], pw : pw + x.shape[3]]
        store(self.set[third][0], c, alpha.value * total + (beta.value * out if beta.value else 0))

    def add_tensor(self, handle, alpha, a, bias, beta, c, y) -> None:
        out = self.array(c, y)
        out[...] = alpha.value * self.array(a, bias) + beta.value * out

    def bias_gradient(self, handle, alpha, y, dy, beta, b, db) -> None:
        out = self.array(b, db)
        out[...] = alpha.value * self.array(y, dy).sum((0, 2, 3), keepdims=True) + beta.value * out


KINDS["A"] = lambda a: isinstance(a, ctypes.Array)
KINDS_OF_DESCRIPTORS = ("Tensor", "Filter", "Convolution")
DIRECTIONS = {"Forward": "forward", "BackwardData": "data", "BackwardFilter": "filter"}
FakeCudnn.functions = {
    "cudnnCreate": ("n", FakeCudnn.create),
    "cudnnSetStream": ("pp", None),
    **{f"cudnnCreate{kind}Descriptor": ("n", FakeCudnn.create) for kind in KINDS_OF_DESCRIPTORS},
    "cudnnSetTensor4dDescriptor": ("piiiiii", FakeCudnn.set_tensor),
    "cudnnSetFilter4dDescriptor": ("piiiiii", FakeCudnn.set_filter),
    "cudnnSetConvolution2dDescriptor": ("piiiiiiii", FakeCudnn.settle),
    "cudnnSetConvolutionGroupCount": ("pi", FakeCudnn.settle),
    "cudnnSetConvolutionMathType": ("pi", FakeCudnn.settle),
    **{f"cudnnGetConvolution{name}Algorithm_v7": ("pppppinA", FakeCudnn.choose) for name in DIRECTIONS},
    **{
        f"cudnnConvolution{name}": ("pnpppppipsnpp", partial(lambda what, self, *a: self.convolve(what, *a), direction))
        for name, direction in DIRECTIONS.items()
    },
    "cudnnConvolutionBackwardBias": ("pnppnpp", FakeCudnn.bias_gradient),
    "cudnnAddTensor": ("pnppnpp", FakeCudnn.add_tensor),
}
