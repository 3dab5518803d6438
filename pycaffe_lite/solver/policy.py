"""Learning-rate policies: the rate at an iteration, one formula each (Caffe's GetLearningRate)."""

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
    """base_lr * (1 - iteration / max_iter) ^ power."""
    return p.base_lr * (1 - min(iteration, p.max_iter) / p.max_iter) ** p.power


def sigmoid(p: Any, iteration: int) -> float:
    """base_lr / (1 + exp(-gamma * (iteration - stepsize)))."""
    return p.base_lr / (1 + math.exp(min(700.0, -p.gamma * (iteration - p.stepsize))))


POLICIES: dict[str, Callable[[Any, int], float]] = {
    "fixed": fixed,
    "step": step,
    "exp": exp,
    "inv": inv,
    "multistep": multistep,
    "poly": poly,
    "sigmoid": sigmoid,
}
# What each policy cannot do without; Caffe reads 0 for a field left out and trains with rate 0 or infinity.
NEEDS = {
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
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
    if not p.HasField("base_lr"):
        raise ConfigError("base_lr: must be given")
    for name in NEEDS.get(p.lr_policy, ()):
        repeated = name == "stepvalue"
        if not (len(p.stepvalue) if repeated else p.HasField(name)):
            raise ConfigError(f"lr_policy {p.lr_policy!r} needs {name}")
    if p.lr_policy in ("step",) and p.stepsize < 1:
        raise ConfigError(f"stepsize: must be at least 1, got {p.stepsize}")
    if p.lr_policy == "poly" and p.max_iter < 1:
        raise ConfigError(f"lr_policy 'poly' needs max_iter of at least 1, got {p.max_iter}")
    if list(p.stepvalue) != sorted(p.stepvalue):
        raise ConfigError(f"stepvalue: must be in ascending order, got {list(p.stepvalue)}")


def learning_rate(p: Any, iteration: int) -> float:
    """The rate with which iteration number `iteration` (from 0) is taken."""
    try:
        rate = POLICIES[p.lr_policy](p, iteration)
    except OverflowError:
        rate = math.inf
    return rate
