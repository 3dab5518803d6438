"""Helpers that compile: they share the work, and whatever becomes of them, everything gets compiled."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import pytest

from pycaffe_lite.backend.cpu import crew, pool, quota

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="helpers are forked on Linux only")
MAIN = os.getpid()


class Fake:
    """Stands for a kernel: its object code tells who compiled it."""

    def __init__(self, number: int, in_helper: Callable[[], None] = lambda: None, seconds: float = 0.02):
        self.number, self.in_helper, self.seconds = number, in_helper, seconds

    def compile(self) -> tuple[str, bytes]:
        if os.getpid() != MAIN:
            self.in_helper()
        time.sleep(self.seconds)
        return f"kernel{self.number}", str(os.getpid()).encode()


@pytest.fixture(autouse=True)
def three_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "processors", lambda: 3)
    monkeypatch.setattr(pool, "threads", lambda: 3)
    monkeypatch.setattr(crew, "PATIENCE", 2.0)


def compiled_by(codes: list[Fake]) -> list[int]:
    """Who compiled each; every one must be there, once, under its own symbol, and no process be left."""
    found = list(crew.compile_all(codes))  # type: ignore[arg-type]
    assert sorted(code.number for code, _ in found) == list(range(len(codes)))
    assert all(symbol == f"kernel{code.number}" for code, (symbol, _) in found)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    return [int(code) for _, (_, code) in found]


def test_helpers_share_the_work() -> None:
    assert len(set(compiled_by([Fake(i) for i in range(30)]))) == 3


def test_few_kernels_are_compiled_here() -> None:
    assert set(compiled_by([Fake(i) for i in range(5)])) == {MAIN}


def test_one_thread_has_no_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "threads", lambda: 1)
    assert set(compiled_by([Fake(i, seconds=0) for i in range(30)])) == {MAIN}


def fail() -> None:
    raise ValueError("not here")


@pytest.mark.parametrize("fate", [fail, lambda: os._exit(3), lambda: time.sleep(60)], ids=["fails", "dies", "hangs"])
def test_what_helpers_do_not_deliver_is_compiled_here(fate: Callable[[], None]) -> None:
    codes = [Fake(i, fate if i % 4 == 3 else lambda: None) for i in range(12)]
    assert MAIN in compiled_by(codes)


def test_helpers_that_cannot_be_started_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError("no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    assert set(compiled_by([Fake(i, seconds=0) for i in range(12)])) == {MAIN}


def test_a_kernel_that_is_wrong_is_complained_about_and_nobody_left() -> None:
    class Wrong(Fake):
        def compile(self) -> tuple[str, bytes]:
            raise ValueError("no such name")

    with pytest.raises(ValueError, match="no such name"):
        list(crew.compile_all([*(Fake(i) for i in range(8)), Wrong(8)]))  # type: ignore[list-item]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
