"""The one thin module that knows which devices there are; everything else asks it for arrays."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from .errors import ConfigError, DeviceError, DeviceMemoryError
from .geometry import Geometry


class Device(Protocol):
    """What blobs and plans need of a device: memory, copies, and something that runs launches."""

    name: str
    asynchronous: bool
    """Whether a run returns before it is done: then `backend/gpu/gpu.py` says what else the device can do."""
    most_kept_data: int
    """Bytes up to which the set of a data layer is kept on the device, whole."""

    def zeros(self, count: int, dtype: Any) -> Any:
        """A flat array of zeros, 64-byte aligned."""
        ...

    def upload(self, host: np.ndarray) -> Any:
        """A copy of a host array on the device."""
        ...

    def copy_in(self, device_array: Any, host: np.ndarray) -> None: ...

    def copy_out(self, host: np.ndarray, device_array: Any) -> None: ...

    def synchronize(self) -> None:
        """Wait until all that was launched is done."""
        ...

    def program(self, dtype: Any) -> Any:
        """An empty program: `launch` appends to it, `run(first, last)` runs a range of it."""
        ...

    def chain(self, ranges: Sequence[tuple[Any, int, int]]) -> Any:
        """Ranges of programs, each with its first row and the one behind its last; `run()` runs all of them."""
        ...

    def gemm(
        self, a: Any, b: Any, out: Any, m: int, n: int, k: int, trans_a: bool, trans_b: bool, accumulate: bool
    ) -> None:
        """Launch a matrix product (`ops.gemm`)."""
        ...

    def convolution(self, geometry: Geometry) -> Any:
        """What launches the convolutions of a geometry (`ops.Convolution`)."""
        ...

    def joint(self, work: str, args: tuple[Any, ...]) -> bool:
        """Launch one kernel for what this function of `layers._normalize` does in several; False if there is none."""
        ...


class Cpu:
    """The host itself: its arrays are numpy arrays, and nothing is ever copied."""

    name = "CPU"
    asynchronous = False
    most_kept_data = 0

    def zeros(self, count: int, dtype: Any) -> np.ndarray:
        size = int(count) * np.dtype(dtype).itemsize
        try:
            raw = np.zeros(size + 64, np.uint8)  # pages stay absent until they are touched
        except MemoryError:
            self.refuse_too_much(size)
            raise
        start = -raw.ctypes.data % 64
        return raw[start : start + size].view(dtype)

    def refuse_too_much(self, size: int) -> None:
        """DeviceMemoryError for more bytes than there are: the system would promise them, and end us later."""
        from .backend.cpu import quota

        limit = quota.memory()
        if limit is not None and size > limit:
            error = DeviceMemoryError(
                f"{size / 2**20:.1f} MB of memory are needed, and this machine or container has {limit / 2**20:.1f} MB"
            )
            error.available, error.otherwise = limit, "or a machine with more memory"
            raise error

    def upload(self, host: np.ndarray) -> np.ndarray:
        array = self.zeros(host.size, host.dtype)
        array[...] = host.reshape(-1)
        return array.reshape(host.shape)

    def copy_in(self, device_array: np.ndarray, host: np.ndarray) -> None:
        np.copyto(device_array, host)

    def copy_out(self, host: np.ndarray, device_array: np.ndarray) -> None:
        np.copyto(host, device_array)

    def synchronize(self) -> None:
        """Nothing: a run returns when it is done."""

    def program(self, dtype: Any) -> Any:
        from .backend.cpu.program import Program

        return Program(dtype)

    def chain(self, ranges: Sequence[tuple[Any, int, int]]) -> Any:
        from .backend.cpu.program import Chain

        return Chain(ranges)

    def gemm(
        self, a: Any, b: Any, out: Any, m: int, n: int, k: int, trans_a: bool, trans_b: bool, accumulate: bool,
        bias: Any = None, relu: bool = False,
    ) -> None:  # fmt: skip
        from .backend.cpu.gemm import gemm

        pitches = m if trans_a else k, k if trans_b else n
        gemm(trans_a, trans_b, m, n, k, a, pitches[0], b, pitches[1], out, n, accumulate, bias, relu)

    def convolution(self, geometry: Geometry) -> Any:
        from .backend.cpu.convolution import Convolution

        return geometry.copy_as(Convolution)

    def joint(self, work: str, args: tuple[Any, ...]) -> bool:
        from .backend.cpu import norms

        return bool(getattr(norms, work)(*args))


CPU = Cpu()


def fetch(array: Any) -> np.ndarray:
    """The values of an array of any device, on the host: for what is read seldom (state, tables, faults)."""
    return array if isinstance(array, np.ndarray) else array.get()


def put(array: Any, values: Any) -> None:
    """Write values of the host into an array of any device; one number goes to all of it."""
    if isinstance(array, np.ndarray):
        array[...] = values
    else:
        array.set(np.ascontiguousarray(np.broadcast_to(np.asarray(values, array.dtype), array.shape)))


_gpus: dict[tuple[int, tuple[tuple[str, Any], ...]], Device] = {}
_gpu_options: dict[str, Any] = {}


def gpu(number: int = 0) -> Device:
    """The GPU of this number; DeviceError says what is missing, and how to get it."""
    from .backend.gpu.device import CupyGpu

    key = number, tuple(_gpu_options.items())
    if key not in _gpus:
        try:
            _gpus[key] = CupyGpu(number, **_gpu_options)
        except DeviceError as error:
            raise DeviceError(f"GPU {number} asked for, but {error}") from error
    return _gpus[key]


def set_gpu_options(**options: Any) -> None:
    """For GPUs asked for from now on: `captures` (replay captured graphs, the default), `tf32` (rougher, faster),
    `precision` ("fp16", "bf16"), `most_kept_data` (bytes up to which a data layer's set is kept on the device).
    """
    _gpu_options.update(options)


class _Current(threading.local):
    device: Device = CPU


_current = _Current()
_default_number = 0


def current() -> Device:
    """The device that nets made in this thread live on."""
    return _current.device


@contextmanager
def using(device: Device) -> Iterator[None]:
    """Make nets on this device in this block (and thread)."""
    before, _current.device = _current.device, device
    try:
        yield
    finally:
        _current.device = before


@contextmanager
def on_device(name: str) -> Iterator[Device]:
    """Make nets on this device in this block (and thread): "cpu", "gpu" (the one of set_device), "gpu:1" ...

    ConfigError for another name, DeviceError where the GPU is not there. A net stays where it was made.
    """
    kind, _, number = name.partition(":")
    if name != "cpu" and (kind != "gpu" or not (number.isdecimal() or name == "gpu")):
        raise ConfigError(f'on_device: must be "cpu", "gpu" or "gpu:N", got {name!r}')
    device = CPU if name == "cpu" else gpu(int(number) if number else _default_number)
    with using(device):
        yield device


def set_mode_cpu() -> None:
    """Make nets on the CPU from now on (in this thread)."""
    _current.device = CPU


def set_mode_gpu() -> None:
    """Make nets on the GPU from now on (in this thread); DeviceError if there is none."""
    _current.device = gpu(_default_number)


def set_device(number: int) -> None:
    """Choose the GPU that `set_mode_gpu` takes."""
    global _default_number
    _default_number = int(number)
