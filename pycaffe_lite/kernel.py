"""Kernels: one computation written twice, for numba and for CUDA, with the same name and the same arguments.

A kernel says what happens at ONE index `i` of `over` indices, over raw pointers, exactly like a CUDA
thread; who loops over the indices, and on how many threads, is the backend's business::

    @kernel("x: T*, slope: T, count: int -> y: T*", over="count")
    def relu(i, x, slope, count, y):
        y[i] = x[i] if x[i] > 0 else slope * x[i]

    relu.cuda("y[i] = x[i] > 0 ? x[i] : slope * x[i];")

Arguments in front of the arrow are read, those behind it are written (or updated). Kinds: `T` the
net's element type, `int`, `double`; `T*`, `int*` (int32), `long*` (int64), `byte*` (uint8), `half*` (16 bits,
on a GPU), `double*`.
Calling a kernel launches it: inside `recording(...)` the launch is appended to a plan, elsewhere it
runs at once. An argument named `thread` is filled in by the CPU backend (number of the running thread).
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

T = np.float32
"""In kernels: the element type. A bare literal is a double there (as in C): write `T(0.5)`."""


def where(condition: bool, a: Any, b: Any) -> Any:
    """`condition ? a : b`, the same in Python and in CUDA C."""
    return a if condition else b


_MATH = {name: getattr(math, name) for name in ("exp", "log", "log1p", "sqrt", "tanh", "pow", "fabs", "floor")}
_KINDS = ("T", "int", "double", "T*", "int*", "long*", "byte*", "half*", "double*")
_ITEM = re.compile(r"^(\w+):\s*(\w+\*?)$")


@dataclass(frozen=True)
class Parameter:
    """One argument of a kernel: `kind` as written in the signature, `written` behind the arrow."""

    name: str
    kind: str
    written: bool

    @property
    def is_pointer(self) -> bool:
        return self.kind.endswith("*")


def parse_signature(text: str) -> list[Parameter]:
    """``"x: T*, n: int -> y: T*"`` as parameters; TypeError where it cannot be read."""
    reads, arrow, writes = text.partition("->")
    parameters = []
    for part, written in ((reads, False), (writes, True)):
        for item in filter(None, (piece.strip() for piece in part.split(","))):
            match = _ITEM.match(item)
            if not match or match[2] not in _KINDS:
                raise TypeError(f"kernel signature {text!r}: cannot read {item!r}; kinds are {', '.join(_KINDS)}")
            parameters.append(Parameter(match[1], match[2], written))
    if not arrow:
        raise TypeError(f"kernel signature {text!r}: no '->', so nothing is written")
    return parameters


class Launcher(Protocol):
    """Whatever can take a launch: a plan being recorded, or a device that runs it at once."""

    device: Any

    def launch(self, kernel: Kernel, args: tuple[Any, ...]) -> None: ...


@dataclass(frozen=True)
class CudaTwin:
    """The CUDA body of a kernel; `over` counts threads, or blocks of `block` threads when that is given."""

    body: str
    over: str
    block: int | None = None


class Kernel:
    """A function of one index, and the CUDA body that must agree with it."""

    every: ClassVar[list[Kernel]] = []  # all that have been made, for `caffe-lite warmup`

    def __init__(self, function: Callable[..., None], signature: str, over: str, work: str, any_order: bool = False):
        self.function, self.name, self.any_order = function, function.__name__, any_order
        self.parameters = parse_signature(signature)
        self.over, self.work = over, work
        self._count = compile(over, f"<over of {self.name}>", "eval")
        self._work = compile(work, f"<work of {self.name}>", "eval")
        self.cuda_twin: CudaTwin | None = None
        self.cpu_form: tuple[str, str] | None = None
        self.__doc__ = function.__doc__
        takes = function.__code__.co_varnames[1 : function.__code__.co_argcount]
        if tuple(p.name for p in self.parameters) != takes:
            raise TypeError(f"kernel {self.name}: signature {signature!r} does not name the arguments {takes}")
        Kernel.every.append(self)

    def cuda(self, body: str, over: str | None = None, block: int | None = None) -> None:
        """Give the CUDA twin: a body over `i` (one thread each, or one block of `block` threads each)."""
        self.cuda_twin = CudaTwin(body, over or self.over, block)

    def cpu(self, module: str, function: str) -> None:
        """Name a function of a module in `backend.cpu` that launches a faster form for float32, of the same results.

        It takes the kernel's arguments, and returns whether it has launched anything.
        """
        self.cpu_form = module, function

    def grid(self, args: tuple[Any, ...]) -> tuple[int, int]:
        """How many indices these arguments make, and how much work (elementary operations) one is."""
        sizes = {p.name: a for p, a in zip(self.parameters, args) if p.kind == "int"}
        return eval(self._count, {}, sizes), eval(self._work, {}, sizes)

    def __call__(self, *args: Any) -> None:
        if len(args) != len(self.parameters):
            raise TypeError(f"kernel {self.name} takes {len(self.parameters)} arguments, got {len(args)}")
        current_launcher().launch(self, args)

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


def kernel(
    signature: str, over: str = "count", work: str = "1", any_order: bool = False
) -> Callable[[Callable[..., None]], Kernel]:
    """Make a Kernel of a function; `over` and `work` are expressions in its integer arguments.

    With `any_order` the compiler may add up the sums inside in another order than written (one order, for
    good), which lets it use vectors: about six times as fast.
    """
    return lambda function: Kernel(function, signature, over, work, any_order)


class DeviceFunction:
    """A helper that kernels call: plain Python here, compiled into each kernel that uses it."""

    def __init__(self, function: Callable[..., Any], inline: bool = False):
        self.function, self.__doc__, self.__name__ = function, function.__doc__, function.__name__
        self.inline = inline
        self.cuda_source: str | None = None

    def cuda(self, source: str) -> None:
        """Give the CUDA source, a whole `__device__` function of the same name."""
        self.cuda_source = source

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


def device_function(function: Callable[..., Any]) -> DeviceFunction:
    """Mark a function as callable from kernels."""
    return DeviceFunction(function)


def inline_function(function: Callable[..., Any]) -> DeviceFunction:
    """The same for one so small that it is copied to wherever it is called."""
    return DeviceFunction(function, inline=True)


_LITERAL = re.compile(r"(?<![\w.])(\d+\.?\d*(?:[eE][+-]?\d+)?)(?![\w.])")


def typed_literals(formula: str) -> str:
    """The formula with its numbers as T(...), which both languages read as the element type."""
    return _LITERAL.sub(r"T(\1)", formula)


def expression(name: str, writes: str, reads: str, formula: str, constants: str = "") -> Kernel:
    """An elementwise kernel from one formula legal in Python and in CUDA C (`where(c, a, b)`, no `**`).

    The kernel takes the read arrays, the constants (scalars of type T), the count, and the written array.
    """
    arrays, scalars = reads.split(), constants.split()
    signature = ", ".join([f"{a}: T*" for a in arrays] + [f"{c}: T" for c in scalars] + ["count: int"])
    indexed = formula
    for array in arrays:
        indexed = re.sub(rf"\b{array}\b", f"{array}[i]", indexed)
    in_python = typed_literals(indexed)
    source = f"def {name}(i, {', '.join([*arrays, *scalars, 'count', writes])}):\n    {writes}[i] = {in_python}\n"
    space: dict[str, Any] = {"__name__": __name__, "T": T, "where": where, **_MATH}
    if re.search(r"tanh\(|exp\(|log\(", formula):  # on the CPU polynomials, so that the loop vectorises
        from .squash import exponential, log_one_more, logarithm, tanh

        space.update(tanh=tanh, exp=exponential, log=logarithm, log1p=log_one_more)  # no log1p of more than 1
    exec(compile(source, f"<formula of {name}>", "exec"), space)
    made = Kernel(
        space[name],
        f"{signature} -> {writes}: T*",
        "count",
        str(1 + 8 * bool(re.search(r"[a-z]\(", formula))),
    )
    made.cuda(f"{writes}[i] = {in_python};")
    made.formula, made.source = formula, source  # type: ignore[attr-defined]
    return made


class _Stack(threading.local):
    def __init__(self) -> None:
        self.launchers: list[Launcher] = []


_stack = _Stack()


def current_launcher() -> Launcher:
    """The plan being recorded in this thread, or else the CPU, which runs launches at once."""
    if _stack.launchers:
        return _stack.launchers[-1]
    from .backend.cpu.program import EAGER

    return EAGER


@contextmanager
def recording(launcher: Launcher) -> Iterator[None]:
    """Send every launch made in this block (and thread) to `launcher`."""
    _stack.launchers.append(launcher)
    try:
        yield
    finally:
        _stack.launchers.pop()
