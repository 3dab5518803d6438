"""Training logs as tables: Caffe's log, ours, and our metrics.jsonl, read alike.

Columns are those of Caffe's parse_log.py (NumIters, Seconds, LearningRate, one for each output), and
SmoothedLoss, the loss averaged over average_loss iterations. Logs that were appended to each other, cut
off, or wrapped in the prefixes of some cluster's launcher are read as far as they go.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from .errors import DataError

Row = dict[str, float]

_NUMBER = r"[-+]?(?:1\.#\w+|\d[\d.]*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan(?:\(\w*\))?|inf(?:inity)?)"
_TIME = re.compile(r"\b[IWEF](\d{4})?(\d\d)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,6})")
_EPOCH = r"(?:, [\d.]+/[\d.]+ep)?"  # NVIDIA's
_ITERATION = re.compile(rf"Iteration (\d+)(?: \(.*?\))?{_EPOCH}, loss = ({_NUMBER})", re.IGNORECASE)
_RATE = re.compile(rf"Iteration (\d+), lr = ({_NUMBER})", re.IGNORECASE)
_TESTING = re.compile(r"Iteration (\d+), Testing net(?: \(#(\d+)\)|$)")
_OUTPUT = re.compile(rf"(Train|Test) net output #(\d+): (\S+) = ({_NUMBER})", re.IGNORECASE)
_SCORE = re.compile(rf"Test (score) #(\d+): ({_NUMBER})", re.IGNORECASE)  # of 2013, when outputs had no names
_YEAR = 366 * 86400


@dataclass
class Log:
    """The rows of a log, in its order."""

    train: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)

    def columns(self, table: list[Row]) -> list[str]:
        """The names of all columns of a table, in the order in which they first appear."""
        return list(dict.fromkeys(name for row in table for name in row))


def read_log(path: str | os.PathLike[str]) -> Log:
    """The tables in a log file; DataError if there are none in it."""
    source = os.fspath(path)
    try:
        with open(source, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise DataError(f"{source}: {error.strerror or error}") from error
    log = from_metrics(lines) if lines and lines[0].startswith('{"kind"') else from_lines(lines)
    if not log.train and not log.test:
        raise DataError(f"{source}: no training log: it has no line such as 'Iteration 100, loss = 0.5'")
    return log


def from_lines(lines: Iterable[str]) -> Log:
    """The tables in the lines of Caffe's log."""
    reader = _Reader()
    for line in lines:
        reader.read(line)
    return reader.finish()


class _Reader:
    """The state of reading one log: which row is being written, and when it is."""

    def __init__(self) -> None:
        self.log, self.seconds = Log(), _Seconds()
        self.train: Row = {}
        self.test: Row = {}
        self.rate = math.nan
        self.names: dict[tuple[str, int], str] = {}  # (train or test, number of the output) -> column

    def read(self, line: str) -> None:
        """Take what a line tells."""
        seconds = self.seconds.at(line)
        if match := _OUTPUT.search(line):
            row = self.train if match[1].lower() == "train" else self.test
            if match[2] == "0":
                row["Seconds"] = seconds
            self.output(row, match[1].lower(), int(match[2]), match[3], number(match[4]))
        elif match := _SCORE.search(line):
            self.output(
                self.test, "test", int(match[2]), match[1] if match[2] == "0" else f"score_{match[2]}", number(match[3])
            )
        elif match := _ITERATION.search(line):
            self.train = self.row(int(match[1]), seconds)
            self.train["SmoothedLoss"] = number(match[2])
            self.log.train.append(self.train)
        elif match := _RATE.search(line):
            self.rate = number(match[2])
            for row in (self.train, self.test):  # the rate stands behind the rows that it was used for
                if row.get("NumIters") == int(match[1]):
                    row["LearningRate"] = self.rate
        elif match := _TESTING.search(line):
            self.test = self.row(int(match[1]), seconds)
            self.test["TestNet"] = int(match[2] or 0)
            self.log.test.append(self.test)

    def row(self, iteration: int, seconds: float) -> Row:
        return {"NumIters": iteration, "Seconds": seconds, "LearningRate": self.rate}

    def output(self, row: Row, kind: str, index: int, name: str, value: float) -> None:
        """An output's number; those of one name (accuracies of classes) get their index behind it."""
        column = self.names.get((kind, index), name)
        if column in row:
            column = f"{name}_{index}"
        self.names[kind, index] = column
        row[column] = value

    def finish(self) -> Log:
        """The log without tests that were cut off before they told anything, and without columns that tell nothing."""
        several = len({row["TestNet"] for row in self.log.test}) > 1
        self.log.test = [row for row in self.log.test if len(row) > 4]
        for row in self.log.test:
            if not several:
                del row["TestNet"]
        return self.log


class _Seconds:
    """Seconds since training began (or the first line), from glog's time stamps, of which old ones lack the year."""

    def __init__(self) -> None:
        self.start: float | None = None
        self.last, self.began = math.nan, False

    def at(self, line: str) -> float:
        """The time of a line; that of the one before where it has no stamp."""
        match = _TIME.search(line)
        if match:
            year, *parts = (int(part or 2000) for part in match.groups()[:6])
            micros = int(match[7].ljust(6, "0"))
            try:
                moment = (datetime(year, *parts) - datetime(2000, 1, 1)).total_seconds() + micros / 1e6
            except ValueError:
                return self.since()
            if moment < self.last - _YEAR / 2:  # New Year's Eve
                moment += _YEAR
            self.last = moment
            if self.start is None:
                self.start = moment
        if not self.began and "Solving " in line:
            self.start, self.began = self.last, True
        return self.since()

    def since(self) -> float:
        return math.nan if self.start is None else round(self.last - self.start, 6)


def number(text: str) -> float:
    """A number as C++ prints it, on Windows (1.#QNAN, 1.#INF) too."""
    if "#" in text:
        return math.copysign(math.inf, -1 if text[0] == "-" else 1) if "INF" in text.upper() else math.nan
    try:
        return float(text.split("(")[0])
    except ValueError:
        return math.nan


def from_metrics(lines: Iterable[str]) -> Log:
    """The tables in the lines of our metrics.jsonl."""
    log, start = Log(), None
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # the last line of a run that was killed
            continue
        start = entry["time"] if start is None else start
        row: Row = {"NumIters": entry["iteration"], "Seconds": round(entry["time"] - start, 3)}
        if entry["kind"] == "train":
            loss = math.nan if entry["loss"] is None else entry["loss"]
            log.train.append(row | {"LearningRate": entry["lr"], "SmoothedLoss": loss})
        elif entry["kind"] == "test":
            row["TestNet"] = entry["net"]
            same = log.test and all(log.test[-1][key] == row[key] for key in ("NumIters", "TestNet"))
            if not same:
                log.test.append(row)
            name = entry["output"] if entry["output"] not in log.test[-1] else f"{entry['output']}_{entry['index']}"
            log.test[-1][name] = math.nan if entry["value"] is None else entry["value"]
    return log
