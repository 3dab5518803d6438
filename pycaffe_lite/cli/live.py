"""A training run on a terminal: one live line, and a lasting line for each test and snapshot."""

from __future__ import annotations

import math
import time
from typing import Any

from ..solver.report import Report

REFRESH = 0.1  # seconds between two updates of the line


class Live(Report):
    """iteration, loss, lr, iterations a second, time to go, last test result; redrawn in place."""

    patience = 0.5  # so that the line moves, however long it is between two displays

    def __init__(self, max_iter: int):
        from rich.console import Console
        from rich.live import Live as RichLive

        self.console = Console(stderr=True, highlight=False, markup=False)
        self.live: Any = RichLive(console=self.console, auto_refresh=False, transient=True)
        self.max_iter, self.last_test = max_iter, ""
        self.start = self.shown = time.perf_counter()
        self.first, self.last, self.speed, self.smooth = None, 0, 0.0, None  # type: ignore[var-annotated]

    def solving(self, net_name, policy):
        self.console.print(f"Training {net_name} to iteration {self.max_iter} (lr policy {policy})")
        self.live.start()

    def restoring(self, path):
        self.console.print(f"Resuming from {path}")

    def iteration(self, iteration, loss, rate):
        now = time.perf_counter()
        self.smooth = loss if self.smooth is None else 0.98 * self.smooth + 0.02 * loss
        if self.first is None:
            self.first, self.last, self.start, self.shown = iteration, iteration, now, now
            self.show(iteration, rate)
        if now - self.shown < REFRESH and iteration + 1 < self.max_iter:
            return
        passed = iteration - self.last
        pace = passed / max(now - self.shown, 1e-9)
        self.speed = pace if not self.speed else 0.8 * self.speed + 0.2 * pace
        self.shown, self.last = now, iteration
        self.show(iteration, rate)

    def show(self, iteration: int, rate: float) -> None:
        left = (self.max_iter - iteration) / self.speed if self.speed > 0 else math.inf
        parts = [
            f"iteration {iteration}/{self.max_iter}",
            f"loss {self.smooth:.4g}",
            f"lr {rate:.4g}",
            f"{self.speed:.0f} it/s" if self.speed >= 10 else f"{self.speed:.2f} it/s",
            f"ETA {clock(left)}",
        ]
        if self.last_test:
            parts.append(self.last_test)
        self.write("  ".join(parts))

    def write(self, line: str) -> None:
        """Redraw the line, cut to the width of the terminal."""
        from rich.text import Text

        self.live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

    def test_progress(self, done, total):
        now = time.perf_counter()
        if now - self.shown > REFRESH:
            self.shown = now
            self.write(f"testing {done}/{total}  {self.last_test}")

    def tested(self, iteration, net, outputs):
        shown = ", ".join(f"{o.name} = {o.value:.5g}" for o in outputs[:6]) + (", ..." if len(outputs) > 6 else "")
        self.console.print(f"iteration {iteration}: test{f' net {net}' if net else ''} {shown}")
        if net == 0 and outputs:
            best = next((o for o in outputs if not o.weight), outputs[0])
            self.last_test = f"test {best.name} {best.value:.4g}"
        self.shown, self.last = time.perf_counter(), iteration

    def test_interrupted(self):
        self.console.print("Test interrupted.")

    def snapshot(self, kind, path):
        self.console.print(f"Writing {path}")

    def close(self):
        self.live.stop()

    def done(self, early):
        self.close()
        self.console.print("Stopped early." if early else f"Done in {clock(time.perf_counter() - self.start)}.")


def clock(seconds: float) -> str:
    """`1:02:03` or `2:03`, or dashes while nobody knows."""
    if math.isinf(seconds):
        return "-:--"
    whole = int(seconds + 0.5)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
