"""Whole passes of a net as a script: what must happen on the host, and chains of launches in between.

A Runner runs one pass, segment by segment, and looks after each one. A script joins the segments of several
passes, and programs that are not the net's, into as few chains as there can be: one, if no layer is on the host. On a
GPU a chain becomes a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..memory import Memory, Moves
from .run import Runner
from .schedule import Pass, Step, needed_and_left


@dataclass
class Extra:
    """A program that is not the net's, with the memories of blobs that it reads and writes."""

    program: Any
    reads: list[Memory] = field(default_factory=list)
    writes: list[Memory] = field(default_factory=list)


class Piece:
    """Launches without the host in between: one chain. Asks blobs only when the host has touched any."""

    def __init__(self, device: Any, extras: Sequence[Extra]):
        self.device = device
        self.reads, self.writes = needed_and_left(extras)
        self.chain = device.chain([range_of(extra.program) for extra in extras])
        self._moves = -1

    def run(self) -> None:
        """Run or replay."""
        moved = self._moves != Moves.count
        for memory in self.reads if moved else ():
            memory.to_device(self.device)
        self.chain.run()
        if moved:
            for memory in self.writes:
                memory.written_on(self.device)
            self._moves = Moves.count


@dataclass(frozen=True)
class Part:
    """Some rows of a program."""

    program: Any
    first: int
    last: int


def range_of(program: Any) -> tuple[Any, int, int]:
    """A program, or a part of one, as a chain takes it."""
    if isinstance(program, Part):
        return program.program, program.first, program.last
    return program, 0, len(program)


class Script:
    """Passes and extra programs in their order, for one net; a `fresh` backward writes gradients of parameters."""

    def __init__(self, runner: Runner, parts: Sequence[Pass | Extra], fresh: bool = False):
        self.runner, self.parts, self.fresh = runner, parts, fresh
        self.steps: list[tuple[int, Step | Piece]] = []  # each with its place among the parts
        pending: list[Extra] = []
        for place, part in enumerate(parts):
            if isinstance(part, Extra):
                pending.append(part)
                continue
            plan = runner.plan(part, fresh and part == "backward")
            if plan.lead:
                pending.append(Extra(Part(plan.program, 0, plan.lead), writes=plan.cleared))
            for segment in plan.segments(0, len(runner.graph.nodes)):
                if segment[0].on_host:
                    self._join(place, pending)
                    self.steps.append((place, segment[0]))
                else:
                    rows = Part(plan.program, segment[0].first, segment[-1].last)
                    pending.append(Extra(rows, segment.reads, segment.writes))
        self._join(len(parts), pending)
        self._generation = runner.generation

    def _join(self, place: int, pending: list[Extra]) -> None:
        if pending:
            self.steps.append((place, Piece(self.runner.device, pending)))
            pending.clear()

    @property
    def is_current(self) -> bool:
        """Whether the net has still the plans that this was made of."""
        return self._generation == self.runner.generation

    @property
    def pieces(self) -> list[Piece]:
        """The chains."""
        return [step for _, step in self.steps if isinstance(step, Piece)]

    def run(self) -> None:
        """Run everything once."""
        for place, step in self.steps:
            if isinstance(step, Piece):
                step.run()
                continue
            direction = self.parts[place]
            if self.runner.run_on_host(step, direction):  # type: ignore[arg-type]
                self._run_rest(place, step.index + 1)
                return

    def _run_rest(self, place: int, layer: int) -> None:
        """The net has other shapes from this layer on: go through what is left one by one."""
        last = len(self.runner.graph.nodes) - 1
        self.runner.run("forward", layer, last)
        for part in self.parts[place + 1 :]:
            if isinstance(part, Extra):
                Piece(self.runner.device, [part]).run()
            else:
                Script(self.runner, [part], self.fresh).run()
