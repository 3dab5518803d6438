"""`caffe-lite device_query`: what the GPUs of this machine are."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import ConfigError

# Caffe's lines: what they say, and the name of the value in CUDA's cudaDeviceProp.
LINES = [
    ("Major revision number:", "major"),
    ("Minor revision number:", "minor"),
    ("Name:", "name"),
    ("Total global memory:", "totalGlobalMem"),
    ("Total shared memory per block:", "sharedMemPerBlock"),
    ("Total registers per block:", "regsPerBlock"),
    ("Warp size:", "warpSize"),
    ("Maximum memory pitch:", "memPitch"),
    ("Maximum threads per block:", "maxThreadsPerBlock"),
    ("Maximum dimension of block:", "maxThreadsDim"),
    ("Maximum dimension of grid:", "maxGridSize"),
    ("Clock rate:", "clockRate"),
    ("Total constant memory:", "totalConstMem"),
    ("Texture alignment:", "textureAlignment"),
    ("Concurrent copy and execution:", "deviceOverlap"),
    ("Number of multiprocessors:", "multiProcessorCount"),
    ("Kernel execution timeout:", "kernelExecTimeoutEnabled"),
]
YES_OR_NO = ("deviceOverlap", "kernelExecTimeoutEnabled")


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "device-query",
        aliases=["device_query"],
        help="what the GPUs of this machine are",
        description="Print what CUDA tells about the GPUs. caffe-lite doctor says what is missing if there are none.",
        epilog="Example: caffe-lite device-query --gpu 0",
    )
    parser.add_argument("--gpu", default="all", metavar="N", help="the number of one GPU (default: all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the GPUs asked for."""
    from ..backend.gpu.device import import_cupy

    runtime = import_cupy().cuda.runtime
    count = runtime.getDeviceCount()
    if args.gpu != "all" and not (args.gpu.isdecimal() and int(args.gpu) < count):
        raise ConfigError(f"--gpu: must be the number of a GPU, below {count}, or all, got {args.gpu!r}")
    for number in range(count) if args.gpu == "all" else [int(args.gpu)]:
        print(f"{'Device id:':<31}{number}")
        properties = runtime.getDeviceProperties(number)
        for title, name in LINES:
            if name in properties:  # each version of CUDA has taken some away
                print(f"{title:<31}{as_text(name, properties[name])}")
    return 0


def as_text(name: str, value: Any) -> str:
    """A property as Caffe prints it."""
    if name in YES_OR_NO:
        return "Yes" if value else "No"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value))
    return value.decode() if isinstance(value, bytes) else str(value)
