"""Preparing batches in a background thread while the net computes."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# What to do with one batch: its number, and a batch that is no longer used, to be filled again (or None).
Produce = Callable[[int, T | None], T]


class Bell:
    """Wakes one thread that waits; rung while nobody waits, it lets the next one through at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.wait = self._lock.acquire

    def ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung
            self._lock.release()


class Shelf:
    """What consumer and thread share: batches in the order of their numbers, the first one in the consumer's hands.

    Ctrl-C may end what the consumer does between any two steps. So nothing is counted but what lies here, both
    sides look before they wait, and what is lost on the way is made anew.
    """

    def __init__(self) -> None:
        self.ready: deque[tuple[int, Any, BaseException | None]] = deque()
        self.spare: deque[Any] = deque()  # to be filled again
        self.come, self.room = Bell(), Bell()
        self.stopped = False

    def stop(self) -> None:
        """Let the thread end after the batch it is at."""
        self.stopped = True
        self.room.ring()


class Prefetcher(Generic[T]):
    """Hands out ``produce(0, ...)``, ``produce(1, ...)`` and so on, prepared ahead by one daemon thread.

    There are up to ``depth`` batches, that in the consumer's hands included; with depth 0 there is no
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
        self._shelf = Shelf()
        self._thread = threading.Thread(
            target=_work,
            args=(self._produce, self.position, self._depth, self._shelf),
            name="caffe-lite prefetch",
            daemon=True,
        )
        self._thread.start()
        _running[self._thread] = self._shelf
        # When the prefetcher is collected, the thread is told to stop but not waited for: the collector may
        # run anywhere, even in that thread, or where a lock is held that the thread needs to get to its end.
        self._finish = weakref.finalize(self, self._shelf.stop)

    def next(self) -> T:
        """The next batch, valid until the next call; errors of the thread are raised here."""
        if not self._depth:
            self._current = self._produce(self.position, self._current)
            self.position += 1
            return self._current
        if not self._finish.alive:
            raise ValueError("the prefetcher is closed")
        if self._error is not None:
            raise self._error
        shelf = self._shelf
        while shelf.ready and shelf.ready[0][0] < self.position:  # what was in the consumer's hands until now
            shelf.spare.append(shelf.ready.popleft()[1])
        shelf.room.ring()
        while not shelf.ready:
            shelf.come.wait()
        number, batch, self._error = shelf.ready[0]
        if self._error is not None:
            shelf.ready.clear()  # the shelf outlives the prefetcher, which the error's traceback refers to
            raise self._error
        self.position = number + 1
        return batch

    def close(self) -> None:
        """Stop the thread and wait for it: as long as one batch takes, at most."""
        if hasattr(self, "_finish"):
            self._finish()
            if self._thread is not threading.current_thread():
                self._thread.join()


def _work(produce: Produce[T], number: int, depth: int, shelf: Shelf) -> None:
    """The thread: keep `depth` batches on the shelf until told to stop, or until something goes wrong."""
    while True:
        while len(shelf.ready) >= depth and not shelf.stopped:
            shelf.room.wait()
        if shelf.stopped:
            return
        batch, error = shelf.spare.popleft() if shelf.spare else None, None
        try:
            batch = produce(number, batch)
        except BaseException as raised:  # the consumer raises it, whatever it is
            error = raised
        shelf.ready.append((number, batch, error))
        shelf.come.ring()
        if error is not None:
            return
        number += 1


_running: weakref.WeakKeyDictionary[threading.Thread, Shelf] = weakref.WeakKeyDictionary()


@atexit.register
def _stop_all() -> None:
    """Before the interpreter goes: no thread may be inside a library by then."""
    running = list(_running.items())
    for _, shelf in running:
        shelf.stop()
    for thread, _ in running:
        thread.join()
