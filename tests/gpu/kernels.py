"""Every kernel of the package, found by importing all of it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache

import pycaffe_lite
from pycaffe_lite.backend.gpu.source import AnyKernel, CudaKernel
from pycaffe_lite.kernel import Kernel
from pycaffe_lite.solver import rules

DTYPES = ("float32", "float64")


@cache
def all_kernels() -> dict[str, AnyKernel]:
    """Kernels by "module.name": those of modules and classes, and every update rule with every penalty."""
    found: dict[int, tuple[str, AnyKernel]] = {}
    for info in pkgutil.walk_packages(pycaffe_lite.__path__, "pycaffe_lite."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for kernel in _kernels_in(module, info.name):
            found.setdefault(id(kernel), (home(kernel) or info.name, kernel))
    for name in rules.RULES:
        for penalty in rules.PENALTIES:
            kernel = rules.update_kernel(name, penalty)
            found[id(kernel)] = (f"{rules.__name__}.{penalty}", kernel)
    return {f"{where.removeprefix('pycaffe_lite.')}.{k.name}": k for where, k in found.values()}


def home(kernel: AnyKernel) -> str | None:
    """The module that a kernel was written in; None for a formula."""
    if isinstance(kernel, CudaKernel) or kernel.function.__module__ == "pycaffe_lite.kernel":
        return None
    return kernel.function.__module__


def _kernels_in(module: object, name: str) -> Iterator[AnyKernel]:
    for value in vars(module).values():
        if isinstance(value, (Kernel, CudaKernel)):
            yield value
        elif inspect.isclass(value) and value.__module__ == name:
            yield from (v for v in vars(value).values() if isinstance(v, Kernel))


def on_gpu() -> dict[str, AnyKernel]:
    """The kernels that a GPU is to run: all but those of the CPU backend."""
    return {name: k for name, k in all_kernels().items() if not name.startswith("backend.cpu.")}
