"""`caffe-lite doctor`: what this machine has for caffe-lite, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..errors import CaffeError

GOOD, MISSING, BAD = "ok", "--", "!!"
NEEDED = ("numpy", "protobuf", "numba", "llvmlite", "lmdb", "rich")
OPTIONAL = {
    "pillow": ("images", "databases and lists of encoded images"),
    "h5py": ("hdf5", "weights and data in HDF5"),
}


class Finding(NamedTuple):
    """One line of the report; a bad one means that something cannot work."""

    mark: str
    what: str
    told: str


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "doctor",
        help="what this machine has for caffe-lite, and what is missing",
        description="Look over the installation: packages, processor, kernel cache, GPU and its libraries. "
        "Exit status 1 if something that is needed does not work.",
        epilog="Example: caffe-lite doctor",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print all findings."""
    failed = False
    for examine in (packages, processor, gpu):
        for finding in examine():
            print(f"[{finding.mark}] {finding.what:<16} {finding.told}")
            failed |= finding.mark == BAD
    return int(failed)


def packages() -> Iterator[Finding]:
    """Python, and the packages that are needed or of use."""
    from .. import __version__

    yield Finding(GOOD, "caffe-lite", f"{__version__}, Python {platform.python_version()}")
    for name in NEEDED:
        found = installed(name)
        yield Finding(GOOD if found else BAD, name, found or "missing: pip install caffe-lite again")
    for name, (extra, use) in OPTIONAL.items():
        found = installed(name)
        told = found or f"not installed; for {use}: pip install 'caffe-lite[{extra}]'"
        yield Finding(GOOD if found else MISSING, name, told)


def installed(package: str) -> str | None:
    """The version of a package, if it is there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> Iterator[Finding]:
    """The processor, the cache, and whether a kernel compiles and runs."""
    from ..backend.cpu import native, pool, processor, vector
    from ..device import CPU

    name, _ = processor.processor()
    kind = "AVX-512" if vector.AVX512 else "AVX2" if vector.AVX2 else platform.machine()
    yield Finding(GOOD, "processor", f"{name} ({kind}), {pool.threads()} threads")
    folder, problem = native.cache_folder(), native.cache_problem()
    kernels = len(list(folder.glob("*.o"))) if folder else 0
    told = f"{folder or 'none'} ({kernels} kernels)"
    if problem:
        told += f" cannot be written ({problem}): set CAFFE_LITE_CACHE to a folder that can be"
    yield Finding(MISSING if problem else GOOD, "kernel cache", told)
    yield tried("CPU kernels", lambda: computes(CPU))


def gpu() -> Iterator[Finding]:
    """The GPU, CuPy, NVIDIA's libraries, and whether a kernel compiles, runs and is captured."""
    from .. import device
    from ..backend.gpu import device as cuda

    try:
        found: Any = device.gpu()
    except CaffeError as error:
        yield Finding(MISSING, "GPU", str(error).partition(", but ")[2])
        return
    runtime = found.cupy.cuda.runtime
    versions = cuda.version(runtime.runtimeGetVersion()), cuda.version(runtime.driverGetVersion())
    yield Finding(GOOD, "CuPy", f"{found.cupy.__version__}, CUDA {versions[0]}, driver for CUDA {versions[1]}")
    for number in range(runtime.getDeviceCount()):
        p = runtime.getDeviceProperties(number)
        told = f"{p['name'].decode()}, {p['totalGlobalMem'] / 2**30:.0f} GB, sm_{p['major']}{p['minor']}"
        yield Finding(GOOD, f"GPU {number}", told)
    without = "not installed: our own kernels compute"
    blas = f"version {found.blas.version}" if found.blas else f"{without} matrix products; {cuda.INSTALL}"
    yield Finding(GOOD if found.blas else MISSING, "cuBLAS", blas)
    dnn = f"version {found.dnn.version}" if found.dnn else f"{without} convolutions; {cuda.INSTALL_CUDNN}"
    yield Finding(GOOD if found.dnn else MISSING, "cuDNN", dnn)
    yield tried("GPU kernels", lambda: computes(found))


def computes(device: Any) -> str:
    """Run a kernel and a matrix product three times (on a GPU: eagerly, captured, replayed), and upload batches."""
    from .. import ops
    from ..device import fetch
    from ..kernel import recording

    start = time.perf_counter()
    a, out = device.upload(np.full((8, 8), 0.5, np.float32)), device.zeros(64, np.float32)
    program = device.program(np.float32)
    with recording(program):
        ops.fill(1, 64, out)
        ops.gemm(a, a, out, 8, 8, 8, accumulate=True)
    for _ in range(3):
        program.run()
    if not np.array_equal(fetch(out), np.full(64, 3, np.float32)):
        raise ArithmeticError("a kernel and a matrix product gave wrong values")
    if device.asynchronous:
        feed = device.feed(out, None)
        for batch in range(5):
            feed.put(np.full(64, batch, np.float32))
        if not np.array_equal(fetch(out), np.full(64, 4, np.float32)):
            raise ArithmeticError("uploads arrive late, or in the wrong order")
    return f"compile, run and give the right values ({1e3 * (time.perf_counter() - start):.0f} ms)"


def tried(what: str, attempt: Callable[[], str]) -> Finding:
    """What came of an attempt."""
    try:
        return Finding(GOOD, what, attempt())
    except Exception as error:
        return Finding(BAD, what, f"do not work: {type(error).__name__}: {error}")
