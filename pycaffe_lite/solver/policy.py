"""Learning-rate policies: the rate at an iteration, one formula each.

The first seven are Caffe's (GetLearningRate); cosine is Loshchilov and Hutter's (SGDR, 2016), multifixed
Intel's fork's, plateau SSD's, here on a test output. Warm-up and min_lr go with any of them. The momentum
has policies too, NVIDIA's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError, suggest


def fixed(p: Any, iteration: int) -> float:
    """base_lr, always."""
    return p.base_lr


def step(p: Any, iteration: int) -> float:
    """base_lr * gamma ^ floor(iteration / stepsize)."""
    return p.base_lr * p.gamma ** (iteration // p.stepsize)


def exp(p: Any, iteration: int) -> float:
    """base_lr * gamma ^ iteration."""
    return p.base_lr * p.gamma**iteration


def inv(p: Any, iteration: int) -> float:
    """base_lr * (1 + gamma * iteration) ^ -power."""
    return p.base_lr * (1 + p.gamma * iteration) ** -p.power


def multistep(p: Any, iteration: int) -> float:
    """base_lr * gamma ^ (how many stepvalues have been reached)."""
    return p.base_lr * p.gamma ** steps_reached(p, iteration)


def poly(p: Any, iteration: int) -> float:
    """base_lr * (1 - iteration / max_iter) ^ power; behind max_iter 0, where Caffe takes powers of negative numbers.

    With NVIDIA's min_lr it falls to that, instead of to 0.
    """
    return p.min_lr + (p.base_lr - p.min_lr) * (1 - min(iteration, p.max_iter) / p.max_iter) ** p.power


def sigmoid(p: Any, iteration: int) -> float:
    """base_lr / (1 + exp(-gamma * (iteration - stepsize)))."""
    return p.base_lr / (1 + math.exp(min(700.0, -p.gamma * (iteration - p.stepsize))))


def cosine(p: Any, iteration: int) -> float:
    """From base_lr down to 0 (or min_lr) along half a cosine over max_iter."""
    done = min(iteration, p.max_iter) / p.max_iter
    return p.min_lr + (p.base_lr - p.min_lr) * (1 + math.cos(math.pi * done)) / 2


def multifixed(p: Any, iteration: int) -> float:
    """stagelr[k] up to iteration stageiter[k], this one included; the last one ever after."""
    stage = sum(iteration > end for end in p.stageiter)
    return p.stagelr[min(stage, len(p.stagelr) - 1)]


def plateau(p: Any, iteration: int, drops: int = 0) -> float:
    """base_lr * gamma ^ drops; the solver counts a drop when the metric stays without improvement too long."""
    return p.base_lr * p.gamma**drops


POLICIES: dict[str, Callable[[Any, int], float]] = {
    "fixed": fixed,
    "step": step,
    "exp": exp,
    "inv": inv,
    "multistep": multistep,
    "poly": poly,
    "sigmoid": sigmoid,
    "cosine": cosine,
    "multifixed": multifixed,
    "plateau": plateau,
}
# Without these Caffe's rate stays what it is in the beginning; lint asks whether that was meant.
SHAPED_BY = {
    "step": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("stepvalue",),
    "poly": ("power",),
    "sigmoid": ("gamma",),
}
MOST_ITERATIONS = 2**31
MOMENTUM_POLICIES = ("fixed", "poly", "opt")
# What each policy cannot do without: Caffe reads 0 for a field left out, and trains with rate 0 or divides by it.
NEEDS = {
    "step": ("stepsize",),
    "exp": ("gamma",),
    "poly": ("max_iter",),
    "cosine": ("max_iter",),
    "multifixed": ("stagelr", "stageiter"),
    "plateau": ("gamma", "plateau_winsize"),
}


def steps_reached(p: Any, iteration: int) -> int:
    """How many of the policy's steps lie behind (the `current_step` of a solverstate)."""
    if p.lr_policy == "step":
        return iteration // p.stepsize
    return sum(iteration >= value for value in p.stepvalue) if p.lr_policy == "multistep" else 0


def check(p: Any) -> None:
    """Refuse a SolverParameter whose policy is unknown or lacks what it needs."""
    if not p.lr_policy:
        raise ConfigError(f"lr_policy: must be given; one of {', '.join(POLICIES)}")
    if p.lr_policy not in POLICIES:
        hint = suggest(p.lr_policy, POLICIES)
        raise ConfigError(f"lr_policy: unknown policy {p.lr_policy!r}{hint}; known: {', '.join(POLICIES)}")
    if not p.HasField("base_lr") and p.lr_policy != "multifixed":
        raise ConfigError("base_lr: must be given")
    for name in NEEDS.get(p.lr_policy, ()):
        if not is_given(p, name):
            raise ConfigError(f"lr_policy {p.lr_policy!r} needs {name}")
    _check_values(p)
    last = p.max_iter - 1 if p.max_iter else MOST_ITERATIONS
    if not is_given(p, "gamma") and steps_reached(p, last):
        raise ConfigError(f"lr_policy {p.lr_policy!r} needs gamma")
    _check_momentum(p)


def is_given(p: Any, name: str) -> bool:
    """Whether a field, repeated or not, has been set."""
    field = p.DESCRIPTOR.fields_by_name[name]
    return p.HasField(name) if field.has_presence else len(getattr(p, name)) > 0


def _check_values(p: Any) -> None:
    if p.lr_policy in ("step", "exp", "inv", "multistep") and p.gamma < 0:  # powers of it would not be rates
        raise ConfigError(f"gamma: must not be negative for lr_policy {p.lr_policy!r}, got {p.gamma:g}")
    if p.lr_policy == "step" and p.stepsize < 1:
        raise ConfigError(f"stepsize: must be at least 1, got {p.stepsize}")
    if p.lr_policy in ("poly", "cosine") and p.max_iter < 1:
        raise ConfigError(f"lr_policy {p.lr_policy!r} needs max_iter of at least 1, got {p.max_iter}")
    for name in ("stepvalue", "stageiter"):
        if list(getattr(p, name)) != sorted(getattr(p, name)):
            raise ConfigError(f"{name}: must be in ascending order, got {list(getattr(p, name))}")
    for name, least in (("stepvalue", 0), ("stageiter", 0), ("stagelr", 0), ("plateau_winsize", 1)):
        for value in getattr(p, name):
            if not least <= value < math.inf:
                raise ConfigError(f"{name}: must be at least {least}, got {value:g}")
    if p.lr_policy == "multifixed" and len(p.stagelr) != len(p.stageiter):
        raise ConfigError(
            f"stagelr and stageiter: must be given equally often, got {len(p.stagelr)} and {len(p.stageiter)}"
        )
    for name in ("warmup_iter", "rampup_interval"):
        if getattr(p, name) < 0:
            raise ConfigError(f"{name}: must not be negative, got {getattr(p, name)}")
    if p.warmup_iter and p.rampup_interval:
        raise ConfigError("warmup_iter and rampup_interval mean the same: give one of them")


def _check_momentum(p: Any) -> None:
    if p.momentum_policy not in MOMENTUM_POLICIES:
        hint = suggest(p.momentum_policy, MOMENTUM_POLICIES)
        raise ConfigError(
            f"momentum_policy: must be one of {', '.join(MOMENTUM_POLICIES)}, got {p.momentum_policy!r}{hint}"
        )
    if p.momentum_policy == "poly" and p.max_iter < 1:
        raise ConfigError(f"momentum_policy 'poly' needs max_iter of at least 1, got {p.max_iter}")


def learning_rate(p: Any, iteration: int, drops: int = 0) -> float:
    """The rate with which iteration number `iteration` (from 0) is taken; `drops` is plateau's."""
    try:
        formula = POLICIES[p.lr_policy]
        rate = plateau(p, iteration, drops) if formula is plateau else formula(p, iteration)
    except (OverflowError, ZeroDivisionError):
        rate = math.inf
    length = p.warmup_iter or p.rampup_interval
    if iteration < length:  # to base_lr, not to what the policy says at the end of it: so do the forks
        start = p.warmup_start_lr if p.warmup_iter else p.rampup_lr
        end = p.base_lr if p.HasField("base_lr") else rate
        rate = start + (end - start) * iteration / length
    return max(rate, p.min_lr) if p.min_lr else rate


def momentum(p: Any, iteration: int, rate: float) -> float:
    """The momentum of this iteration, which is taken with this rate: fixed, rising to max_momentum, or by the rate."""
    if p.momentum_policy == "poly":
        done = min(iteration, p.max_iter) / p.max_iter
        return p.momentum + (p.max_momentum - p.momentum) * done**p.momentum_power
    if p.momentum_policy == "opt":
        best = (1 - math.sqrt(rate) / 2) ** 2
        return min(best, p.max_momentum) if p.HasField("max_momentum") else best
    return p.momentum
