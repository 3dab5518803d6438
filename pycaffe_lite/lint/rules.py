"""The table of rules. A rule is a function that yields Hits; its docstring says why what it finds matters."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

ERROR, WARNING, HINT = "error", "warning", "hint"
LEVELS = (ERROR, WARNING, HINT)

# What a rule looks at: a net in any phase, one to be trained in TRAIN, any in TEST, both phases, or a solver
NET, TRAINED, TESTED, BOTH, SOLVER = "net", "trained", "tested", "both", "solver"


class Hit(NamedTuple):
    """Something found: what, what to do about it, in which layer (a LayerParameter) and field (`pooling_param.pad`).

    What is said of several layers at once is `general`, and `layer` the first of them.
    """

    what: str
    fix: str
    layer: Any = None
    field: str = ""
    level: str = ""  # if it is another than the rule's
    general: bool = False


@dataclass(frozen=True)
class Rule:
    """One rule: its name, how bad what it finds is, what it looks at, and why it matters."""

    name: str
    level: str
    looks_at: str
    why: str
    find: Callable[[Any], Iterator[Hit]]


RULES: dict[str, Rule] = {}
_ROOMS = ("norms", "paths", "losses", "fields", "images", "pooling", "loaded", "solvers")


def rule(
    name: str, level: str, looks_at: str
) -> Callable[[Callable[[Any], Iterator[Hit]]], Callable[[Any], Iterator[Hit]]]:
    """Enter a function into the table."""

    def enter(find: Callable[[Any], Iterator[Hit]]) -> Callable[[Any], Iterator[Hit]]:
        RULES[name] = Rule(name, level, looks_at, " ".join((find.__doc__ or "").split()), find)
        return find

    return enter


@cache
def all_rules() -> dict[str, Rule]:
    """Every rule by its name."""
    for room in _ROOMS:
        importlib.import_module(f".{room}", __package__)
    return RULES
