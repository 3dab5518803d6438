"""Object code into this process: the work of a linker, for what LLVM makes of kernels.

LLVM itself would take 50 MB of memory to do it. Kernels name no variables and hardly anything outside of themselves,
so on Linux and x86-64 five kinds of relocation are all there is (System V ABI for AMD64, large code model). What is
not understood here, and what other systems make, goes to LLVM.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from struct import pack_into, unpack_from
from typing import Any, NamedTuple

from .processor import X86

Found = tuple[str, bytes]  # a symbol, and the object code in which it is

SYMBOLS, ADDENDS, EMPTY, UNWINDING = 2, 4, 8, 0x70000001  # types of sections
WRITABLE, WANTED = 1, 2  # flags of sections: in memory at all
UNDEFINED, SPECIAL = 0, 0xFF00  # numbers of sections: outside of the object; from here on, none
R_64, R_PC64, R_GOTOFF64, R_GOT64, R_GOTPC64 = 1, 24, 25, 27, 29  # relocations
KNOWN = frozenset((R_64, R_PC64, R_GOTOFF64, R_GOT64, R_GOTPC64))
LINE, PAGE = 64, mmap.PAGESIZE


def link(found: Sequence[Found]) -> list[int]:
    """Link these into the process, for good; returns the addresses of their symbols."""
    objects = [Object.read(*one) if X86 and sys.platform == "linux" else None for one in found]
    places = iter(_place([one for one in objects if one]))
    return [next(places) if one else _by_llvm(*code) for one, code in zip(objects, found)]


class Section(NamedTuple):
    """A section header, as ELF has it."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class Symbol(NamedTuple):
    """A symbol, as ELF has it."""

    name: int
    info: int
    other: int
    section: int
    value: int
    size: int


class Relocation(NamedTuple):
    """A place to be filled in: the address of what it names, in one form or another."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass
class Object:
    """An object file, taken apart. `at` has the address of each section that is placed."""

    code: bytes
    sections: list[Section]
    symbols: list[Symbol]
    names: dict[str, int]  # of symbols, to their numbers
    relocations: list[Relocation]
    entry: str
    at: dict[int, int] = field(default_factory=dict)

    @classmethod
    def read(cls, entry: str, code: bytes) -> Object | None:
        """Take an object file apart; None where there is more in it than is understood here."""
        if code[:6] != b"\x7fELF\x02\x01":  # 64 bits, the low byte first
            return None
        (start,) = unpack_from("<Q", code, 0x28)
        size, count = unpack_from("<HH", code, 0x3A)
        sections = [Section(*unpack_from("<IIQQQQIIQQ", code, start + i * size)) for i in range(count)]
        table = next((s for s in sections if s.type == SYMBOLS), None)
        if table is None:
            return None
        symbols = [Symbol(*unpack_from("<IBBHQQ", code, at)) for at in _entries(table)]
        texts = sections[table.link].offset
        names = {_text(code, texts + s.name): i for i, s in enumerate(symbols) if s.name}
        made = cls(code, sections, symbols, names, [], entry)
        for part in sections:
            if part.type == ADDENDS and part.info in made.wanted:
                for at in _entries(part):
                    offset, info, addend = unpack_from("<QQq", code, at)
                    made.relocations.append(Relocation(part.info, offset, info & 0xFFFFFFFF, info >> 32, addend))
        return made if made.is_understood() else None

    @property
    def wanted(self) -> list[int]:
        """The numbers of the sections that are to be in memory."""
        return [i for i, s in enumerate(self.sections) if s.flags & WANTED and s.type != UNWINDING and s.size]

    def is_understood(self) -> bool:
        """Whether every relocation is of a known kind, and names what is here or in the C library."""
        known = all(r.kind in KNOWN for r in self.relocations)
        return known and all(
            symbol.section in self.wanted or (symbol.section == UNDEFINED and self.outside(symbol) is not None)
            for symbol in (self.symbols[r.symbol] for r in self.relocations if r.kind != R_GOTPC64)
        )

    def outside(self, symbol: Symbol) -> int | None:
        """The address of a symbol that another library has."""
        table = next(s for s in self.sections if s.type == SYMBOLS)
        return _library_address(_text(self.code, self.sections[table.link].offset + symbol.name))

    def address(self, number: int) -> int:
        """The address of a symbol, once all sections have theirs."""
        symbol = self.symbols[number]
        return self.outside(symbol) or 0 if symbol.section == UNDEFINED else self.at[symbol.section] + symbol.value

    @property
    def pointers(self) -> list[int]:
        """The symbols whose addresses are to lie in a table (the "global offset table")."""
        return list(dict.fromkeys(r.symbol for r in self.relocations if r.kind == R_GOT64))

    def relocate(self, table: int, write: Callable[[int, int], None]) -> None:
        """Fill in all places, and the table at this address."""
        slots = {symbol: 8 * i for i, symbol in enumerate(self.pointers)}
        for symbol, slot in slots.items():
            write(table + slot, self.address(symbol))
        for r in self.relocations:
            place = self.at[r.section] + r.offset
            if r.kind == R_GOT64:
                value = slots[r.symbol]
            elif r.kind == R_GOTPC64:
                value = table - place
            else:
                value = self.address(r.symbol) - {R_64: 0, R_PC64: place, R_GOTOFF64: table}[r.kind]
            write(place, value + r.addend)


def _entries(table: Section) -> range:
    """Where the entries of a table are."""
    return range(table.offset, table.offset + table.size, table.entry)


def _text(code: bytes, start: int) -> str:
    return code[start : code.index(b"\0", start)].decode()


@cache
def _library_address(name: str) -> int | None:
    """The address of a function of the C library."""
    for library in (None, "libm.so.6"):
        try:
            return ctypes.cast(getattr(ctypes.CDLL(library), name), ctypes.c_void_p).value
        except (AttributeError, OSError):
            continue
    return None


_mapped: list[mmap.mmap] = []  # for good: there is code in them


def _place(objects: Sequence[Object]) -> Iterator[int]:
    """Map sections into memory, those that are written to on pages of their own; yields where the symbols are."""
    if not objects:
        return
    where, size = [], 0  # object, section (or None for the table of pointers), and its place
    for writable in (False, True):
        size = -(-size // PAGE) * PAGE
        fixed = size if writable else 0
        for one in objects:
            if not writable:
                where.append((one, -1, size))
                size += -(-8 * len(one.pointers) // LINE) * LINE
            for number in one.wanted:
                section = one.sections[number]
                if bool(section.flags & WRITABLE) is writable:
                    step = max(LINE, section.align)
                    size = -(-size // step) * step
                    where.append((one, number, size))
                    size += section.size
    memory = mmap.mmap(-1, max(size, 1))
    _mapped.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    tables = {}
    for one, number, place in where:
        if number < 0:
            tables[id(one)] = start + place
            continue
        one.at[number], section = start + place, one.sections[number]
        if section.type != EMPTY:
            memory[place : place + section.size] = one.code[section.offset : section.offset + section.size]
    for one in objects:
        one.relocate(tables[id(one)], lambda at, value: pack_into("<Q", memory, at - start, value % 2**64))
    _protect(start, fixed)
    for one in objects:
        yield one.address(one.names[one.entry])


def _protect(start: int, size: int) -> None:
    """Let these pages be read and run, but no longer written."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "the system does not let memory become code (mprotect)")


_engines: list[Any] = []


def _by_llvm(symbol: str, code: bytes) -> int:
    """The same by LLVM. (One engine each: a used one mislinks constants.)"""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(symbol)
