"""What follows from test results: the plateau policy's drops, early stopping, and which weights were best."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from ..errors import ConfigError, suggest
from .report import Output


class Judge:
    """Watches one output of the first test net, `metric` (by default the first accuracy, else the first loss).

    A loss is better when smaller, any other output when larger. `drops` counts how often the plateau
    policy has lowered the rate; `stop` says that early_stop tests in a row brought nothing.
    """

    def __init__(self, param: Any):
        self.param = param
        self.best, self.best_iter = math.nan, 0
        self.tests_since_best, self.drops, self.last_event = 0, 0, 0

    @property
    def is_needed(self) -> bool:
        """Whether anything depends on it."""
        p = self.param
        return p.lr_policy == "plateau" or p.early_stop > 0 or p.keep_best

    @property
    def stop(self) -> bool:
        return 0 < self.param.early_stop <= self.tests_since_best

    def observe(self, iteration: int, outputs: Sequence[Output]) -> bool:
        """Take note of a test; whether it was the best so far. ConfigError if the metric is not among the outputs."""
        chosen = self.choose(outputs)
        value = -chosen.value if chosen.weight or "loss" in chosen.name.lower() else chosen.value
        improved = math.isnan(self.best) or value > self.best
        if improved:
            self.best, self.best_iter, self.tests_since_best = value, iteration, 0
            self.last_event = iteration
        else:
            self.tests_since_best += 1
        if self.param.lr_policy == "plateau" and iteration - self.last_event >= self.patience():
            self.drops, self.last_event = self.drops + 1, iteration
        return improved

    def patience(self) -> int:
        """Iterations without improvement after which the rate drops next."""
        sizes = self.param.plateau_winsize
        return sizes[min(self.drops, len(sizes) - 1)]

    def choose(self, outputs: Sequence[Output]) -> Output:
        """The output to go by."""
        if not outputs:
            raise ConfigError("metric: the test net has no outputs to judge by")
        wanted = self.param.metric
        if not wanted:
            return next((o for o in outputs if "accuracy" in o.name.lower()), outputs[0])
        for output in outputs:
            if output.name == wanted:
                return output
        raise self.unknown({o.name for o in outputs})

    def unknown(self, names: Collection[str]) -> ConfigError:
        """The error for a metric that is none of the outputs of these names."""
        wanted, known = self.param.metric, sorted(names)
        return ConfigError(
            f"metric: the test net has no output {wanted!r}{suggest(wanted, known)}; it has {', '.join(known)}"
        )

    def check(self, test_nets: int, outputs: Collection[str] = ()) -> None:
        """Refuse to judge where nothing is tested, or by what is not among the outputs, if they are known."""
        p = self.param
        if self.is_needed and not test_nets:
            field = "early_stop" if p.early_stop else "keep_best" if p.keep_best else "lr_policy"
            raise ConfigError(f"{field}: goes by test results, but there is no test net")
        if self.is_needed and outputs and p.metric and p.metric not in outputs:
            raise self.unknown(outputs)

    def state(self) -> dict[str, float]:
        """What a resumed run needs to judge alike."""
        names = ("best", "best_iter", "tests_since_best", "drops", "last_event")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: dict[str, float]) -> None:
        """Take over what `state` returned."""
        for name, value in state.items():
            setattr(self, name, float(value) if name == "best" else int(value))
