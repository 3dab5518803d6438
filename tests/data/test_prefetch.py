"""The prefetch thread: order, reuse, errors, and going away."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import traceback

import pytest

from pycaffe_lite.data.prefetch import Prefetcher


class Box:
    """A batch that counts how often it was filled."""

    def __init__(self) -> None:
        self.number = -1


def fill(number: int, box: Box | None) -> Box:
    box = box or Box()
    box.number = number
    return box


_earlier: set[threading.Thread] = set()  # of nets that earlier tests made and nobody has collected yet


def threads() -> list[threading.Thread]:
    """The prefetch threads that this test has started and that still run."""
    named = (thread for thread in threading.enumerate() if thread.name == "caffe-lite prefetch")
    return [thread for thread in named if thread not in _earlier]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> object:
    _earlier.clear()
    _earlier.update(threads())
    yield
    gc.collect()
    assert threads() == []


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_order_and_reuse(depth: int) -> None:
    prefetcher = Prefetcher(fill, depth)
    boxes = set()
    for number in range(50):
        assert prefetcher.position == number
        box = prefetcher.next()
        boxes.add(id(box))
        time.sleep(0.0005)
        assert box.number == number, "a batch must stay as it is until the next is asked for"
    assert len(boxes) <= depth + 1
    prefetcher.close()
    prefetcher.close()


@pytest.mark.parametrize("depth", [0, 3])
def test_restart(depth: int) -> None:
    prefetcher = Prefetcher(fill, depth, first=5)
    assert [prefetcher.next().number for _ in range(3)] == [5, 6, 7]
    prefetcher.restart(2)
    assert [prefetcher.next().number for _ in range(2)] == [2, 3]
    assert prefetcher.position == 4
    prefetcher.close()


@pytest.mark.parametrize("depth", [0, 3])
def test_errors_reach_the_consumer(depth: int) -> None:
    def breaks_at_two(number: int, box: Box | None) -> Box:
        if number == 2:
            raise KeyError("entry 2")
        return fill(number, box)

    prefetcher = Prefetcher(breaks_at_two, depth)
    assert [prefetcher.next().number for _ in range(2)] == [0, 1]
    for _ in range(2):
        with pytest.raises(KeyError, match="entry 2") as info:
            prefetcher.next()
        assert "breaks_at_two" in "".join(traceback.format_tb(info.value.__traceback__))
    prefetcher.close()


def test_works_ahead_only_so_far() -> None:
    made = []
    prefetcher = Prefetcher(lambda number, box: made.append(number) or fill(number, box), 3)
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2]
    prefetcher.close()


def test_close_is_prompt() -> None:
    def slow(number: int, box: Box | None) -> Box:
        time.sleep(0.05)
        return fill(number, box)

    prefetcher = Prefetcher(slow, 4)
    prefetcher.next()
    started = time.monotonic()
    prefetcher.close()
    assert time.monotonic() - started < 0.15
    assert threads() == []
    with pytest.raises(ValueError, match="closed"):
        prefetcher.next()


def test_collected_with_its_thread() -> None:
    prefetcher = Prefetcher(fill, 4)
    prefetcher.next()
    assert len(threads()) == 1
    del prefetcher
    gc.collect()  # tells the thread to stop, and does not wait for it
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threads() == []


def test_the_interpreter_can_exit() -> None:
    code = (
        "import time; from pycaffe_lite.data.prefetch import Prefetcher\n"
        "p = Prefetcher(lambda n, b: time.sleep(0.01) or n + 1, 4); p.next()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20, check=False)
    assert (result.returncode, result.stderr) == (0, b"")
