"""Code for the names in `tile.py`: assembly (`tile_assembly.py`) for AVX-512 and AVX2, LLVM vectors for the rest.

Both come in one form per number of rows, so that no tile computes rows which nobody wants.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from . import tile, vector_codegen
from .codegen import I32, I64
from .tile import MOST_TAPS, MOST_VECTORS, ROWS, SQUARE, VECTORS, widest
from .tile_assembly import Assembly, Listed, Neighbours, Square, Strided
from .vector import LANES
from .vector_codegen import FLOAT, FLOAT_POINTER, LONG_POINTER, VECTOR, ZERO, at, fixed


def _call(form: Assembly, builder: Any, operands: dict[str, Any]) -> None:
    values = {"scratch": ir.Constant(I64, 0)}
    for name, value in operands.items():
        if name in ("a", "b", "start", "c", "table"):
            value = builder.ptrtoint(value, I64)
        elif name == "floor":
            value = builder.zext(builder.bitcast(value, I32), I64)
        elif name != "k":
            value = builder.shl(value, ir.Constant(I64, 2))
        values[name] = value
    form.call(builder, values)


def _portable(builder: Any, of: dict[str, Any], rows: int, vectors: int = VECTORS) -> None:
    """The same tile as LLVM vectors."""
    function, tiles = builder.function, [(i, j) for i in range(rows) for j in range(vectors)]

    def place(pointer: Any, stride: Any, i: int, j: int) -> Any:
        return at(builder, at(builder, pointer, builder.mul(stride, ir.Constant(I64, i))), j * LANES)

    loop, after = (function.append_basic_block(f"tile.{name}") for name in ("loop", "after"))
    null = builder.icmp_unsigned("==", builder.ptrtoint(of["start"], I64), ir.Constant(I64, 0))
    begin = started(builder, of, null, tiles, place)
    before = builder.block
    builder.branch(loop)
    builder.position_at_end(loop)
    p, sums = builder.phi(I64), [builder.phi(VECTOR) for _ in tiles]
    listed = "table" in of and "a_step" in of  # then the table is of rows of B
    place_of_b = (
        builder.load(builder.gep(of["table"], [p], source_etype=I64), typ=I64)
        if listed
        else builder.mul(p, of["b_step"])
    )
    row = at(builder, of["b"], place_of_b)
    parts = [vector_codegen.emit_load(builder, at(builder, row, j * LANES)) for j in range(vectors)]
    if "table" in of and not listed:
        column = at(builder, of["a"], builder.load(builder.gep(of["table"], [p], source_etype=I64), typ=I64))
    else:
        column = at(builder, of["a"], builder.mul(p, of["a_step"]))

    def number(i: int) -> Any:
        """This step's number of row i of A."""
        if rows == SQUARE and "pitch" in of:
            line = builder.mul(of["pitch"], ir.Constant(I64, i // 3))
            return builder.load(at(builder, at(builder, column, line), i % 3), typ=FLOAT)
        return builder.load(place(column, of["a_row"], i, 0), typ=FLOAT)

    numbers = [vector_codegen.emit_splat(builder, number(i)) for i in range(rows)]
    following = [
        vector_codegen.emit_multiply_add(builder, numbers[i], parts[j], old) for (i, j), old in zip(tiles, sums)
    ]
    step = builder.add(p, ir.Constant(I64, 1))
    for phi, first, then in zip([p, *sums], [ir.Constant(I64, 0), *begin], [step, *following]):
        phi.add_incoming(first, before)
        phi.add_incoming(then, loop)
    builder.cbranch(builder.icmp_signed("<", step, of["k"]), loop, after)
    builder.position_at_end(after)
    floor = vector_codegen.emit_splat(builder, of["floor"])
    for (i, j), value in zip(tiles, following):
        bounded = vector_codegen.emit_at_least(builder, value, floor)
        vector_codegen.emit_store(builder, place(of["c"], of["c_row"], i, j), bounded)


def started(builder: Any, of: dict[str, Any], null: Any, tiles: list[tuple[int, int]], place: Any) -> list[Any]:
    """What the sums begin with."""
    function, before = builder.function, builder.block
    there, ready = (function.append_basic_block(f"tile.{name}") for name in ("start", "ready"))
    builder.cbranch(null, ready, there)
    builder.position_at_end(there)
    if "b_step" in of:
        loaded = [vector_codegen.emit_load(builder, place(of["start"], of["start_row"], i, j)) for i, j in tiles]
    else:  # each row begins with one number
        numbers = [builder.load(at(builder, of["start"], i), typ=FLOAT) for i, _ in tiles]
        loaded = [vector_codegen.emit_splat(builder, number) for number in numbers]
    builder.branch(ready)
    builder.position_at_end(ready)
    begin = [builder.phi(VECTOR) for _ in tiles]
    for phi, value in zip(begin, loaded):
        phi.add_incoming(ZERO, before)
        phi.add_incoming(value, there)
    return begin


def switch(builder: Any, number: Any, forms: int, emit: Any) -> None:
    """Jump to the code of emit(1), emit(2) ... emit(forms), as `number` says."""
    end = builder.function.append_basic_block("tile.end")
    blocks = [builder.function.append_basic_block(f"tile.{count}") for count in range(1, forms + 1)]
    choice = builder.switch(number, blocks[-1])
    for count, block in enumerate(blocks, 1):
        if count < forms:
            choice.add_case(ir.Constant(I64, count), block)
        builder.position_at_end(block)
        emit(count)
        builder.branch(end)
    builder.position_at_end(end)


TILE = ("a", "a_row", "a_step", "b", "b_step", "start", "start_row", "c", "c_row", "k", "rows", "floor")


def emit_multiply_tile(builder: Any, *args: Any) -> None:
    """The form for this number of rows."""
    of = dict(zip(TILE, args))

    def form(rows: int) -> None:
        operands = {name: value for name, value in of.items() if name != "rows"}
        if tile.ASSEMBLY:
            _call(Strided(rows), builder, operands)
        else:
            _portable(builder, operands, rows)

    switch(builder, of["rows"], ROWS, form)


NEIGHBOURS = ("a", "table", "b", "start", "start_row", "c", "k", "rows", "vectors", "floor")


def emit_multiply_neighbours(builder: Any, *args: Any) -> None:
    """The form for this number of rows and vectors."""
    of = dict(zip(NEIGHBOURS, args))
    width = builder.mul(of["vectors"], ir.Constant(I64, LANES))

    def form(number: int) -> None:
        rows, vectors = (number - 1) // VECTORS + 1, (number - 1) % VECTORS + 1
        operands = {name: value for name, value in of.items() if name not in ("rows", "vectors")}
        operands["c_row"] = width
        if tile.ASSEMBLY:
            _call(Neighbours(rows, vectors), builder, operands)
        else:
            _portable(builder, {**operands, "a_row": ir.Constant(I64, 1), "b_step": width}, rows, vectors)

    before = builder.mul(builder.sub(of["rows"], ir.Constant(I64, 1)), ir.Constant(I64, VECTORS))
    switch(builder, builder.add(before, of["vectors"]), ROWS * VECTORS, form)


LISTED = ("a", "a_row", "table", "b", "bias", "c", "c_row", "k", "rows", "vectors", "floor")


def emit_multiply_listed(builder: Any, *args: Any) -> None:
    """The form for this number of rows and vectors."""
    of = dict(zip(LISTED, args))

    def form(number: int) -> None:
        rows, vectors = (number - 1) // VECTORS + 1, (number - 1) % VECTORS + 1
        operands = {name: value for name, value in of.items() if name not in ("rows", "vectors", "bias")}
        operands |= {"start": of["bias"], "start_row": ir.Constant(I64, 0)}
        if tile.ASSEMBLY:
            _call(Listed(rows, vectors), builder, {**operands, "place": ir.Constant(I64, 0)})
        else:
            _portable(builder, {**operands, "a_step": ir.Constant(I64, 1)}, rows, vectors)

    before = builder.mul(builder.sub(of["rows"], ir.Constant(I64, 1)), ir.Constant(I64, VECTORS))
    switch(builder, builder.add(before, of["vectors"]), ROWS * VECTORS, form)


TAPS = ("a", "table", "pitch", "b", "start", "c", "c_row", "k", "rows", "vectors")


def emit_multiply_taps(builder: Any, *args: Any) -> None:
    """The form for this number of rows and vectors; those for which registers are lacking are never asked for."""
    of = dict(zip(TAPS, args))
    width = builder.mul(of["vectors"], ir.Constant(I64, LANES))
    shapes = [(r, v) for r in (*range(1, MOST_TAPS + 1), SQUARE) for v in range(1, MOST_VECTORS + 1)]

    def form(number: int) -> None:
        rows, vectors = shapes[number - 1]
        vectors = min(vectors, widest(rows))
        operands = {name: value for name, value in of.items() if name not in ("rows", "vectors")}
        operands |= {"start_row": of["c_row"], "floor": ir.Constant(FLOAT, tile.FLAT)}
        if not tile.ASSEMBLY:
            _portable(builder, {**operands, "a_row": ir.Constant(I64, 1), "b_step": width}, rows, vectors)
        elif rows == SQUARE:
            _call(Square(rows, vectors), builder, operands)
        else:
            del operands["pitch"]
            _call(Neighbours(rows, vectors), builder, operands)

    last = ir.Constant(I64, MOST_TAPS + 1)
    order = builder.select(builder.icmp_signed("<", of["rows"], last), of["rows"], last)
    before = builder.mul(builder.sub(order, ir.Constant(I64, 1)), ir.Constant(I64, MOST_VECTORS))
    switch(builder, builder.add(before, of["vectors"]), len(shapes), form)


KINDS = {
    **dict.fromkeys(("a", "b", "start", "bias", "c"), FLOAT_POINTER),
    "table": LONG_POINTER,
    "floor": types.float32,
}


def _define(stub: Any, names: tuple[str, ...], emit: Any) -> None:
    fixed(stub, types.void, tuple(KINDS.get(name, types.int64) for name in names), emit)


_define(tile.multiply_tile, TILE, emit_multiply_tile)
_define(tile.multiply_neighbours, NEIGHBOURS, emit_multiply_neighbours)
_define(tile.multiply_listed, LISTED, emit_multiply_listed)
_define(tile.multiply_taps, TAPS, emit_multiply_taps)
