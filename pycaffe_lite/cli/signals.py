"""What Ctrl-C and a hang-up do to a training run: stop it in good order, snapshot, or nothing."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from ..solver.solver import NONE, SNAPSHOT, STOP

EFFECTS = (STOP, SNAPSHOT, NONE)


class Signals:
    """While in use, turns SIGINT and SIGHUP into the solver's actions. A second SIGINT interrupts at once."""

    def __init__(self, sigint: str, sighup: str):
        self.effects = {signal.SIGINT: sigint}
        if hasattr(signal, "SIGHUP"):
            self.effects[signal.SIGHUP] = sighup
        self.wanted, self.stopping = NONE, False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        effect = self.effects[signal.Signals(number)]
        if self.stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stopping = self.stopping or effect == STOP
        if effect != NONE and self.wanted != STOP:  # a snapshot asked for later does not undo a stop
            self.wanted = effect

    def action(self) -> str:
        """What was asked for since the last call."""
        wanted, self.wanted = self.wanted, NONE
        return wanted

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self._handle) for number in self.effects}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
