"""What a SolverParameter must be for a run to make sense; each refusal begins with the field it is about."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ConfigError
from . import policy, rules

AT_LEAST_ONE = ("iter_size", "average_loss")
NOT_NEGATIVE = (
    "display", "test_interval", "snapshot", "max_iter", "early_stop", "keep_last",
    "base_lr", "warmup_start_lr", "rampup_lr", "min_lr", "weight_decay", "max_weight_decay", "delta", "device_id",
)  # fmt: skip
# NVIDIA's, whose other values change the training in ways that are not done here.
ONLY = {
    "weight_decay_policy": ("fixed",), "larc_policy": ("scale", "clip"), "larc_turbo": (False,),
    "test_and_snapshot_last_epochs": (0,),
}  # fmt: skip
BELOW_ONE = ("momentum", "max_momentum", "momentum2", "rms_decay", "ema_decay")  # shares of what is remembered
MOMENTUM = ("SGD", "Nesterov", "LARS")  # rules of which it can change from iteration to iteration
NO_MOMENTUM = ("AdaGrad", "RMSProp")  # rules that would silently do without


def check(p: Any) -> None:
    """ConfigError for fields that cannot be trained with."""
    check_numbers(p)
    policy.check(p)
    kind, _ = rules.find(p.type)
    if kind in NO_MOMENTUM and p.momentum:
        raise ConfigError(f"momentum: {kind} has none, so it must be 0 or left out, got {p.momentum:g}")
    if p.momentum_policy != "fixed" and kind not in MOMENTUM:
        raise ConfigError(f"momentum_policy: is for {', '.join(MOMENTUM)}, and {kind} has a fixed one")
    for name, known in ONLY.items():
        if (value := getattr(p, name)) not in known:
            raise ConfigError(f"{name}: {value!r} is not done here, only {' and '.join(map(repr, known))}")
    if p.regularization_type not in rules.PENALTIES:
        raise ConfigError(f"regularization_type: must be L1 or L2, got {p.regularization_type!r}")
    if rules.RULES[kind].decoupled and p.regularization_type != "L2":
        raise ConfigError(f"regularization_type: {kind} decays the weights themselves, which is L2")
    if (p.snapshot or p.keep_best) and not p.snapshot_prefix:
        raise ConfigError("snapshot_prefix: must be given where snapshot or keep_best is")


def check_numbers(p: Any) -> None:
    """Refuse numbers outside the range of their field."""
    for field, value in p.ListFields():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{field.name}: must be a finite number, got {value}")
    for name in AT_LEAST_ONE:
        if getattr(p, name) < 1:
            raise ConfigError(f"{name}: must be at least 1, got {getattr(p, name)}")
    for name in NOT_NEGATIVE:
        if (value := getattr(p, name)) < 0:
            shown = f"{value:g}" if isinstance(value, float) else value
            raise ConfigError(f"{name}: must not be negative, got {shown}")
    for name in BELOW_ONE:
        if not 0 <= getattr(p, name) < 1:
            raise ConfigError(f"{name}: must be at least 0 and below 1, got {getattr(p, name):g}")
