"""Metrics as JSON lines, one object a line, for tools that would rather not parse a log."""

from __future__ import annotations

import json
import math
import os
import time
from typing import Any

from ..errors import CaffeError
from ..solver.report import Report


class Metrics(Report):
    """Writes DIR/metrics.jsonl: {"kind": "train" | "test" | ..., "iteration": ..., "time": seconds since 1970, ...}."""

    def __init__(self, folder: str):
        try:
            os.makedirs(folder, exist_ok=True)
            self._file = open(os.path.join(folder, "metrics.jsonl"), "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise CaffeError(f"--log-dir {folder}: cannot be written: {error.strerror or error}") from error
        self._iteration, self._rate, self._test = 0, 0.0, {}  # type: ignore[var-annotated]

    def write(self, kind: str, **values: Any) -> None:
        finite = {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in values.items()}
        line = {"kind": kind, "iteration": self._iteration, "time": round(time.time(), 3), **finite}
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            raise CaffeError(f"{self._file.name}: cannot be written: {error.strerror or error}") from error

    def iteration(self, iteration, loss, rate):
        self._iteration, self._rate = iteration, rate

    def display(self, iteration, loss, speed, seconds, interval):
        self._iteration = iteration
        self.write("train", loss=loss, lr=self._rate, iterations_per_second=speed)

    def testing(self, iteration, net):
        self._iteration = iteration

    def test_output(self, iteration, net, output):
        self.write("test", net=net, output=output.name, index=output.index, value=output.value)

    def snapshot(self, kind, path):
        self.write("snapshot", file=path, holds=kind)

    def done(self, early):
        self.write("done", early=early)

    def close(self):
        self._file.close()
