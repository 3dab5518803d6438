"""Numbers of 16 bits for products and convolutions: float16 or bfloat16, made of float32 and turned back.

Weights, gradients and all other values stay float32. What a product reads is rounded to the nearest 16-bit number,
ties to even; it is summed in float32. No headers are used, so that g++ reads the sources too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernel import current_launcher, device_function
from .source import CudaKernel

CODES = {"fp16": 0, "bf16": 1}  # what kernels call them
CUDA_TYPES = {"fp16": 2, "bf16": 14}  # cudaDataType_t
CUDNN_TYPES = {"fp16": 2, "bf16": 9}  # cudnnDataType_t


@device_function
def to_half(x, brain):  # type: ignore[no-untyped-def]
    """The 16 bits of the float16 (or bfloat16) next to x."""


to_half.cuda("""
__device__ unsigned short to_half(float x, int brain) {
    unsigned bits = *(unsigned*)&x, sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (brain) {
        if (size > 0x7f800000u) return sign | 0x7fc0u;  // NaN
        return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
    if (size > 0x7f800000u) return sign | 0x7e00u;
    if (size >= 0x477ff000u) return sign | 0x7c00u;  // rounds to infinity
    if (size < 0x38800000u) {  // below 2^-14: a multiple of 2^-24, the last bit of numbers from 1/2 to 1
        float shifted = *(float*)&size + 0.5f;
        return (unsigned short)(sign | (*(unsigned*)&shifted - 0x3f000000u));
    }
    return (unsigned short)(sign | ((size + 0xc8000fffu + (size >> 13 & 1u)) >> 13));
}
""")


@device_function
def from_half(bits, brain):  # type: ignore[no-untyped-def]
    """The float32 that 16 bits stand for."""


from_half.cuda("""
__device__ float from_half(unsigned short half, int brain) {
    unsigned sign = (half & 0x8000u) << 16, size = half & 0x7fffu, bits;
    if (brain) bits = (unsigned)half << 16;
    else if (size >= 0x7c00u) bits = sign | 0x7f800000u | (size & 0x3ffu) << 13;
    else if (size >= 0x400u) bits = sign | ((size << 13) + 0x38000000u);
    else {
        float value = size * 5.9604644775390625e-8f;  // 2^-24
        bits = sign | *(unsigned*)&value;
    }
    return *(float*)&bits;
}
""")

NAMES = {"to_half": to_half, "from_half": from_half}

narrow = CudaKernel(
    "narrow",
    "x: T*, brain: int, count: int -> out: half*",
    "out[i] = to_half(x[i], brain);",
    over="count",
    block=None,
    names=NAMES,
)

widen = CudaKernel(
    "widen",
    "x: half*, brain: int, accumulate: int, bias: T*, channels: int, size: int, relu: int, count: int -> y: T*",
    """
    T value = from_half(x[i], brain);
    if (bias) value += bias[i / size % channels];
    if (relu && value < 0) value = 0;
    y[i] = accumulate ? y[i] + value : value;
    """,
    over="count",
    block=None,
    names=NAMES,
)


class Halves:
    """16-bit copies of arrays, one behind the other in a workspace of the device; each recipe begins with a new one."""

    ALIGNMENT = 128  # elements: cuBLAS and cuDNN want addresses of 16 bytes, and like those of 256

    def __init__(self, precision: str, *counts: int):
        self.code, self._counts, self._used = CODES[precision], counts, 0
        rounded = [self._rounded(count) for count in counts]
        self._space = current_launcher().device.workspace(sum(rounded), np.uint16)

    def _rounded(self, count: int) -> int:
        return -(-count // self.ALIGNMENT) * self.ALIGNMENT

    def room(self, count: int) -> Any:
        """Room for so many numbers."""
        start = self._used
        self._used += self._rounded(count)
        return self._space[start : start + count]

    def of(self, array: Any) -> Any:
        """Record how an array is rounded; returns where it will be."""
        out = self.room(array.size)
        narrow(array, self.code, array.size, out)
        return out

    def back(
        self, half: Any, out: Any, accumulate: bool = False, bias: Any = None, relu: bool = False, size: int = 1
    ) -> None:
        """Record how an array becomes float32 again: plus a bias for each channel of `size` values, then ReLU."""
        channels = 1 if bias is None else bias.size
        widen(half, self.code, int(accumulate), bias, channels, size, int(relu), out.size, out)
