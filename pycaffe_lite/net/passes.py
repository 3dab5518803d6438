"""Which passes there are over the schedule of a net, and which of them are left out.

Each is a file of its own, and has a name by which it can be switched off: in `$CAFFE_LITE_WITHOUT`, with
`--without` on the command line, with `Net.from_proto(..., without=...)`; `all` is all of them. Nothing that a
person can read by name depends on them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from ..errors import ConfigError, suggest
from . import (
    drop_bias,
    fuse_fold,
    fuse_norm,
    fuse_pool,
    fuse_relu,
    fuse_sum,
    fuse_winners,
    share_gradients,
    share_pieces,
)
from .schedule import Pass, Schedule
from .wire import Graph

PASSES: dict[str, Callable[[Schedule], None]] = {
    "fold": fuse_fold.fuse,
    "norm": fuse_norm.fuse,
    "pool": fuse_pool.fuse,
    "relu": fuse_relu.fuse,
    "sum": fuse_sum.fuse,
    "bias": drop_bias.drop,
    "winners": fuse_winners.fuse,
}
ALIASES: dict[str, Callable[[Graph], None]] = {
    "gradients": share_gradients.share,
    "pieces": share_pieces.share,
}
VARIABLE = "CAFFE_LITE_WITHOUT"


def schedule(graph: Graph, direction: Pass) -> Schedule:
    """The steps of a pass, after all passes over it that are not switched off."""
    made = Schedule(graph, direction)
    for name, fuse in PASSES.items():
        if name not in graph.without:
            fuse(made)
    return made


def alias(graph: Graph) -> None:
    """Let blobs share memory where one would only be a copy of the other. (Again, whenever some have moved.)"""
    for name, share in ALIASES.items():
        if name not in graph.without:
            share(graph)


def left_out(names: Iterable[str] | None = None) -> frozenset[str]:
    """The passes to leave out: these, or what the environment says; ConfigError for one that there is not."""
    where = "without" if names is not None else VARIABLE
    given = list(names) if names is not None else os.environ.get(VARIABLE, "").replace(",", " ").split()
    known = [*ALIASES, *PASSES]
    for name in given:
        if name not in (*known, "all"):
            raise ConfigError(
                f"{where}: must name passes ({', '.join(known)}) or be all, got {name!r}{suggest(name, known)}"
            )
    return frozenset(known if "all" in given else given)
