"""The pieces of a Concat or a Slice lie in the whole, where each is one stretch of it: then nothing has to be copied.

That is so along an axis in front of which all sizes are 1: channels of one image, rows of a batch. The layer below
a Concat writes into the whole, the one behind a Slice reads from it, and gradients go the same way back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf

from ..layers._pieces import Pieces
from ..memory import Memory, aligned_size
from .schedule import Pass, touched
from .wire import Graph, Node

Place = tuple[Memory, int, int]  # the whole, where in it a piece begins, how many elements it has


def share(graph: Graph) -> None:
    """Let pieces lie in their wholes; again, when shapes have changed: then they may lie elsewhere, or apart."""
    places = _Sharing(graph).places if any(is_cut(node) for node in graph.nodes) else {}
    memories = [m for n in graph.nodes for t in n.top for m in (t.data_memory, t.diff_memory)]
    if places == {m: (m.whole, m.at, m.count) for m in memories if m.whole}:
        return
    parts = {m: None for memory in memories for m in (*memory.parts, memory) if m.whole}
    wholes = {whole: None for whole, _, _ in places.values() if whole not in places}
    for memory in (*parts, *wholes):  # wholes, too: where one was placed, somebody else may live just now
        memory.leave()
    for memory, place in places.items():
        memory.become_part_of(*place)


def is_cut(node: Node) -> bool:
    """Whether this is a Concat or a Slice whose pieces are stretches of the whole."""
    return isinstance(node.layer, Pieces) and node.layer.rows == 1 and not node.layer.shares_data


@dataclass
class Events:
    """At which turns of forward and backward a memory is read and written."""

    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)

    @property
    def all(self) -> list[float]:
        return self.reads + self.writes


class _Sharing:
    """What is known of all memories while it is decided which may lie in which."""

    def __init__(self, graph: Graph):
        self.graph, self.places = graph, dict[Memory, Place]()
        self.events: dict[Memory, Events] = {}
        self.sizes: dict[Memory, int] = {}
        self.members: dict[Memory, list[Memory]] = {}  # of a root: all that lie in it, itself too
        for node in graph.nodes:
            for top in node.top:
                for memory in (top.data_memory, top.diff_memory):
                    self.sizes[memory], self.members[memory] = top.count, [memory]
                    self.events[memory] = Events()
        self.note_events()
        self.fixed = set(self.written_elsewhere())
        for node in graph.nodes:
            if is_cut(node):
                self.share(node)

    def note_events(self) -> None:
        """When each memory is read and written; what is wanted after a run is read at the very end."""
        for turn, node, direction in turns(self.graph):
            for memories, what in zip(touched(node, direction), ("reads", "writes")):
                for memory in memories:
                    if memory in self.events:  # else it is a parameter's
                        getattr(self.events[memory], what).append(turn)
        for blob in (self.graph.blobs[name] for name in self.graph.kept if name in self.graph.blobs):
            for memory in (blob.data_memory, blob.diff_memory):
                self.events[memory].reads.append(inf)

    def written_elsewhere(self) -> Iterator[Memory]:
        """What is not written by launches alone: inputs, batches, what Python layers make, losses and their weights."""
        for node in self.graph.nodes:
            for top, weight in zip(node.top, node.loss_weights):
                if weight or not node.bottom or node.layer.on_host or node.renamed:
                    yield from (top.data_memory, top.diff_memory)
            yield from (m for pair in node.renamed for blob in pair for m in (blob.data_memory, blob.diff_memory))

    def share(self, node: Node) -> None:
        """Place the pieces of one layer, as far as that may be."""
        joins = node.layer.type == "Concat"
        (whole,), pieces = (node.top, node.bottom) if joins else (node.bottom, node.top)
        lengths = node.layer.lengths  # type: ignore[attr-defined]
        turn = self.graph.nodes.index(node)
        for piece, at, length in zip(pieces, accumulate(lengths, initial=0), lengths):
            self.place(piece.data_memory, (whole.data_memory, at, length), turn, joins)
        if not node.needs_backward or self.graph.forward_only:
            return
        turn = 2 * len(self.graph.nodes) - 1 - turn
        wanted = node.propagate_down if joins else node.propagate_down * len(pieces)
        for piece, at, length, it_is in zip(pieces, accumulate(lengths, initial=0), lengths, wanted):
            if it_is:
                self.place(piece.diff_memory, (whole.diff_memory, at, length), turn, not joins)

    def place(self, piece: Memory, place: Place, turn: int, joins: bool) -> None:
        """Let the piece lie there unless somebody would see it; at this turn it is copied to the whole, or from it."""
        whole, at, length = place
        root, start = self.resolved(whole)
        free = piece not in self.places and piece is not root and self.fixed.isdisjoint((piece, whole))
        if not free or not length or self.sizes[piece] != length or aligned_size(at, whole.dtype) != at:
            return  # a kernel may count on the beginning of a cache line
        of_piece = self.events_in(piece, 0, length)
        of_whole = self.events_in(root, start + at, length)
        if may_share(of_piece, of_whole, turn) if joins else may_share(of_whole, of_piece, turn):
            self.places[piece] = place
            self.members[root] += self.members.pop(piece)

    def resolved(self, memory: Memory) -> tuple[Memory, int]:
        """The root that a memory lies in, and where."""
        if memory not in self.places:
            return memory, 0
        whole, at, _ = self.places[memory]
        root, start = self.resolved(whole)
        return root, start + at

    def events_in(self, root: Memory, start: int, length: int) -> Events:
        """All that happens in a stretch of a root."""
        found = Events()
        for memory in self.members[root]:
            at = self.resolved(memory)[1]
            if at < start + length and start < at + self.sizes[memory]:
                found.reads += self.events[memory].reads
                found.writes += self.events[memory].writes
        return found


def turns(graph: Graph) -> Iterator[tuple[int, Node, Pass]]:
    """The layers of forward and then of backward, each with its turn."""
    for turn, node in enumerate(graph.nodes):
        yield turn, node, "forward"
    for turn, node in enumerate(reversed(graph.nodes), len(graph.nodes)):
        if node.needs_backward and not graph.forward_only:
            yield turn, node, "backward"


def may_share(source: Events, target: Events, turn: int) -> bool:
    """Whether nobody can tell if what is copied at this turn from source to target is one memory from the start.

    Both must come into being when they should: else they hold what somebody left there before, or elsewhere. And
    behind the copy, neither may be written while the other's values are still wanted.
    """
    made = min(source.writes, default=inf)
    if made >= turn or min(source.reads, default=inf) < made or min(target.all) < turn:
        return False
    for written, read in ((source.writes, target.reads), (target.writes, source.reads)):
        later = min((when for when in written if when > turn), default=inf)
        if any(when >= later for when in read if when > turn and later < inf):
            return False
    return True
