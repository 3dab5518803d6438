"""LLVM code for the names in `vector.py`. Imported only to compile."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import PrimitiveModel, register_default

from . import vector
from .codegen import I32, I64, POINTER, define
from .vector import LANES

FLOAT = ir.FloatType()
VECTOR, INTEGERS = ir.VectorType(FLOAT, LANES), ir.VectorType(I32, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)
ROOT = 0x4F586000  # 5/4 of the bits of 1.0, less what balances the error
ZERO = ir.Constant(VECTOR, [0.0] * LANES)


class VectorType(types.Type):
    """Numba's name for a vector of `element`s."""

    def __init__(self, element: str) -> None:
        self.element = element
        super().__init__(f"{element}x{LANES}")


FLOATS, INTS, BITS = VectorType("float32"), VectorType("int32"), VectorType("bool")
FLOAT_POINTER, INT_POINTER, LONG_POINTER = (types.CPointer(t) for t in (types.float32, types.int32, types.int64))


@register_default(VectorType)
class VectorModel(PrimitiveModel):
    """Kept in one register."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, {"float32": VECTOR, "int32": INTEGERS, "bool": MASK}[kind.element])


def intrinsic(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """The LLVM function of this name, declared if it is not yet."""
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def at(builder: Any, pointer: Any, index: Any) -> Any:
    """pointer + index floats."""
    index = index if isinstance(index, ir.Value) else ir.Constant(I64, index)
    return builder.gep(pointer, [index], source_etype=FLOAT)


def emit_splat(builder: Any, value: Any, kind: Any = VECTOR) -> Any:
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(INTEGERS, [0] * LANES))


def emit_load(builder: Any, pointer: Any) -> Any:
    return builder.load(pointer, align=4, typ=VECTOR)


def emit_load_ints(builder: Any, pointer: Any, first: Any) -> Any:
    return builder.load(builder.gep(pointer, [first], source_etype=I32), align=4, typ=INTEGERS)


def emit_store(builder: Any, pointer: Any, value: Any) -> None:
    # Numba's pointers still have an element type, for which a vector would be the wrong thing.
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=4)


def emit_stream(builder: Any, pointer: Any, value: Any) -> None:
    store = builder.store(value, builder.bitcast(pointer, VECTOR.as_pointer()), align=4 * LANES)
    store.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(I32, 1)]))


def emit_prefetch(builder: Any, pointer: Any, writes: int) -> None:
    prefetch = intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), [POINTER, I32, I32, I32])
    builder.call(prefetch, [pointer, *(ir.Constant(I32, n) for n in (writes, 2, 1))])


def emit_mask(builder: Any, count: Any) -> Any:
    """True in the lanes below `count`."""
    lanes = ir.Constant(INTEGERS, list(range(LANES)))
    return builder.icmp_signed("<", lanes, emit_splat(builder, builder.trunc(count, I32), INTEGERS))


def emit_load_masked(builder: Any, pointer: Any, mask: Any) -> Any:
    load = intrinsic(builder, f"llvm.masked.load.v{LANES}f32.p0", VECTOR, [POINTER, I32, MASK, VECTOR])
    return builder.call(load, [pointer, ir.Constant(I32, 4), mask, ZERO])


def emit_load_some_ints(builder: Any, pointer: Any, count: Any) -> Any:
    floats = emit_load_masked(builder, pointer, emit_mask(builder, count))
    return builder.bitcast(floats, INTEGERS)


def emit_load_some(builder: Any, pointer: Any, count: Any) -> Any:
    return emit_load_masked(builder, pointer, emit_mask(builder, count))


def emit_load_between(builder: Any, pointer: Any, first: Any, last: Any) -> Any:
    inside = builder.and_(emit_mask(builder, last), builder.not_(emit_mask(builder, first)))
    return emit_load_masked(builder, pointer, inside)


def emit_store_some(builder: Any, pointer: Any, value: Any, count: Any) -> None:
    name = "f32" if value.type.element == FLOAT else "i32"
    kinds = [value.type, POINTER, I32, MASK]
    store = intrinsic(builder, f"llvm.masked.store.v{LANES}{name}.p0", ir.VoidType(), kinds)
    operands = [value, pointer, ir.Constant(I32, 4), emit_mask(builder, count)]
    builder.call(store, operands)


def emit_steps(builder: Any, first: Any, step: Any) -> Any:
    lanes = ir.Constant(INTEGERS, list(range(LANES)))
    first, step = (emit_splat(builder, builder.trunc(number, I32), INTEGERS) for number in (first, step))
    return builder.add(first, builder.mul(lanes, step))


def emit_product_high(builder: Any, a: Any, b: Any) -> Any:
    wide = ir.VectorType(I64, LANES)
    product = builder.mul(builder.zext(a, wide), builder.zext(b, wide))
    return builder.trunc(builder.lshr(product, ir.Constant(wide, [32] * LANES)), INTEGERS)


def emit_add(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b) if a.type == VECTOR else builder.add(a, b)


def emit_above(builder: Any, a: Any, b: Any) -> Any:
    return builder.fcmp_ordered(">", a, b) if a.type == VECTOR else builder.icmp_signed(">", a, b)


def emit_every(builder: Any, lanes: Any) -> Any:
    word = ir.IntType(LANES)
    return builder.icmp_unsigned("==", builder.bitcast(lanes, word), ir.Constant(word, 2**LANES - 1))


def emit_square_root(builder: Any, value: Any) -> Any:
    return builder.call(intrinsic(builder, f"llvm.sqrt.v{LANES}f32", VECTOR, [VECTOR]), [value])


def emit_rough_root(builder: Any, value: Any) -> Any:
    whole = builder.lshr(builder.bitcast(value, INTEGERS), ir.Constant(INTEGERS, [2] * LANES))
    return builder.bitcast(builder.sub(ir.Constant(INTEGERS, [ROOT] * LANES), whole), VECTOR)


def emit_multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    # fmuladd, not fma: a processor without the instruction would call a function for every lane.
    return builder.call(intrinsic(builder, f"llvm.fmuladd.v{LANES}f32", VECTOR, [VECTOR] * 3), [a, b, c])


def emit_at_least(builder: Any, value: Any, floor: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", value, floor), floor, value)


def emit_every_second(builder: Any, a: Any, b: Any, first: int) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(INTEGERS, list(range(first, 2 * LANES, 2))))


def emit_zip(builder: Any, a: Any, b: Any, first: int) -> Any:
    lanes = [first + i // 2 + i % 2 * LANES for i in range(LANES)]
    return builder.shuffle_vector(a, b, ir.Constant(INTEGERS, lanes))


def emit_total(builder: Any, value: Any) -> Any:
    """Halves added to halves until one lane is left."""
    width = LANES // 2
    while width:
        upper = [min(i + width, LANES - 1) for i in range(LANES)]
        value = builder.fadd(value, builder.shuffle_vector(value, value, ir.Constant(INTEGERS, upper)))
        width //= 2
    return builder.extract_element(value, ir.Constant(I32, 0))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Rows become columns: exchange blocks of 1, 2, 4 ... lanes between pairs of rows."""
    block = 1
    while block < LANES:
        lanes = range(LANES)
        low = ir.Constant(INTEGERS, [i if not i & block else LANES + i - block for i in lanes])
        high = ir.Constant(INTEGERS, [i + block if not i & block else LANES + i for i in lanes])
        for i in lanes:
            if not i & block:
                a, b = rows[i], rows[i + block]
                rows[i], rows[i + block] = (builder.shuffle_vector(a, b, which) for which in (low, high))
        block *= 2
    return rows


def _read_transposed(builder: Any, source: Any, pitch: Any) -> list[Any]:
    """The columns of a square in memory.

    Pieces of four are loaded to where they belong, which costs no shuffle; left are squares of 4 x 4 in registers.
    """
    columns = []
    quad = ir.VectorType(FLOAT, 4)
    spread_out = ir.Constant(INTEGERS, [i % 4 for i in range(LANES)])
    for column in range(0, LANES, 4):
        rows = []
        for row in range(4):
            made = None
            for part in range(LANES // 4):
                place = builder.mul(pitch, ir.Constant(I64, row + 4 * part))
                piece = builder.load(
                    at(builder, source, builder.add(place, ir.Constant(I64, column))), align=4, typ=quad
                )
                wide = builder.shuffle_vector(piece, piece, spread_out) if LANES > 4 else piece
                order = [LANES + i if i // 4 == part else i for i in range(LANES)]
                made = wide if made is None else builder.shuffle_vector(made, wide, ir.Constant(INTEGERS, order))
            rows.append(made)
        pairs = [_interleaved(builder, rows[i], rows[i + 1], 1, half) for i in (0, 2) for half in (0, 2)]
        for low in (0, 1):
            columns += [_interleaved(builder, pairs[low], pairs[low + 2], 2, half) for half in (0, 2)]
    return columns


def _interleaved(builder: Any, a: Any, b: Any, size: int, first: int) -> Any:
    """Of every four lanes the half from `first` on, of a and of b in turns, `size` lanes at a time."""
    quad = [first + i // (2 * size) * size + i % size + i // size % 2 * LANES for i in range(4)]
    return builder.shuffle_vector(a, b, ir.Constant(INTEGERS, [4 * (i // 4) + quad[i % 4] for i in range(LANES)]))


def _read_square(builder: Any, source: Any, pitch: Any, rows: Any, columns: Any, write: Any) -> None:
    """Columns of a square of at most LANES x LANES; `write(j, column)` makes what is done with each that there is."""
    size = ir.Constant(I64, LANES)
    whole = builder.and_(builder.icmp_signed(">=", rows, size), builder.icmp_signed(">=", columns, size))
    with builder.if_else(whole) as (yes, no):
        with yes:
            for j, line in enumerate(_read_transposed(builder, source, pitch)):
                write(j, line)
        with no:
            for j, line in enumerate(_transposed(builder, _lines_there_are(builder, source, pitch, rows, columns))):
                with builder.if_then(builder.icmp_signed("<", ir.Constant(I64, j), columns)):
                    write(j, line)


def _lines_there_are(builder: Any, source: Any, pitch: Any, rows: Any, columns: Any) -> list[Any]:
    lines = []
    for i in range(LANES):
        number = ir.Constant(I64, i)
        there = builder.icmp_signed("<", number, rows)
        # A masked load of a page that is not there is slow, even where no lane is wanted: read row 0.
        place = builder.select(there, builder.mul(pitch, number), ir.Constant(I64, 0))
        count = builder.select(there, columns, ir.Constant(I64, 0))
        lines.append(emit_load_some(builder, at(builder, source, place), count))
    return lines


def emit_transpose(
    builder: Any, source: Any, pitch: Any, rows: Any, columns: Any, target: Any, target_pitch: Any
) -> None:
    def write(j: int, line: Any) -> None:
        emit_store(builder, at(builder, target, builder.mul(target_pitch, ir.Constant(I64, j))), line)

    _read_square(builder, source, pitch, rows, columns, write)


def emit_transpose_to(builder: Any, source: Any, pitch: Any, rows: Any, columns: Any, target: Any, places: Any) -> None:
    def write(j: int, line: Any) -> None:
        place = builder.load(builder.gep(places, [ir.Constant(I64, j)], source_etype=I64), typ=I64)
        emit_store(builder, at(builder, target, place), line)

    _read_square(builder, source, pitch, rows, columns, write)


def emit_store_transposed(
    builder: Any, source: Any, pitch: Any, rows: Any, columns: Any, target: Any, target_pitch: Any
) -> None:
    lines = _read_transposed(builder, source, pitch)
    size = ir.Constant(I64, LANES)
    whole = builder.and_(builder.icmp_signed(">=", rows, size), builder.icmp_signed(">=", columns, size))
    places = [at(builder, target, builder.mul(target_pitch, ir.Constant(I64, j))) for j in range(LANES)]
    with builder.if_else(whole) as (yes, no):
        with yes:
            for place, line in zip(places, lines):
                emit_store(builder, place, line)
        with no:
            for j, (place, line) in enumerate(zip(places, lines)):
                with builder.if_then(builder.icmp_signed("<", ir.Constant(I64, j), columns), likely=True):
                    emit_store_some(builder, place, line, rows)


def emit_highest(builder: Any, value: Any) -> Any:
    """Halves compared with halves until one lane is left."""
    width = LANES // 2
    while width:
        other = builder.shuffle_vector(
            value, value, ir.Constant(INTEGERS, [min(i + width, LANES - 1) for i in range(LANES)])
        )
        value = builder.select(builder.fcmp_ordered(">", other, value), other, value)
        width //= 2
    return builder.extract_element(value, ir.Constant(I32, 0))


def fixed(stub: Any, result: Any, arguments: tuple[Any, ...], emit: Any) -> None:
    """Give numba a stub that converts its arguments to these types; `emit(builder, *arguments)` is its code."""
    define(
        stub,
        len(arguments),
        lambda *_: result,
        lambda builder, args, signature: emit(builder, *args),
        arguments,
    )


def generic(stub: Any, result: Any, arity: int, emit: Any) -> None:
    """The same for a stub that takes vectors of any kind, as they are; `result(*types)` is its type."""
    define(stub, arity, result, lambda builder, args, signature: emit(builder, *args))


INT, NOTHING = types.int64, types.void
fixed(vector.floats_at, FLOAT_POINTER, (INT,), lambda b, address: b.inttoptr(address, POINTER))
fixed(vector.longs, LONG_POINTER, (FLOAT_POINTER,), lambda b, p: b.bitcast(p, I64.as_pointer()))
fixed(vector.ints, INT_POINTER, (FLOAT_POINTER,), lambda b, p: b.bitcast(p, I32.as_pointer()))
fixed(vector.load, FLOATS, (FLOAT_POINTER,), emit_load)
fixed(vector.load_ints, INTS, (LONG_POINTER, INT), emit_load_ints)
fixed(vector.load_some, FLOATS, (FLOAT_POINTER, INT), emit_load_some)
fixed(vector.load_some_ints, INTS, (INT_POINTER, INT), emit_load_some_ints)
fixed(vector.load_between, FLOATS, (FLOAT_POINTER, INT, INT), emit_load_between)
generic(vector.store, lambda p, value: NOTHING, 2, emit_store)
generic(vector.store_some, lambda p, value, count: NOTHING, 3, emit_store_some)
fixed(vector.stream, NOTHING, (FLOAT_POINTER, FLOATS), emit_stream)
fixed(vector.prefetch, NOTHING, (FLOAT_POINTER,), lambda b, p: emit_prefetch(b, p, 0))
fixed(vector.prefetch_to_write, NOTHING, (FLOAT_POINTER,), lambda b, p: emit_prefetch(b, p, 1))
fixed(vector.settle, NOTHING, (), lambda b: b.fence("seq_cst"))
fixed(vector.xor, INTS, (INTS, INTS), lambda b, x, y: b.xor(x, y))
fixed(vector.product_low, INTS, (INTS, INTS), lambda b, x, y: b.mul(x, y))
fixed(vector.product_high, INTS, (INTS, INTS), emit_product_high)
fixed(vector.halved, INTS, (INTS,), lambda b, x: b.lshr(x, ir.Constant(INTEGERS, [1] * LANES)))
fixed(vector.splat, FLOATS, (types.float32,), emit_splat)
fixed(vector.whole, INTS, (INT,), lambda b, value: emit_splat(b, b.trunc(value, I32), INTEGERS))
fixed(vector.steps, INTS, (INT, INT), emit_steps)
generic(vector.add, lambda x, y: x, 2, emit_add)
generic(vector.above, lambda x, y: BITS, 2, emit_above)
generic(vector.every, lambda lanes: types.boolean, 1, emit_every)
fixed(vector.truncated, INTS, (FLOATS,), lambda b, x: b.fptosi(x, INTEGERS))
fixed(vector.highest, types.float32, (FLOATS,), emit_highest)
fixed(vector.square_root, FLOATS, (FLOATS,), emit_square_root)
fixed(vector.rough_root, FLOATS, (FLOATS,), emit_rough_root)
generic(vector.choose, lambda lanes, x, y: x, 3, lambda b, lanes, x, y: b.select(lanes, x, y))
fixed(vector.subtract, FLOATS, (FLOATS, FLOATS), lambda b, x, y: b.fsub(x, y))
fixed(vector.multiply, FLOATS, (FLOATS, FLOATS), lambda b, x, y: b.fmul(x, y))
fixed(vector.divide, FLOATS, (FLOATS, FLOATS), lambda b, x, y: b.fdiv(x, y))
fixed(vector.multiply_add, FLOATS, (FLOATS, FLOATS, FLOATS), emit_multiply_add)
fixed(vector.at_least, FLOATS, (FLOATS, FLOATS), emit_at_least)
fixed(vector.evens, FLOATS, (FLOATS, FLOATS), lambda b, x, y: emit_every_second(b, x, y, 0))
fixed(vector.odds, FLOATS, (FLOATS, FLOATS), lambda b, x, y: emit_every_second(b, x, y, 1))
generic(vector.zip_low, lambda x, y: x, 2, lambda b, x, y: emit_zip(b, x, y, 0))
generic(vector.zip_high, lambda x, y: x, 2, lambda b, x, y: emit_zip(b, x, y, LANES // 2))
fixed(vector.total, types.float32, (FLOATS,), emit_total)
fixed(vector.transpose, NOTHING, (FLOAT_POINTER, INT, INT, INT, FLOAT_POINTER, INT), emit_transpose)
fixed(vector.transpose_to, NOTHING, (FLOAT_POINTER, INT, INT, INT, FLOAT_POINTER, LONG_POINTER), emit_transpose_to)
fixed(vector.store_transposed, NOTHING, (FLOAT_POINTER, INT, INT, INT, FLOAT_POINTER, INT), emit_store_transposed)
