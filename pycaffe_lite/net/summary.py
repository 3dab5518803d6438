"""What a net is made of: layers, shapes, parameters, arithmetic and memory, without running or filling it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from ..blob import Blob
from ..memory import Memory
from ..text_table import Column, aligned, bytes_text, html, with_unit
from .cost import cost
from .wire import Graph, Node


@dataclass
class Row:
    """One layer: `tops` and `params` as (name, shape); bytes of what its tops add to memory."""

    name: str
    type: str
    tops: list[tuple[str, tuple[int, ...]]]
    params: list[tuple[int, ...]]
    parameters: int
    multiply_adds: int
    flops: int
    activation_bytes: int


COLUMNS: list[Column] = [
    ("layer", "left"), ("type", "left"), ("output shape", "left"), ("parameters", "right"),
    ("multiply-adds", "right"), ("FLOPs", "right"), ("activations", "right"),
]  # fmt: skip


@dataclass(repr=False)
class Summary:
    """A net in one phase: its layers, totals, and the samples in a batch."""

    name: str
    phase: str
    rows: list[Row]
    totals: dict[str, int]
    batch: int
    outputs: list[str]

    @property
    def title(self) -> str:
        return f"{self.name or 'net'} ({self.phase})"

    def table(self) -> tuple[list[Column], list[list[str]], list[str]]:
        """Columns, a row for each layer, and the row of totals."""
        rows = [
            [
                row.name, row.type, tops_text(row.tops), f"{row.parameters:,}" if row.parameters else "",
                with_unit(row.multiply_adds) if row.multiply_adds else "", with_unit(row.flops) if row.flops else "",
                bytes_text(row.activation_bytes) if row.activation_bytes else "in place" if row.tops else "",
            ]
            for row in self.rows
        ]  # fmt: skip
        t = self.totals
        total = [
            "total", "", "", f"{t['parameters']:,}", with_unit(t["multiply_adds"]), with_unit(t["flops"]),
            bytes_text(t["activation_bytes"]),
        ]  # fmt: skip
        return COLUMNS, rows, total

    def words(self) -> list[str]:
        """The totals in words, a line each."""
        t = self.totals
        fixed = t["parameters"] - t["learnable"]
        memory = {k: t[f"{k}_bytes"] for k in ("parameter", "activation", "gradient") if t[f"{k}_bytes"]}
        sample = with_unit(t["multiply_adds"] / max(1, self.batch))
        return [
            f"parameters: {t['parameters']:,}" + (f", {fixed:,} of them with lr_mult 0" if fixed else ""),
            f"multiply-adds: {with_unit(t['multiply_adds'])}, {sample} a sample",
            "memory: " + ", ".join(f"{kind}s {bytes_text(size)}" for kind, size in memory.items()),
            f"outputs: {', '.join(self.outputs) or 'none'}",
        ]

    def __str__(self) -> str:
        return "\n".join([self.title, *aligned(*self.table()), *self.words()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The table for notebooks."""
        return html(self.title, *self.table()) + "".join(f"<div>{escape(line)}</div>" for line in self.words())

    def as_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        made = asdict(self)
        made["layers"] = made.pop("rows")
        return made


def summarize(graph: Graph, phase: str, types: Mapping[str, str] = {}) -> Summary:
    """The summary of a graph; `types` are those of layers that others stand in for (offline.py).

    Split layers, which the net inserts by itself, cost nothing and are left out.
    """
    seen: set[Memory] = set()
    owned = {entry.blob for entry in graph.learnable}
    rows = [row(node, owned, seen, types) for node in graph.nodes if node.layer.type != "Split"]
    totals = {
        "parameters": sum(entry.blob.count for entry in graph.learnable),
        "learnable": sum(entry.blob.count for entry in graph.learnable if entry.lr_mult),
        "multiply_adds": sum(r.multiply_adds for r in rows),
        "flops": sum(r.flops for r in rows),
        "parameter_bytes": size_of(entry.blob.data_memory for entry in graph.learnable),
        "activation_bytes": size_of(seen),
        "gradient_bytes": size_of(gradients(graph)) if phase == "TRAIN" else 0,
    }
    shape = next((top.shape for node in graph.nodes for top in node.top), ())
    return Summary(graph.name, phase, rows, totals, shape[0] if shape else 1, outputs(graph))


def row(node: Node, owned: set[Blob], seen: set[Memory], types: Mapping[str, str]) -> Row:
    """One layer; memory that is there already (in place, Split) is not counted again."""
    new = {top.data_memory for top in node.top} - seen
    seen |= new
    spent = cost(node)
    return Row(
        node.layer.name,
        types.get(node.layer.name, node.layer.message.type),
        [(name, top.shape) for name, top in zip(node.top_names, node.top)],
        [blob.shape for blob in node.layer.blobs],
        sum(blob.count for blob in node.layer.blobs if blob in owned),
        spent.multiply_adds,
        spent.flops,
        size_of(new),
    )


def outputs(graph: Graph) -> list[str]:
    """The net's outputs with their shapes."""
    return [f"{name} {shape_text(graph.blobs[name].shape)}" for name in graph.outputs]


def gradients(graph: Graph) -> set[Memory]:
    """The gradients that a backward pass writes: of parameters, and of the blobs on the way to them."""
    found = {e.blob.diff_memory for e in graph.learnable if e.lr_mult}
    for node in graph.nodes:
        found |= {b.diff_memory for b, wanted in zip(node.bottom, node.propagate_down) if wanted}
    return found


def size_of(memories: Iterable[Memory]) -> int:
    """Bytes of these memories together; what lies in another is counted with that."""
    return sum(memory.count * memory.dtype.itemsize for memory in memories if not memory.whole)


def shape_text(shape: tuple[int, ...]) -> str:
    """`64x3x227x227`; a scalar is `()`."""
    return "x".join(map(str, shape)) or "()"


def tops_text(tops: list[tuple[str, tuple[int, ...]]]) -> str:
    """Shapes of the tops; their names too where there are several."""
    if len(tops) == 1:
        return shape_text(tops[0][1])
    return ", ".join(f"{name} {shape_text(shape)}" for name, shape in tops)
