"""The loss that is displayed: the mean of the last `average_loss` losses, updated as Caffe does."""

from __future__ import annotations

from typing import Any


class SmoothedLoss:
    """`value` is the mean over the window; a run that is resumed goes on with the window it had."""

    def __init__(self, window: int):
        self.window = window
        self.value = 0.0
        self._losses: list[float] = []
        self._start = 0  # iteration at which the window was empty
        self._resumed = False

    def begin(self, iteration: int) -> None:
        """Steps are about to be taken: begin with an empty window, unless it has just been restored."""
        if not self._resumed:
            self.value, self._losses, self._start = 0.0, [], iteration
        self._resumed = False

    def add(self, iteration: int, loss: float) -> float:
        """Take the loss of an iteration into account; returns the mean."""
        if len(self._losses) < self.window:
            self._losses.append(loss)
            size = len(self._losses)
            self.value = (self.value * (size - 1) + loss) / size
        else:
            place = (iteration - self._start) % self.window
            self.value += (loss - self._losses[place]) / self.window
            self._losses[place] = loss
        return self.value

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to go on."""
        return {"value": self.value, "losses": self._losses, "start": self._start}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.value, self._losses, self._start = float(state["value"]), list(state["losses"]), int(state["start"])
        self._resumed = len(self._losses) <= self.window  # else average_loss is another now
