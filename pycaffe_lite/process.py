"""What pycaffe keeps for the whole process: its log, the ranks of solvers, and a stopwatch."""

from __future__ import annotations

import logging
import time
from typing import Any, NoReturn

from . import device as devices
from .errors import ConfigError, DeviceError
from .logs import log as package_log

LEVELS = logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL  # glog's 0 to 3


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Write what Caffe logs to standard error, in its format, from this level on (0 all, 1 warnings, 2 errors).

    With `stderr` off nothing is written; the records still go to `logging.getLogger("pycaffe_lite")`.
    """
    from .cli.caffe_log import write_log

    if level not in range(len(LEVELS)):
        raise ConfigError(f"init_log: level must be 0 (all), 1 (warnings), 2 (errors) or 3 (fatal ones), got {level!r}")
    if stderr:
        write_log(level=LEVELS[level])
    package_log.setLevel(LEVELS[level])


def log(text: str) -> None:
    """Write a line into Caffe's log."""
    package_log.info("%s", text, stacklevel=2)


class _Solvers:
    count, rank, multiprocess = 1, 0, False


def solver_count() -> int:
    """How many solvers train together (`set_solver_count`)."""
    return _Solvers.count


def set_solver_count(count: int) -> None:
    """Say how many solvers train together, each in a process of its own."""
    if count < 1:
        raise ConfigError(f"set_solver_count: must be at least 1, got {count}")
    _Solvers.count = int(count)


def solver_rank() -> int:
    """Which of the solvers is in this process, from 0 (`set_solver_rank`)."""
    return _Solvers.rank


def set_solver_rank(rank: int) -> None:
    """Say which of the solvers is in this process."""
    if rank < 0:
        raise ConfigError(f"set_solver_rank: must not be negative, got {rank}")
    _Solvers.rank = int(rank)


def set_multiprocess(on: bool) -> None:
    """Say whether the solvers are in processes of their own."""
    _Solvers.multiprocess = bool(on)


def has_nccl() -> bool:
    """Whether gradients can be exchanged between GPUs: not in this package."""
    return False


class NCCL:
    """Caffe's exchange of gradients between GPUs, which is not there: see `has_nccl`."""

    def __init__(self, *arguments: Any):
        self.new_uid()

    @staticmethod
    def new_uid() -> NoReturn:
        """The name that solvers find each other by."""
        raise DeviceError(
            "training on several GPUs (NCCL) is not supported; train on one, with iter_size for more images"
        )


class Timer:
    """A stopwatch that waits for the device: `start()`, `stop()`, `ms`."""

    def __init__(self) -> None:
        self._begin, self._passed = 0.0, 0.0

    def start(self) -> None:
        """Begin to measure."""
        devices.current().synchronize()
        self._begin = time.perf_counter()

    def stop(self) -> None:
        """Note how much time has passed since `start`."""
        devices.current().synchronize()
        self._passed = time.perf_counter() - self._begin if self._begin else 0.0

    @property
    def ms(self) -> float:
        """Milliseconds between `start` and `stop`."""
        return 1000 * self._passed
