"""From a Kernel's CUDA twin to one complete CUDA C source for one element type.

    typedef float T;
    extern "C" __global__ void relu_forward(const T* x, T slope, int count, T* y, int _indices) {
        unsigned _thread = blockIdx.x * blockDim.x + threadIdx.x;
        if (_thread >= _indices) return;
        int i = _thread;
        y[i] = x[i] > 0 ? x[i] : slope * x[i];
    }

No templates and no headers: NVRTC reads it as it is, and so does g++ behind the shim of the tests. A source
holds what its body names and nothing else: constants of the module it was written in, device functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from textwrap import dedent, indent
from typing import Any

import numpy as np

from ...errors import DeviceError
from ...kernel import CudaTwin, DeviceFunction, Kernel, Parameter, current_launcher, parse_signature

THREADS = 256  # of a block, where the twin does not say

POINTED = {"int*": "int", "long*": "long long", "byte*": "unsigned char", "half*": "unsigned short"}
POINTED |= {"double*": "double", "T*": "T"}
DTYPES = {"int*": np.int32, "long*": np.int64, "byte*": np.uint8, "half*": np.uint16, "double*": np.float64}
ELEMENTS = {"float32": "float", "float64": "double"}

_NAME = re.compile(r"\b[A-Za-z_]\w*\b")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


class CudaKernel:
    """A kernel of the GPU backend alone: launched like any other, but without a function for the CPU.

    `names` holds the constants and device functions that the body may use.
    """

    def __init__(self, name: str, signature: str, body: str, over: str, block: int | None, names: Mapping[str, Any]):
        self.name, self.parameters = name, parse_signature(signature)
        self.cuda_twin, self.names = CudaTwin(body, over, block), names

    def __call__(self, *args: Any) -> None:
        if len(args) != len(self.parameters):
            raise TypeError(f"kernel {self.name} takes {len(self.parameters)} arguments, got {len(args)}")
        current_launcher().launch(self, args)  # type: ignore[arg-type]


AnyKernel = Kernel | CudaKernel


def twin_of(kernel: AnyKernel) -> CudaTwin:
    """The CUDA twin of a kernel; DeviceError if nobody wrote one."""
    if kernel.cuda_twin is None:
        raise DeviceError(f"kernel {kernel.name} has no CUDA twin: it computes on the CPU only")
    return kernel.cuda_twin


def block_size(kernel: AnyKernel) -> int:
    """Threads of a block."""
    return twin_of(kernel).block or THREADS


@cache
def _compiled(over: str) -> Any:
    return compile(over, "<over>", "eval")


def grid_size(kernel: AnyKernel, args: tuple[Any, ...]) -> tuple[int, int]:
    """How many indices these arguments make, and how many blocks that takes."""
    twin = twin_of(kernel)
    sizes = {p.name: int(a) for p, a in zip(kernel.parameters, args) if p.kind == "int"}
    indices = int(eval(_compiled(twin.over), {}, sizes))
    return indices, indices if twin.block else -(-indices // THREADS)


@cache
def cuda_source(kernel: AnyKernel, dtype: str) -> str:
    """The whole source of a kernel for this element type (float32 or float64)."""
    twin = twin_of(kernel)
    names = kernel.names if isinstance(kernel, CudaKernel) else kernel.function.__globals__
    parts = [f"typedef {ELEMENTS[dtype]} T;", "#define where(condition, a, b) ((condition) ? (a) : (b))"]
    hidden = {p.name for p in kernel.parameters}
    parts += _definitions(twin.body, names, hidden, set())
    parameters = ", ".join([*map(_declaration, kernel.parameters), "int _indices"])
    start = _BLOCK_START if twin.block else _THREAD_START
    body = indent(dedent(twin.body).strip(), "    ")
    parts.append(f'extern "C" __global__ void {kernel.name}({parameters}) {{\n{start}{body}\n}}\n')
    return "\n".join(parts)


_THREAD_START = """\
    unsigned _thread = blockIdx.x * blockDim.x + threadIdx.x;
    if (_thread >= _indices) return;
    int i = _thread;
"""
_BLOCK_START = """\
    int i = blockIdx.x;
"""


def _declaration(parameter: Parameter) -> str:
    if not parameter.is_pointer:
        return f"{parameter.kind} {parameter.name}"
    return f"{'' if parameter.written else 'const '}{POINTED[parameter.kind]}* {parameter.name}"


def _definitions(text: str, names: Mapping[str, Any], hidden: set[str], done: set[str]) -> list[str]:
    """What has to stand in front of a text: constants and device functions that it names, each once."""
    found = []
    for name in dict.fromkeys(_NAME.findall(_COMMENT.sub("", text))):
        value = names.get(name)
        if name in hidden or name in done:
            continue
        if isinstance(value, DeviceFunction):
            if value.cuda_source is None:
                raise DeviceError(f"device function {name} has no CUDA source: it computes on the CPU only")
            done.add(name)
            found += _definitions(value.cuda_source, value.function.__globals__, {name}, done)
            found.append(value.cuda_source.strip())
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name.isupper():
            done.add(name)
            found.append(f"const {'int' if isinstance(value, int) else 'double'} {name} = {value!r};")
    return found
