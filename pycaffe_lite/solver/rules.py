"""Update rules, one formula each, made into one pass over all parameters.

In the statements, legal in Python and in C: w the parameter, g its gradient (clipped, normalised and
with its weight decay), h and h2 what the rule remembers, lr the rate of this parameter; u, the update,
is subtracted from w. Like Caffe, the pass leaves the update in the parameter's diff.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import sqrt
from typing import Any

from ..errors import ConfigError, suggest
from ..kernel import Kernel, T, typed_literals, where

SHARE = 512  # lines of memory that an index of the pass updates: what a parameter has of them in one loop


@dataclass(frozen=True)
class Rule:
    """Statements, and how many history blobs they keep for each parameter.

    A decoupled rule decays the weights itself: its g comes without weight decay. An adaptive one gives
    each parameter a rate in proportion to the norm of its weights over that of its gradient.
    """

    histories: int
    statements: tuple[str, ...]
    source: str
    decoupled: bool = False
    adaptive: bool = False


RULES = {
    "SGD": Rule(1, ("h = momentum * h + lr * g", "u = h"), "momentum: Polyak 1964"),
    "Nesterov": Rule(
        1,
        ("u = 0 - momentum * h", "h = momentum * h + lr * g", "u = u + (1 + momentum) * h"),
        "Nesterov 1983, in the form of Sutskever et al. 2013",
    ),
    "AdaGrad": Rule(1, ("h = h + g * g", "u = lr * g / (sqrt(h) + delta)"), "Duchi et al. 2011"),
    "RMSProp": Rule(
        1,
        ("h = rms_decay * h + (1 - rms_decay) * g * g", "u = lr * g / (sqrt(h) + delta)"),
        "Tieleman and Hinton 2012",
    ),
    "AdaDelta": Rule(
        2,
        (
            "h = momentum * h + (1 - momentum) * g * g",
            "u = g * sqrt((delta + h2) / (delta + h))",
            "h2 = momentum * h2 + (1 - momentum) * u * u",
            "u = lr * u",
        ),
        "Zeiler 2012; momentum is its decay",
    ),
    "Adam": Rule(
        2,
        (
            "h = momentum * h + (1 - momentum) * g",
            "h2 = momentum2 * h2 + (1 - momentum2) * g * g",
            "u = lr * correction * h / (sqrt(h2) + delta)",
        ),
        "Kingma and Ba 2014",
    ),
}
MOMENTUM, ADAM = RULES["SGD"].statements, RULES["Adam"].statements
# Not Caffe's.
RULES["AdamW"] = Rule(2, (*ADAM, "u = u + lr * decay * w"), "Loshchilov and Hutter 2017", decoupled=True)
RULES["LARS"] = Rule(1, MOMENTUM, "You et al. 2017; larc_eta is its trust coefficient", adaptive=True)
PENALTIES = {"L2": "w", "L1": "where(w > 0, 1, where(w < 0, 0 - 1, 0))"}
# What changes from iteration to iteration, or is a field of the solver: read from memory, so that a
# captured update needs no new launch when it changes. An iteration in which a GPU found something wrong has no `go`.
NUMBERS = ("rate", "scale", "decay", "momentum", "momentum2", "rms_decay", "delta", "correction", "go")


def find(name: str) -> tuple[str, Rule]:
    """The rule of this name, whatever its case; ConfigError if there is none."""
    for known, rule in RULES.items():
        if known.lower() == name.lower():
            return known, rule
    raise ConfigError(f"type: unknown solver {name!r}{suggest(name, RULES)}; known: {', '.join(RULES)}")


@cache
def update_kernel(name: str, regularization: str) -> Kernel:
    """One pass: regularise, compute the update, apply it. A line of memory is all of one parameter, its owner."""
    rule = RULES[name]
    histories = ["h", "h2"][: rule.histories]
    penalty = "" if rule.decoupled else f" + decay * ({PENALTIES[regularization]})"
    body = [f"g = g * scale{penalty}", *rule.statements]
    body = [typed_literals(statement) for statement in body]
    signature = "owner: int*, rates: T*, decays: T*, numbers: T*, line: int, lines: int -> w_all: T*, g_all: T*"
    signature += "".join(f", {h}_all: T*" for h in histories)
    arguments = ", ".join(part.split(":")[0].strip() for part in signature.replace("->", ",").split(","))
    loads = [f"{v} = {v}_all[j]" for v in ("w", "g", *histories)]
    stores = [f"{h}_all[j] = {h}" for h in histories] + ["g_all[j] = u", "w_all[j] = w - u"]
    numbers = [f"{n} = numbers[{i}]" for i, n in enumerate(NUMBERS)]
    scaled = ["lr = rate * rates[owner[at]]", f"decay = numbers[{NUMBERS.index('decay')}] * decays[owner[at]]"]
    source = [
        f"def {name.lower()}_update(i, {arguments}):",
        *(f"    {s}" for s in numbers),
        f"    at, last = i * {SHARE}, min((i + 1) * {SHARE}, lines)",
        "    while at < last:",  # lines at ... end are of one parameter, lines of one lie together
        "        end = last if owner[last - 1] == owner[at] else at + 1",
        "        while end < last and owner[end] == owner[at]:",
        "            end += 1",
        *(f"        {s}" for s in scaled),
        "        for j in range(at * line, end * line):",
        *(f"            {s}" for s in (*loads, *body, *stores)),
        "        at = end",
    ]
    space: dict[str, Any] = {"__name__": __name__, "T": T, "where": where, "sqrt": sqrt}
    exec(compile("\n".join(source), f"<update rule {name} {regularization}>", "exec"), space)
    made = Kernel(space[f"{name.lower()}_update"], signature, f"(lines + {SHARE - 1}) // {SHARE}", f"{SHARE} * line")
    made.cuda(_cuda_body(numbers, scaled, loads, body, stores, histories), over="lines * line")
    return made


def _cuda_body(numbers, scaled, loads, body, stores, histories) -> str:  # type: ignore[no-untyped-def]
    """The same statements for one element a thread: declared, then as they are."""
    declared = ", ".join([*NUMBERS, "lr", "w", "g", "u", *histories])
    owner = [s.replace("owner[at]", "owner[j / line]") for s in scaled]
    return f"int j = i; T {declared}; if (!numbers[{NUMBERS.index('go')}]) return; " + " ".join(
        f"{s};" for s in (*numbers, *owner, *loads, *body, *stores)
    )
