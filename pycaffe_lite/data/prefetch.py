"""Preparing batches in a background thread while the net computes."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_STOP = object()

# What to do with one batch: its number, and a batch that is no longer used, to be filled again (or None).
Produce = Callable[[int, T | None], T]


class Prefetcher(Generic[T]):
    """Hands out ``produce(0, ...)``, ``produce(1, ...)`` and so on, prepared ahead by one daemon thread.

    Up to ``depth`` batches wait besides the one in the consumer's hands; with depth 0 there is no
    thread and each batch is made when asked for. `produce` must not refer to the prefetcher, or
    neither would ever be freed.
    """

    def __init__(self, produce: Produce[T], depth: int = 4, first: int = 0) -> None:
        self._produce = produce
        self._depth = depth
        self.restart(first)

    def restart(self, first: int) -> None:
        """Drop what was prepared and go on from batch ``first``."""
        self.close()
        self.position = first  # number of the batch that `next` gives
        self._current: T | None = None
        self._error: BaseException | None = None
        if self._depth:
            self._start()

    def _start(self) -> None:
        self._spare: SimpleQueue[Any] = SimpleQueue()
        self._ready: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self._depth):
            self._spare.put(None)
        self._thread = threading.Thread(
            target=_work,
            args=(self._produce, self.position, self._spare, self._ready),
            name="caffe-lite prefetch",
            daemon=True,
        )
        self._thread.start()
        _running[self._thread] = self._spare
        # When the prefetcher is collected, the thread is told to stop but not waited for: the collector may
        # run anywhere, even in that thread, or where a lock is held that the thread needs to get to its end.
        self._finish = weakref.finalize(self, _tell_to_stop, self._spare)

    def next(self) -> T:
        """The next batch, valid until the next call; errors of the thread are raised here."""
        if self._error is not None:
            raise self._error
        if self._depth:
            self._current, self._error = self._exchange(self._current)
            if self._error is not None:
                raise self._error
        else:
            self._current = self._produce(self.position, self._current)
        self.position += 1
        return self._current

    def _exchange(self, used: T | None) -> tuple[T, BaseException | None]:
        """Give the used batch back to the thread and take a prepared one."""
        if not self._finish.alive:
            raise ValueError("the prefetcher is closed")
        if used is not None:
            self._spare.put(used)
        return self._ready.get()

    def close(self) -> None:
        """Stop the thread and wait for it: as long as one batch takes, at most."""
        if hasattr(self, "_finish"):
            self._finish()
            if self._thread is not threading.current_thread():
                self._thread.join()


def _work(produce: Produce[T], number: int, spare: SimpleQueue[Any], ready: SimpleQueue[Any]) -> None:
    """The thread: fill spare batches until told to stop, or until something goes wrong."""
    while (batch := spare.get()) is not _STOP:
        try:
            batch = produce(number, batch)
        except BaseException as error:  # the consumer raises it, whatever it is
            ready.put((None, error))
            return
        ready.put((batch, None))
        number += 1


_running: weakref.WeakKeyDictionary[threading.Thread, SimpleQueue[Any]] = weakref.WeakKeyDictionary()


def _tell_to_stop(spare: SimpleQueue[Any]) -> None:
    """Let a thread end after the batch it is at."""
    try:
        while True:
            spare.get_nowait()
    except Empty:
        spare.put(_STOP)


@atexit.register
def _stop_all() -> None:
    """Before the interpreter goes: no thread may be inside a library by then."""
    running = list(_running.items())
    for _, spare in running:
        _tell_to_stop(spare)
    for thread, _ in running:
        thread.join()
