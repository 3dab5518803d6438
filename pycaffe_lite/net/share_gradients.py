"""Gradients that would only be copies of others, or that take the place of others, lie in the same memory.

The bottoms of an Eltwise SUM have its top's gradient. And a top with the name of its bottom is one blob in Caffe,
gradient included: so it is here, even where the values of both are still needed.
"""

from __future__ import annotations

from ..blob import Blob
from ..memory import Memory
from ..proto import caffe_pb2
from .schedule import Schedule
from .wire import Graph, Node


def share(graph: Graph) -> None:
    """Decide once which gradients share memory, and let them; again, when blobs have got other memory."""
    if graph.same_diffs is None:
        graph.same_diffs = _Sharing(graph).pairs
    for blob, other in graph.same_diffs:
        blob.diff_memory = other.diff_memory


class _Sharing:
    """Who reads and who writes which gradient, and when, while it is decided what may be shared."""

    def __init__(self, graph: Graph):
        self.pairs: list[tuple[Blob, Blob]] = []
        self.blobs: dict[Memory, list[Blob]] = {}
        for node in graph.nodes:
            for top in node.top:
                if top not in self.blobs.setdefault(top.diff_memory, []):
                    self.blobs[top.diff_memory].append(top)
        self.fixed = {t.diff_memory for n in graph.nodes for t, w in zip(n.top, n.loss_weights) if w}
        self.reads: dict[Memory, list[int]] = {}
        self.writes: dict[Memory, list[int]] = {}
        steps = Schedule(graph, "backward").steps
        for at, step in enumerate(steps):
            for memories, times in ((step.reads, self.reads), (step.writes, self.writes)):
                for memory in memories:
                    times.setdefault(memory, []).append(at)
        for at, step in enumerate(steps):
            if is_sum(step.node):
                self.share_sum(at, step.node)
        for at, step in enumerate(steps):
            if works_in_place(step.node):
                self.share_name(at, step.node)

    def share_sum(self, at: int, node: Node) -> None:
        """Give bottoms the top's gradient, unless anybody writes into either of them later."""
        shared = node.top[0].diff_memory
        for bottom, wanted in zip(node.bottom, node.propagate_down):
            own = bottom.diff_memory
            alone = self.writes.get(own) == [at] and own not in self.fixed
            if wanted and alone and max(self.writes.get(shared, []), default=-1) < at:
                del self.writes[own]  # there is nothing left to do
                self.unite(own, shared)

    def share_name(self, at: int, node: Node) -> None:
        """Let the bottom's gradient take the place of the top's, unless that is still wanted."""
        own, shared = node.bottom[0].diff_memory, node.top[0].diff_memory
        strangers = any(blob.name != node.top[0].name for blob in self.blobs[shared])
        if own is shared or strangers or shared in self.fixed or own in self.fixed:
            return
        later = max(self.reads.get(shared, []) + self.writes.get(shared, []), default=at) > at
        earlier = min(self.reads.get(own, []) + self.writes.get(own, []), default=at) < at
        if not later and not earlier:
            self.unite(shared, own)

    def unite(self, memory: Memory, other: Memory) -> None:
        """Blobs with the first memory are to have the other."""
        blobs, others = self.blobs.pop(memory), self.blobs[other]
        for blob in blobs:
            self.pairs.append((blob, others[0]))
            blob.diff_memory = other
        others += blobs
        for times in (self.reads, self.writes):
            times[other] = sorted(times.get(other, []) + times.get(memory, []))


def is_sum(node: Node) -> bool:
    """Whether the gradients of all bottoms are that of the top."""
    eltwise = node.layer.param if node.layer.type == "Eltwise" else None
    return eltwise is not None and (
        eltwise.operation == caffe_pb2.EltwiseParameter.SUM and all(c == 1 for c in eltwise.coeff)
    )


def works_in_place(node: Node) -> bool:
    """Whether the only top has the name of the only bottom, and backward may write one over the other."""
    layer = node.layer
    return (layer.in_place or layer.diff_in_place) and node.top_names == node.bottom_names and node.propagate_down[0]
