"""The tiles of `tile.py` as inline assembly for AVX-512 and AVX2, one class a way to find the numbers of A."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .codegen import I64
from .tile import VECTORS
from .vector import AVX512, LANES

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
