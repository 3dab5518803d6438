"""Matrix products by cuBLAS, through ctypes: CuPy refuses to call cuBLAS while a stream is being captured."""

from __future__ import annotations

import ctypes
from typing import Any

from .libraries import Handle, number, pointer

WORKSPACE = 32 << 20  # what NVIDIA recommends for Hopper; a fixed one is what makes calls capturable
NORMAL, TRANSPOSED = 0, 1  # cublasOperation_t
DEFAULT_MATH, TF32_MATH = 0, 3  # cublasMath_t; the default is true fp32
R_32F, COMPUTE_32F, DEFAULT_ALGORITHM = 0, 68, -1  # cudaDataType_t, cublasComputeType_t, cublasGemmAlgo_t
GEMM = {4: "Sgemm_v2", 8: "Dgemm_v2"}


class Cublas(Handle):
    """A handle that puts its work on one stream."""

    def __init__(self, library: Any, stream: int, workspace: int, tf32: bool):
        super().__init__(library, "cublas")
        library.cublasGetStatusString.restype = ctypes.c_char_p
        self.call("Create_v2", ctypes.byref(self.handle))
        self.call("SetStream_v2", self.handle, pointer(stream))
        self.call("SetWorkspace_v2", self.handle, pointer(workspace), ctypes.c_size_t(WORKSPACE))  # behind SetStream
        self.call("SetMathMode", self.handle, TF32_MATH if tf32 else DEFAULT_MATH)

    def explain(self, status: int) -> str:
        return self.library.cublasGetStatusString(status).decode()

    @property
    def version(self) -> str:
        found = ctypes.c_int()
        self.call("GetVersion_v2", self.handle, ctypes.byref(found))
        return f"{found.value // 10000}.{found.value // 100 % 100}.{found.value % 100}"

    def gemm(
        self, dtype: Any, a: int, b: int, out: int, m: int, n: int, k: int,
        trans_a: bool, trans_b: bool, accumulate: bool,
    ) -> None:  # fmt: skip
        """out (m x n) = op(a) op(b), or out += that; row-major, at these addresses."""
        # cuBLAS is column-major: it sees every matrix transposed, so it is asked for out' = op(b)' op(a)'.
        self.call(
            GEMM[dtype.itemsize], self.handle,
            TRANSPOSED if trans_b else NORMAL, TRANSPOSED if trans_a else NORMAL, n, m, k,
            number(1, dtype), pointer(b), k if trans_b else n, pointer(a), m if trans_a else k,
            number(1 if accumulate else 0, dtype), pointer(out), n,
        )  # fmt: skip

    def gemm_of_halves(
        self, kind: int, a: int, b: int, out: int, m: int, n: int, k: int,
        trans_a: bool, trans_b: bool, accumulate: bool,
    ) -> None:  # fmt: skip
        """The same of 16-bit numbers (`kind` is their cudaDataType_t), summed in float32 into a float32 matrix."""
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        self.call(
            "GemmEx", self.handle, TRANSPOSED if trans_b else NORMAL, TRANSPOSED if trans_a else NORMAL, n, m, k,
            ctypes.byref(one), pointer(b), kind, k if trans_b else n, pointer(a), kind, m if trans_a else k,
            ctypes.byref(one if accumulate else zero), pointer(out), R_32F, n, COMPUTE_32F, DEFAULT_ALGORITHM,
        )  # fmt: skip
