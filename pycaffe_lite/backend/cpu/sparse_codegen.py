"""Code for the names in `sparse.py`: inline assembly for AVX-512 and AVX2, LLVM vectors for the rest.

Both come in one form per number of vectors. (As LLVM code for AVX-512 the loop is fine, too, but not all of its forms.)
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from . import sparse, tile
from .codegen import I32, I64
from .sparse import MOST_VECTORS
from .tile_assembly import BYTES, REGISTERS, Assembly, vector_name
from .tile_codegen import started, switch
from .vector import LANES
from .vector_codegen import (
    FLOAT,
    FLOAT_POINTER,
    INT_POINTER,
    VECTOR,
    at,
    emit_load,
    emit_multiply_add,
    emit_splat,
    emit_store,
    fixed,
)

FEW = 4  # vectors that leave the processor waiting for one step's sums to begin with the next


class Listed(Assembly):
    """`add_listed`. Few sums are kept twice, of every other step, so that enough of them are under way."""

    CHANGED = ("places", "numbers", "start", "count", "scratch")
    KEPT = ("table", "b", "c")

    def __init__(self, vectors: int):
        self.ways = 2 if vectors <= FEW else 1
        super().__init__(self.ways, vectors)
        self.number = vector_name(REGISTERS - 1)

    def text(self) -> str:
        count, sums = self.operand["count"], range(self.vectors)
        if self.ways == 1:
            lines = [".p2align 5", "4:", *self.take(0), f"decq {count}", "jnz 4b"]
        else:
            both = [*self.take(0), *self.take(1), f"subq $$2, {count}"]
            lines = [f"subq $$2, {count}", "jl 5f", ".p2align 5", "4:", *both, "jge 4b"]
            lines += ["5:", f"testq $$1, {count}", "jz 6f", *self.take(0), "6:"]
            lines += [f"vaddps {self.accumulator(1, j)}, {vector_name(j)}, {vector_name(j)}" for j in sums]
        stores = [f"vmovups {vector_name(j)}, {j * BYTES}({self.operand['c']})" for j in sums]
        return "\n".join([*self.begin(), *lines, *stores, "vzeroupper"])

    def begin(self) -> list[str]:
        """Sums: zero, or what `start` points at."""
        start = self.operand["start"]
        loads = [f"vmovups {j * BYTES}({start}), {vector_name(j)}" for j in range(self.vectors)]
        return [*self.zeros(), f"testq {start}, {start}", "jz 3f", *loads, "3:"]

    def locate(self) -> list[str]:
        """The place of a step's row, and its number."""
        place, places, numbers = (self.operand[name] for name in ("scratch", "places", "numbers"))
        found = [f"movslq ({places}), {place}", f"movslq ({self.operand['table']}, {place}, 4), {place}"]
        return [*found, f"vbroadcastss ({numbers}), {self.number}", f"addq $$4, {places}", f"addq $$4, {numbers}"]

    def take(self, way: int) -> list[str]:
        """A step: its number times its row."""
        row = f"({self.operand['b']}, {self.operand['scratch']}, 4)"
        sums = [self.accumulator(way, j) for j in range(self.vectors)]
        return [*self.locate(), *(f"vfmadd231ps {j * BYTES}{row}, {self.number}, {s}" for j, s in enumerate(sums))]


class Entries(Listed):
    """`add_entries`."""

    CHANGED = ("entries", "start", "count", "scratch")
    KEPT = ("b", "c")

    def locate(self) -> list[str]:
        entries = self.operand["entries"]
        found = [f"movslq ({entries}), {self.operand['scratch']}", f"vbroadcastss 4({entries}), {self.number}"]
        return [*found, f"addq $$8, {entries}"]


def _step(builder: Any, of: dict[str, Any], p: Any) -> tuple[Any, Any]:
    """Where step p's row is in B, and its number."""

    def item(pointer: Any, index: Any, kind: Any) -> Any:
        return builder.load(at(builder, pointer, index), typ=kind)

    if "entries" in of:
        first = builder.shl(p, ir.Constant(I64, 1))
        second = builder.add(first, ir.Constant(I64, 1))
        return builder.sext(item(of["entries"], first, I32), I64), item(of["entries"], second, FLOAT)
    place = builder.sext(item(of["places"], p, I32), I64)
    return builder.sext(item(of["table"], place, I32), I64), item(of["numbers"], p, FLOAT)


def _portable(builder: Any, of: dict[str, Any], vectors: int) -> None:
    """The same as LLVM vectors."""
    function, tiles = builder.function, [(0, j) for j in range(vectors)]
    loop, after = (function.append_basic_block(f"list.{name}") for name in ("loop", "after"))
    null = builder.icmp_unsigned("==", builder.ptrtoint(of["start"], I64), ir.Constant(I64, 0))
    of = {**of, "start_row": ir.Constant(I64, 0), "b_step": ir.Constant(I64, 0)}
    begin = started(builder, of, null, tiles, lambda pointer, row, i, j: at(builder, pointer, j * LANES))
    before = builder.block
    builder.branch(loop)
    builder.position_at_end(loop)
    p, sums = builder.phi(I64), [builder.phi(VECTOR) for _ in tiles]
    place, number = _step(builder, of, p)
    row, factor = at(builder, of["b"], place), emit_splat(builder, number)
    parts = [emit_load(builder, at(builder, row, j * LANES)) for j in range(vectors)]
    following = [emit_multiply_add(builder, factor, part, old) for part, old in zip(parts, sums)]
    step = builder.add(p, ir.Constant(I64, 1))
    for phi, first, then in zip([p, *sums], [ir.Constant(I64, 0), *begin], [step, *following]):
        phi.add_incoming(first, before)
        phi.add_incoming(then, loop)
    builder.cbranch(builder.icmp_signed("<", step, of["count"]), loop, after)
    builder.position_at_end(after)
    for j, value in enumerate(following):
        emit_store(builder, at(builder, of["c"], j * LANES), value)


def _define(stub: Any, names: tuple[str, ...], kind: type[Listed]) -> None:
    """Give numba a stub, with the form for each number of vectors."""
    pointers = {"places": INT_POINTER, "table": INT_POINTER, "count": types.int64, "vectors": types.int64}

    def emit(builder: Any, *args: Any) -> None:
        of = dict(zip(names, args))

        def form(vectors: int) -> None:
            if not tile.ASSEMBLY:
                _portable(builder, of, vectors)
                return
            address = {n: v if n == "count" else builder.ptrtoint(v, I64) for n, v in of.items() if n != "vectors"}
            kind(vectors).call(builder, {**address, "scratch": ir.Constant(I64, 0)})

        switch(builder, of["vectors"], MOST_VECTORS, form)

    fixed(stub, types.void, tuple(pointers.get(name, FLOAT_POINTER) for name in names), emit)


_define(sparse.add_listed, ("places", "table", "numbers", "b", "start", "c", "count", "vectors"), Listed)
_define(sparse.add_entries, ("entries", "b", "start", "c", "count", "vectors"), Entries)
