"""A GPU without a GPU: the CUDA sources run through g++, behind everything that a real one is reached by.

It is as unforgiving as it can be: its memory cannot be touched from the host but by copies, nothing but
launches may happen while a program is captured, and arguments are frozen then. It cannot see races between
threads, nor tell how long anything takes.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from streams import Copies, EmulatedEvent, pinned_like

from pycaffe_lite.backend.gpu.gpu import Gpu
from pycaffe_lite.backend.gpu.source import AnyKernel, cuda_source

SHIM = Path(__file__).with_name("shim.h")
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
# As nvcc does by itself: products and sums become one operation where the processor has it.
FLAGS = ["-x", "c++", "-O2", "-march=native", "-ffp-contract=fast", "-fno-strict-aliasing", "-w"]
FLAGS += ["-shared", "-fPIC", "-fvisibility=hidden"]  # kernels may be called like functions of libc
MORE_FLAGS = os.environ.get("CAFFE_LITE_EMULATOR_FLAGS", "").split()
GUARDED = "-fsanitize=address" in MORE_FLAGS
LIBC = ctypes.CDLL(None)
LIBC.malloc.restype, LIBC.malloc.argtypes, LIBC.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]


class DeviceArray:
    """Memory of the emulated GPU. The host sees it through `get` and `set` alone, as with CuPy's arrays."""

    def __init__(self, device: EmulatedGpu, array: np.ndarray):
        self._device, self._array = device, array

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    ndim = property(lambda self: self._array.ndim)
    flags = property(lambda self: self._array.flags)
    data = property(lambda self: SimpleNamespace(ptr=self._array.ctypes.data, copy_from_host_async=self._copy_async))

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, key: Any) -> DeviceArray:
        view = self._array[key]
        return DeviceArray(self._device, view if isinstance(view, np.ndarray) else self._array[key, ...])

    def reshape(self, *shape: Any) -> DeviceArray:
        return DeviceArray(self._device, self._array.reshape(*shape))

    def view(self, dtype: Any) -> DeviceArray:
        return DeviceArray(self._device, self._array.view(dtype))

    def get(self) -> np.ndarray:
        """A copy on the host."""
        self._device.refuse_while_capturing("a copy to the host")
        self._device.moved.append(("out", self.size))
        return self._array.copy()

    def set(self, host: np.ndarray) -> None:
        """A copy from the host; like CuPy's, it converts nothing and repeats nothing."""
        self._device.refuse_while_capturing("a copy from the host")
        self._device.moved.append(("in", self.size))
        if host.shape != self.shape or host.dtype != self.dtype:
            raise ValueError(f"{host.dtype} {host.shape} for {self.dtype} {self.shape}")
        self._array[...] = host

    def copy(self) -> DeviceArray:
        """Another array with these values."""
        made = self._device.zeros(self.size, self.dtype).reshape(self.shape)
        made[...] = self
        return made

    def __setitem__(self, key: Any, other: DeviceArray) -> None:
        if not isinstance(other, DeviceArray):
            self._refuse()
        self._device.refuse_while_capturing("a copy")
        self._array[key] = other._array

    def _copy_async(self, address: int, size: int, stream: Any) -> None:
        assert stream.name == "copy" and size == self.nbytes
        host = (ctypes.c_char * size).from_address(address)
        self._device.copy_behind(self, np.frombuffer(host, self.dtype))

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("memory of the GPU is not the host's: use get() and set()")

    __array__ = __iter__ = __bool__ = __int__ = __float__ = __index__ = __eq__ = _refuse
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<DeviceArray {self.dtype} {self.shape}>"


class Capture:
    """Launches noted instead of run; as a graph they run, with the arguments of then, whenever it is launched."""

    def __init__(self) -> None:
        self.graph = self
        self.noted: list[Callable[[], None]] = []

    def launch(self) -> None:
        for run in self.noted:
            run()


@dataclass
class Launch:
    """A kernel and its arguments, as they were when it was put on the stream."""

    kernel: AnyKernel
    entry: Any
    blocks: int
    threads: int
    values: list[np.ndarray]
    sizes: list[int]  # bytes of the array behind each argument, 0 for numbers
    copies: Copies

    def run(self) -> None:
        self.call(self.values)

    def call(self, values: list[np.ndarray]) -> None:
        self.copies.used([int(value) for value in self.values if value.dtype == np.uint64])
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        if self.entry(self.blocks, self.threads, pointers):
            raise RuntimeError(f"kernel {self.kernel.name}: some threads of a block wait where others never come")


class GuardedLaunch(Launch):
    """Gives the kernel exact copies of its arrays, so that AddressSanitizer sees where each one ends."""

    def run(self) -> None:
        sizes: dict[int, int] = {}
        for value, size in zip(self.values, self.sizes):
            if size:
                sizes[int(value)] = max(size, sizes.get(int(value), 0))
        copies = {address: LIBC.malloc(size) for address, size in sizes.items()}
        for address, copy in copies.items():
            ctypes.memmove(copy, address, sizes[address])
        arrays = zip(self.values, self.sizes)
        self.call([np.array(copies[int(v)], np.uint64) if size else v for v, size in arrays])
        for parameter, value in zip(self.kernel.parameters, self.values):
            if parameter.written and int(value):
                ctypes.memmove(int(value), copies[int(value)], sizes[int(value)])
        for copy in copies.values():
            LIBC.free(copy)


class EmulatedGpu(Gpu):
    """Implements Gpu. `guarded` is for runs under AddressSanitizer."""

    def __init__(self, captures: bool = True, guarded: bool = GUARDED, most_kept_data: int = 0):
        super().__init__()
        self.most_kept_data = most_kept_data
        self.name, self.captures = "emulated GPU", captures
        self.capturing: Capture | None = None
        self.copies = Copies()
        self.moved: list[tuple[str, int]] = []  # every copy between host and device: which way, how many elements
        self._launch_type = GuardedLaunch if guarded else Launch
        self._sizes: dict[int, int] = {}  # bytes of the array last asked for at an address

    def zeros(self, count: int, dtype: Any) -> DeviceArray:
        self.refuse_while_capturing("an allocation")
        made = np.zeros(count, dtype)
        self.copies.forget(made)
        return DeviceArray(self, made)

    def owns(self, array: Any) -> bool:
        return isinstance(array, DeviceArray) and array._device is self

    def address(self, array: DeviceArray) -> int:
        self._sizes[array.data.ptr] = array.nbytes
        return array.data.ptr

    def launcher(
        self, kernel: AnyKernel, dtype: np.dtype[Any], blocks: int, threads: int, packed: Sequence[np.generic]
    ) -> Callable[[], None]:
        entry = compiled(cuda_source(kernel, dtype.name), kernel.name, len(kernel.parameters) + 1)
        sizes = [self._sizes[int(v)] if p.is_pointer and v else 0 for p, v in zip(kernel.parameters, packed)]
        return partial(self._launch, kernel, entry, blocks, threads, packed, [*sizes, 0])

    def _launch(self, kernel: AnyKernel, entry: Any, blocks: int, threads: int, packed: Any, sizes: list[int]) -> None:
        frozen = [np.array(value) for value in packed]  # now, whenever it will run
        launch = self._launch_type(kernel, entry, blocks, threads, frozen, sizes, self.copies)
        if self.capturing:
            self.capturing.noted.append(launch.run)
        else:
            launch.run()

    @contextmanager
    def stream(self) -> Iterator[None]:
        yield

    @contextmanager
    def capture(self) -> Iterator[Capture]:
        self.capturing = Capture()
        try:
            yield self.capturing
        finally:
            self.capturing = None

    def pinned(self, count: int, dtype: Any) -> np.ndarray:
        self.refuse_while_capturing("an allocation")
        made = pinned_like(count, dtype)
        self.copies.forget(made)
        return made

    def event(self) -> EmulatedEvent:
        return EmulatedEvent(self.copies)

    def copy_behind(self, array: DeviceArray, pinned: np.ndarray) -> None:
        self.refuse_while_capturing("a copy of the host's memory")
        self.moved.append(("behind", array.size))
        self.copies.ask(array._array, pinned)

    def synchronize(self) -> None:
        self.refuse_while_capturing("waiting")

    def refuse_while_capturing(self, what: str) -> None:
        if self.capturing:
            raise RuntimeError(f"{what} while a stream is being captured")


@cache
def compiled(source: str, name: str, count: int) -> Any:
    """The function `(blocks, threads, arguments)` that runs a kernel of this source with `count` parameters."""
    meets = "#define THREADS_MEET\n" if "__syncthreads" in source else ""
    declared = source.split(f"void {name}(")[1].split(")")[0].split(",")
    kinds = [" ".join(p.split()[:-1]) for p in declared]
    assert len(kinds) == count
    call = f"{name}({', '.join(f'*({kind}*)arguments[{n}]' for n, kind in enumerate(kinds))})"
    text = f"""{meets}{SHIM.read_text()}
{source}
static void** arguments;
static void thread() {{ {call}; }}
static int block() {{ RUN_BLOCK(thread()) }}
extern "C" __attribute__((visibility("default"))) int run(unsigned blocks, unsigned threads, void** given) {{
    arguments = given; gridDim.x = blocks; blockDim.x = threads;
    {"body = thread;" if meets else ""}
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) if (block()) return 1;
    return 0;
}}
"""
    entry = ctypes.CDLL(str(shared_object(text))).run
    entry.argtypes = [ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p]
    return entry


def shared_object(text: str) -> Path:
    """C++ compiled, or found where it was compiled before."""
    flags = [*FLAGS, *MORE_FLAGS]
    folder = Path(tempfile.gettempdir()) / f"caffe-lite-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{hashlib.sha256(repr((text, COMPILER, flags)).encode()).hexdigest()[:32]}.so"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            pass
        made = subprocess.run(
            [COMPILER, *flags, "-", "-o", file.name, "-lm"], input=text, text=True, capture_output=True
        )
        if made.returncode:
            raise RuntimeError(f"g++ refuses a kernel:\n{made.stderr}")
        os.replace(file.name, path)
    return path
