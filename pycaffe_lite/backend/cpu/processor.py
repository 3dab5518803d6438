"""Which processor this is: what kernels are cached under, and which vectors it has."""

from __future__ import annotations

import os
import platform
from functools import cache
from itertools import takewhile

X86 = platform.machine() in ("x86_64", "AMD64")
LINUX_SAYS = "/proc/cpuinfo"


@cache
def processor() -> tuple[str, str]:
    """Name and features of the processor that code is made for; NUMBA_CPU_NAME and NUMBA_CPU_FEATURES override.

    Linux tells all that LLVM would go by, without the 40 MB and the time that LLVM takes; elsewhere LLVM is asked.
    """
    name, features = (_told(LINUX_SAYS) if X86 else None) or target()
    return os.environ.get("NUMBA_CPU_NAME") or name, os.environ.get("NUMBA_CPU_FEATURES", features)


def _told(file: str) -> tuple[str, str] | None:
    """What Linux says of the first processor; None where it is not there, or says something else."""
    try:
        with open(file, encoding="ascii", errors="replace") as lines:
            first = takewhile(str.strip, lines)
            said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first)}
        kind = ", ".join(f"{key} {said[key]}" for key in ("vendor_id", "cpu family", "model", "stepping"))
        return f"{said['model name']} ({kind})", ",".join(f"+{flag}" for flag in said["flags"].split())
    except (OSError, KeyError):
        return None


@cache
def target() -> tuple[str, str]:
    """Name and features in LLVM's words, for making code."""
    import llvmlite.binding as llvm

    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    return name, llvm.get_host_cpu_features().flatten() if features is None else features
