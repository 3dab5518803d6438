"""Convolutions by cuDNN, through ctypes: its NCHW interface is Caffe's own layout.

Math is true fp32 unless TF32 is asked for, and only deterministic algorithms are taken.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError
from ...geometry import Geometry
from ...kernel import current_launcher, expression
from .half import CUDNN_TYPES, Halves
from .libraries import Handle, number, pointer

if TYPE_CHECKING:
    from .gpu import Gpu

NCHW = 0  # cudnnTensorFormat_t
TYPES = {4: 0, 8: 1}  # cudnnDataType_t: float, double
CROSS_CORRELATION = 1  # cudnnConvolutionMode_t
ANY_MATH, TENSOR_MATH, FMA_MATH = 0, 1, 3  # cudnnMathType_t; the first one may use TF32
DETERMINISTIC = 1  # cudnnDeterminism_t
MOST_ALGORITHMS = 16
MOST_WORKSPACE = 512 << 20

rectify = expression("rectify", "y", "x", "where(x > 0, x, 0)")


class Algorithm(ctypes.Structure):
    """cudnnConvolution*AlgoPerf_t: one way to compute a convolution."""

    _fields_ = [
        ("number", ctypes.c_int),
        ("status", ctypes.c_int),
        ("time", ctypes.c_float),
        ("memory", ctypes.c_size_t),
        ("determinism", ctypes.c_int),
        ("math", ctypes.c_int),
        ("reserved", ctypes.c_int * 3),
    ]


class Cudnn(Handle):
    """A handle that puts its work on one stream."""

    def __init__(self, library: Any, stream: int, tf32: bool):
        super().__init__(library, "cudnn")
        library.cudnnGetErrorString.restype = ctypes.c_char_p
        library.cudnnGetVersion.restype = ctypes.c_size_t
        self.math = ANY_MATH if tf32 else FMA_MATH
        self.call("Create", ctypes.byref(self.handle))
        self.call("SetStream", self.handle, pointer(stream))

    def explain(self, status: int) -> str:
        return self.library.cudnnGetErrorString(status).decode()

    @property
    def version(self) -> str:
        found = self.library.cudnnGetVersion()
        return f"{found // 10000}.{found // 100 % 100}.{found % 100}"

    def descriptor(self, kind: str, *settings: Any) -> ctypes.c_void_p:
        """A descriptor: `kind` is Tensor, Filter or Convolution, and what has to be set about it."""
        made = ctypes.c_void_p()
        self.call(f"Create{kind}Descriptor", ctypes.byref(made))
        suffix = "2d" if kind == "Convolution" else "4d"
        self.call(f"Set{kind}{suffix}Descriptor", made, *settings)
        return made

    def algorithm(self, direction: str, *descriptors: ctypes.c_void_p) -> Algorithm:
        """The algorithm that cuDNN expects to be fastest among the deterministic ones that need little memory."""
        found, count = (Algorithm * MOST_ALGORITHMS)(), ctypes.c_int()
        self.call(
            f"GetConvolution{direction}Algorithm_v7", self.handle, *descriptors,
            MOST_ALGORITHMS, ctypes.byref(count), found,
        )  # fmt: skip
        for one in found[: count.value]:
            if not one.status and one.determinism == DETERMINISTIC and one.memory <= MOST_WORKSPACE:
                return one
        raise DeviceError(f"cuDNN has no deterministic algorithm for a convolution ({direction}); use engine: CAFFE")


class CudnnConvolution(Geometry):
    """A convolution of planes (or lines, as planes of height 1) by cuDNN; its methods record calls."""

    def forward(self, x: Any, w: Any, bias: Any, y: Any, relu: bool = False) -> None:
        """y = w * x, plus the bias of each output channel, then ReLU."""
        task = Task(self, x.dtype)
        task.convolve("Forward", (task.x, x), (task.w, w), (task.y, y))
        if bias is not None:
            task.record("AddTensor", task.one, task.bias, bias, task.one, task.y, y)
        if relu:
            rectify(y, y.size, y)

    def backward_data(self, dy: Any, w: Any, dx: Any) -> None:
        """dx = the gradient of x."""
        task = Task(self, dy.dtype)
        task.convolve("BackwardData", (task.w, w), (task.y, dy), (task.x, dx))

    def backward_weights(self, x: Any, dy: Any, dw: Any, accumulate: bool = True) -> None:
        """dw = the gradient of w, added to what is there with `accumulate`."""
        task = Task(self, dy.dtype)
        task.convolve("BackwardFilter", (task.x, x), (task.y, dy), (task.w, dw), accumulate=accumulate)

    def backward_bias(self, dy: Any, db: Any) -> None:
        """db += the gradient of the bias."""
        task = Task(self, dy.dtype)
        task.record("ConvolutionBackwardBias", task.one, task.y, dy, task.one, task.bias, db)


class HalfConvolution(CudnnConvolution):
    """The same with images, weights and gradients rounded to 16 bits, and summed in float32."""

    def forward(self, x: Any, w: Any, bias: Any, y: Any, relu: bool = False) -> None:
        if x.dtype != np.float32:
            super().forward(x, w, bias, y, relu)
            return
        task = Task(self, x.dtype, half=True)
        halves = Halves(task.device.precision, x.size, w.size, y.size)
        out = halves.room(y.size)
        task.convolve("Forward", (task.x, halves.of(x)), (task.w, halves.of(w)), (task.y, out))
        halves.back(out, y, bias=bias, relu=relu, size=self.positions)

    def backward_data(self, dy: Any, w: Any, dx: Any) -> None:
        if dy.dtype != np.float32:
            super().backward_data(dy, w, dx)
            return
        task = Task(self, dy.dtype, half=True)
        halves = Halves(task.device.precision, dy.size, w.size, dx.size)
        out = halves.room(dx.size)
        task.convolve("BackwardData", (task.w, halves.of(w)), (task.y, halves.of(dy)), (task.x, out))
        halves.back(out, dx)

    def backward_weights(self, x: Any, dy: Any, dw: Any, accumulate: bool = True) -> None:
        if dy.dtype != np.float32:
            super().backward_weights(x, dy, dw, accumulate)
            return
        task = Task(self, dy.dtype, half=True)
        halves = Halves(task.device.precision, x.size, dy.size, dw.size)
        out = halves.room(dw.size)
        task.convolve("BackwardFilter", (task.x, halves.of(x)), (task.y, halves.of(dy)), (task.w, out))
        halves.back(out, dw, accumulate=accumulate)


class Task:
    """Descriptors of one convolution, of 16-bit numbers or of the net's, and recording of calls that use them."""

    def __init__(self, of: Geometry, dtype: Any, half: bool = False):
        self.program = current_launcher()
        self.device: Gpu = self.program.device
        self.dnn: Cudnn = self.device.dnn
        computed, make = TYPES[dtype.itemsize], self.dnn.descriptor
        kind = CUDNN_TYPES[self.device.precision] if half else computed
        size, output, kernel, stride, pad, dilation = (
            (*missing, *pair)
            for pair, missing in zip(
                (of.size, of.output, of.kernel, of.stride, of.pad, of.dilation),
                [()] * 6 if len(of.size) == 2 else [(1,), (1,), (1,), (1,), (0,), (1,)],
            )
        )
        self.x = make("Tensor", NCHW, kind, of.batch, of.channels, *size)
        self.y = make("Tensor", NCHW, kind, of.batch, of.outputs, *output)
        self.w = make("Filter", kind, NCHW, of.outputs, of.channels // of.group, *kernel)
        self.bias = make("Tensor", NCHW, kind, 1, of.outputs, 1, 1)
        self.convolution = make("Convolution", *pad, *stride, *dilation, CROSS_CORRELATION, computed)
        self.dnn.call("SetConvolutionGroupCount", self.convolution, of.group)
        self.dnn.call("SetConvolutionMathType", self.convolution, TENSOR_MATH if half else self.dnn.math)
        self.one, self.zero = number(1, dtype), number(0, dtype)

    def convolve(self, direction: str, *ends: tuple[Any, Any], accumulate: bool = False) -> None:
        """Record one of the three convolutions: two inputs and the output, each with its descriptor."""
        (first, a), (second, b), (third, out) = ends
        best = self.dnn.algorithm(direction, first, second, self.convolution, third)
        workspace = self.device.workspace(max(1, best.memory), "uint8")
        beta = self.one if accumulate else self.zero
        self.record(
            f"Convolution{direction}", self.one, first, a, second, b, self.convolution, best.number,
            workspace, ctypes.c_size_t(best.memory), beta, third, out,
        )  # fmt: skip

    def record(self, function: str, *args: Any) -> None:
        """Append a call; arrays among the arguments become their addresses."""
        owns, address = self.device.owns, self.device.address
        given = [pointer(address(a)) if owns(a) else a for a in args]

        def row() -> None:
            self.dnn.call(function, self.dnn.handle, *given)

        self.program.append(row, args, function)
