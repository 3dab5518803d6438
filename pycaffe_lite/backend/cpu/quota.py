"""How many processors and how much memory this process may really use: a container sees all, and has a part."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
Reader = Callable[[Path], list[float]]


def processors() -> int:
    """Processors this process may run on, but no more than its container's share of time, rounded up."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    share = quota()
    return count if share is None else max(1, min(count, math.ceil(share)))


def memory(groups: Path = GROUPS, own: Path = OWN) -> int | None:
    """Bytes of this machine, but no more than the container's; None where nobody tells."""
    found = _limits("memory", _bytes("memory.max"), _bytes("memory.limit_in_bytes"), groups, own)
    with suppress(AttributeError, OSError, ValueError):  # not on Windows
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return int(min(found)) if found else None


def quota(groups: Path = GROUPS, own: Path = OWN) -> float | None:
    """The smallest share, in processors, that Linux's control groups (of version 2 or 1) set; None without a limit."""
    return min(_limits("cpu", _version_2, _version_1, groups, own), default=None)


def _limits(controller: str, version_2: Reader, version_1: Reader, groups: Path, own: Path) -> list[float]:
    """What each of the groups that this process is in says, from its own up to the root."""
    found = []
    for line in _read(own).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        two = number == "0" and not controllers
        if two or controller in controllers.split(","):
            root = groups if two else groups / controllers
            folder = root / path.lstrip("/")
            # Inside a container the path may be that outside of it: then its own group is the root.
            for place in [root, *(p for p in (folder, *folder.parents) if root in p.parents)]:
                found += version_2(place) if two else version_1(place)
    return found


def _bytes(name: str) -> Reader:
    """A reader of a file that holds a number, or "max"."""

    def read(folder: Path) -> list[float]:
        limit = _read(folder / name).strip()
        return [int(limit)] if limit.isdigit() else []

    return read


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
