"""How many processors this process may really use: a container can see them all and have half of one."""

from __future__ import annotations

import math
import os
from pathlib import Path


def processors() -> int:
    """Processors this process may run on, but no more than its container's share of time, rounded up."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    share = quota()
    return count if share is None else max(1, min(count, math.ceil(share)))


def quota(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """The smallest share, in processors, that Linux's control groups (of version 2 or 1) set; None without a limit."""
    found = []
    for line in _read(own).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        two = number == "0" and not controllers
        if two or "cpu" in controllers.split(","):
            root = groups if two else groups / controllers
            folder = root / path.lstrip("/")
            # Inside a container the path may be that outside of it: then its own group is the root.
            for place in [root, *(p for p in (folder, *folder.parents) if root in p.parents)]:
                found += _version_2(place) if two else _version_1(place)
    return min(found, default=None)


def _version_2(folder: Path) -> list[float]:
    """From cpu.max: microseconds of a period, or "max"."""
    limit, _, period = _read(folder / "cpu.max").strip().partition(" ")
    return [int(limit) / int(period)] if limit.isdigit() and period.isdigit() and int(period) else []


def _version_1(folder: Path) -> list[float]:
    """From two files; a limit of -1 is none."""
    limit, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return [int(limit) / int(period)] if limit.isdigit() and period.isdigit() and int(period) else []


def _read(path: Path) -> str:
    """A file's text, or nothing."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
