"""Many kernels to compile: numba does one after the other in a process, so several processes share the work.

Kernels are Python functions, some made on the fly, which cannot be sent to another process: helpers are forked. They
and this process take kernels from one queue, a pipe. What a helper does not deliver, for whatever reason, is
compiled here: helpers make it faster, and nothing depends on them.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress

from . import pool, quota
from .native import Code

Found = tuple[str, bytes]  # symbol and object code

EACH = 3  # kernels that a process should have to compile, to be worth its start
MOST = 8  # processes
PATIENCE = 10.0  # seconds that a helper may take for its last kernel


def compile_all(codes: Sequence[Code]) -> Iterator[tuple[Code, Found]]:
    """Compile all of these; each comes as soon as it is there."""
    numbers, found = iter(range(len(codes))), dict[int, Found]()
    count = min(MOST, pool.threads(), quota.processors(), len(codes) // EACH) - 1
    helpers: list[Helper] = []
    queue = -1
    try:
        if count > 0 and sys.platform.startswith("linux"):
            queue, numbers = _queue(len(codes))
            helpers = [helper for helper in (_start(codes, numbers) for _ in range(count)) if helper]
        done = set[int]()
        for number in numbers:
            yield codes[number], codes[number].compile()
            done.add(number)
        deadline = time.monotonic() + PATIENCE
        for helper in helpers:
            found |= helper.delivered(deadline)
    finally:
        for helper in helpers:
            helper.close()
        if queue >= 0:
            os.close(queue)
    for number in set(range(len(codes))) - done:
        yield codes[number], found.get(number) or codes[number].compile()


def _queue(count: int) -> tuple[int, Iterator[int]]:
    """A pipe that holds so many numbers, and those that are taken from it here. (Each read of it is atomic.)"""
    queue, end = os.pipe()
    with os.fdopen(end, "wb", 0) as file:
        file.write(b"".join(number.to_bytes(2, "little") for number in range(count)))
    taken = iter(lambda: os.read(queue, 2), b"")
    return queue, (int.from_bytes(two, "little") for two in taken)


def _start(codes: Sequence[Code], numbers: Iterator[int]) -> Helper | None:
    """Fork a helper; None where the system refuses one."""
    from numba.core.compiler_lock import global_compiler_lock

    from . import compile as _  # noqa: F401  (here, so that not every helper has to import it)

    try:
        results = os.memfd_create("caffe-lite-kernels")
    except OSError:
        return None
    main = os.getpid()
    # A thread that is in the midst of compiling would be gone in the helper, its lock taken for ever.
    with global_compiler_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads and fork: see above
        try:
            process = os.fork()
        except OSError:
            os.close(results)
            return None
    if process:
        return Helper(process, results)
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the main process, which ends this one
        for number in numbers:
            if os.getppid() != main:  # it has been killed
                break
            content = pickle.dumps((number, codes[number].compile()))
            os.write(results, len(content).to_bytes(4, "little") + content)
    finally:
        os._exit(0)  # if something is wrong with a kernel, the main process finds it, and says so


class Helper:
    """A process that compiles, and the file in memory that it writes to."""

    def __init__(self, process: int, results: int):
        self.process, self.results, self.is_running = process, results, True

    def delivered(self, deadline: float) -> dict[int, Found]:
        """What it has compiled when it has ended; it is ended at the deadline."""
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(0.002)
        self.end()
        found, at = dict[int, Found](), 0
        with os.fdopen(os.dup(self.results), "rb") as file:
            content = file.seek(0) or file.read()
        while at < len(content):
            size = int.from_bytes(content[at : at + 4], "little")
            with suppress(EOFError, pickle.UnpicklingError):  # cut off: it has been ended
                number, result = pickle.loads(content[at + 4 : at + 4 + size])
                found[number] = result
            at += 4 + size
        return found

    def has_ended(self) -> bool:
        """Whether it has; then its remains are gone, too."""
        if self.is_running:
            with suppress(ChildProcessError):  # somebody else waits for all children of this process
                self.is_running = os.waitpid(self.process, os.WNOHANG)[0] == 0
                return not self.is_running
            self.is_running = False
        return True

    def end(self) -> None:
        """End it."""
        if self.is_running:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
            self.is_running = False

    def close(self) -> None:
        """End it, and let go of its file."""
        self.end()
        os.close(self.results)
