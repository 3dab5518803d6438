"""Code for the names in `tile.py`: inline assembly for AVX-512 and AVX2, LLVM vectors for the rest.

Both come in one form per number of rows, so that no tile computes rows which nobody wants.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from . import tile, vector_codegen
from .codegen import I32, I64
from .tile import MOST_TAPS, MOST_VECTORS, ROWS, SQUARE, VECTORS, widest
from .vector import AVX512, LANES
from .vector_codegen import FLOAT, FLOAT_POINTER, LONG_POINTER, VECTOR, ZERO, at, fixed

BYTES = 4 * LANES
REGISTERS = 32 if AVX512 else 16
NAME = "zmm" if AVX512 else "ymm"
BASES = (0, 3, 5, 10)
"""Rows of A whose address is in a register; the others lie 1, 2, 4 or 8 row strides behind one of them."""


def vector_name(number: int) -> str:
    """A register."""
    return f"%{NAME}{number}"


class Assembly:
    """A tile with `rows` rows of `vectors` vectors, as text in AT&T order (sources first, destination last).

    Operands have 64 bits; those in CHANGED are used up. Strides count bytes. Where the numbers of A are is
    what the subclasses know.
    """

    CHANGED: tuple[str, ...] = ("a", "start", "start_row", "b", "c", "k", "scratch")
    KEPT: tuple[str, ...] = ("c_row", "floor")

    def __init__(self, rows: int, vectors: int = VECTORS):
        self.rows, self.vectors = rows, vectors
        self.accumulators = rows * vectors
        self.free = list(range(self.accumulators + vectors, REGISTERS))  # for broadcast numbers of A
        operands = enumerate((*self.CHANGED, *self.KEPT))
        # The changed operands are both results ($0..) and, tied to them, the first inputs.
        self.operand = {name: f"${i if i < len(self.CHANGED) else i + len(self.CHANGED)}" for i, name in operands}

    def accumulator(self, row: int, part: int) -> str:
        return vector_name(row * self.vectors + part)

    def of_b(self, part: int) -> str:
        return vector_name(self.accumulators + part)

    def text(self) -> str:
        lines = [*self.begin(), *self.addresses(), ".p2align 5", "1:", *self.step()]
        return "\n".join([*lines, f"decq {self.operand['k']}", "jnz 1b", *self.finish()])

    def addresses(self) -> list[str]:
        """What must be known before the first step."""
        return []

    def row_address(self, i: int) -> str:
        """Where this step's number of row i of A is."""
        raise NotImplementedError

    def locate(self) -> list[str]:
        """What must be known before a step reads A."""
        return []

    def follow(self) -> list[str]:
        """On to the next step's numbers of A."""
        return []

    def row_of_b(self) -> str:
        """Where this step's row of B is."""
        return self.operand["b"]

    def next_of_b(self) -> str:
        """On to the next row of B."""
        raise NotImplementedError

    def begin(self) -> list[str]:
        """Accumulators: zero, or what `start` points at."""
        start, row = self.operand["start"], self.operand["start_row"]
        lines = [f"testq {start}, {start}", "jnz 2f"]
        lines += self.zeros()
        lines += ["jmp 3f", "2:"]
        for i in range(self.rows):
            lines += [f"vmovups {j * BYTES}({start}), {self.accumulator(i, j)}" for j in range(self.vectors)]
            lines.append(f"addq {row}, {start}")
        return [*lines, "3:"]

    def zeros(self) -> list[str]:
        """All accumulators are zero."""
        names = [f"%xmm{number}" if number < 16 else vector_name(number) for number in range(self.accumulators)]
        return [f"{'vxorps' if 'x' in name else 'vpxord'} {name}, {name}, {name}" for name in names]

    def step(self) -> list[str]:
        """One p: the vectors of B, and each row's number of A times them."""
        loads = [f"vmovups {j * BYTES}({self.row_of_b()}), {self.of_b(j)}" for j in range(self.vectors)]
        lines = [*self.locate(), *loads, self.next_of_b()]
        for i in range(self.rows):
            number = vector_name(self.free[i % len(self.free)])
            lines.append(f"vbroadcastss {self.row_address(i)}, {number}")
            lines += [f"vfmadd231ps {self.of_b(j)}, {number}, {self.accumulator(i, j)}" for j in range(self.vectors)]
        return lines + self.follow()

    def finish(self) -> list[str]:
        """Store the larger of accumulator and floor; with operands in this order, vmaxps keeps a NaN."""
        number = self.accumulators
        floor, c = vector_name(number), self.operand["c"]
        lines = [f"vmovq {self.operand['floor']}, %xmm{number}", f"vbroadcastss %xmm{number}, {floor}"]
        for i in range(self.rows):
            for j in range(self.vectors):
                register = self.accumulator(i, j)
                lines += [f"vmaxps {register}, {floor}, {register}", f"vmovups {register}, {j * BYTES}({c})"]
            lines.append(f"addq {self.operand['c_row']}, {c}")
        return [*lines, "vzeroupper"]

    def call(self, builder: Any, operands: dict[str, Any]) -> None:
        results = len(self.CHANGED)
        constraints = [
            *["=&r"] * results,
            *map(str, range(results)),
            *["r"] * len(self.KEPT),
            *[f"~{{xmm{i}}}" for i in range(REGISTERS)],
            "~{memory}", "~{cc}", "~{dirflag}", "~{fpsr}", "~{flags}",
        ]  # fmt: skip
        names = (*self.CHANGED, *self.KEPT)
        kind = ir.FunctionType(ir.LiteralStructType([I64] * results), [I64] * len(names))
        code = ir.InlineAsm(kind, self.text(), ",".join(constraints), side_effect=True)
        builder.call(code, [operands[name] for name in names])


class Strided(Assembly):
    """`multiply_tile`: rows of A are a_row apart, its steps a_step."""

    KEPT = ("a_row", "a_step", "b_step", "c_row", "floor")

    def __init__(self, rows: int, vectors: int = VECTORS):
        super().__init__(rows, vectors)
        at = self.operand
        # Once the accumulators are set, the registers of `start` hold addresses of rows of A.
        self.base = dict(zip(BASES, (at["a"], at["start"], at["start_row"], at["scratch"])))
        self.used = [base for base in BASES if base < rows]

    def addresses(self) -> list[str]:
        """Addresses of the rows in BASES, each from the one before it."""
        row, lines = self.operand["a_row"], []
        for before, base in zip(self.used, self.used[1:]):
            steps = {3: (f"({{0}}, {row}, 2)", 1), 2: (f"({{0}}, {row}, 2)", 0), 5: (f"({{0}}, {row}, 4)", 1)}
            form, once_more = steps[base - before]
            lines.append(f"leaq {form.format(self.base[before])}, {self.base[base]}")
            lines += [f"addq {row}, {self.base[base]}"] * once_more
        return lines

    def row_address(self, i: int) -> str:
        for base in self.used:
            if i == base:
                return f"({self.base[base]})"
            if i - base in (1, 2, 4, 8):
                return f"({self.base[base]}, {self.operand['a_row']}, {i - base})"
        raise AssertionError(f"row {i} cannot be reached from {BASES}")

    def follow(self) -> list[str]:
        return [f"addq {self.operand['a_step']}, {self.base[base]}" for base in self.used]

    def next_of_b(self) -> str:
        return f"addq {self.operand['b_step']}, {self.operand['b']}"


class Listed(Strided):
    """`multiply_listed`: a table says where each step's vectors of B are, and rows begin with numbers."""

    CHANGED = (*Assembly.CHANGED, "table", "place")
    KEPT = ("a_row", "c_row", "floor")

    def begin(self) -> list[str]:
        start, zeros = self.operand["start"], super().begin()
        lines = zeros[: zeros.index("2:") + 1]
        for i in range(self.rows):
            lines.append(f"vbroadcastss {4 * i}({start}), {self.accumulator(i, 0)}")
            lines += [f"vmovaps {self.accumulator(i, 0)}, {self.accumulator(i, j)}" for j in range(1, self.vectors)]
        return [*lines, "3:"]

    def locate(self) -> list[str]:
        place = self.operand["place"]
        return [f"movq ({self.operand['table']}), {place}", f"leaq ({self.operand['b']}, {place}, 4), {place}"]

    def follow(self) -> list[str]:
        return [f"addq $$4, {self.base[base]}" for base in self.used]

    def row_of_b(self) -> str:
        return self.operand["place"]

    def next_of_b(self) -> str:
        return f"addq $$8, {self.operand['table']}"


class Neighbours(Assembly):
    """`multiply_neighbours`: rows of A lie side by side, and a table says where each step's are."""

    CHANGED = (*Assembly.CHANGED, "table")

    def locate(self) -> list[str]:
        table = self.operand["table"]
        return [f"movq ({table}), {self.operand['scratch']}", f"addq $$8, {table}"]

    def row_address(self, i: int) -> str:
        return f"{4 * i}({self.operand['a']}, {self.operand['scratch']}, 4)"

    def next_of_b(self) -> str:
        return f"addq $${self.vectors * BYTES}, {self.operand['b']}"


class Square(Neighbours):
    """`multiply_taps` with three lines of three neighbours."""

    KEPT = (*Neighbours.KEPT, "pitch")

    def locate(self) -> list[str]:
        place = self.operand["scratch"]
        return [*super().locate(), f"leaq ({self.operand['a']}, {place}, 4), {place}"]

    def row_address(self, i: int) -> str:
        place, pitch = self.operand["scratch"], self.operand["pitch"]
        return f"{4 * (i % 3)}({place}{('', f', {pitch}', f', {pitch}, 2')[i // 3]})"


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
