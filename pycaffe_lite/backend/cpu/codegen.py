"""LLVM code for the names in `atoms.py`. Imported only to compile."""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from . import atoms, processor

I32, I64, POINTER = ir.IntType(32), ir.IntType(64), ir.PointerType()


@cache
def target_machine() -> Any:
    """LLVM's code generator for the processor that `processor.target` names."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = processor.target()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="pic", codemodel="jitdefault", jit=True
    )


def define(stub: Any, arity: int, result: Any, emit: Any, arguments: Any = None) -> None:
    """Give numba a stub: `result(*types)` is its type, `emit(builder, args, signature)` its code.

    Where `arguments` lists types, numba converts what is given to them.
    """

    class Template(AbstractTemplate):
        key = stub

        def generic(self, args, kws):  # type: ignore[no-untyped-def]
            return signature(result(*args), *(arguments or args)) if len(args) == arity and not kws else None

    infer_global(stub, types.Function(Template))

    @lower_builtin(stub, *([types.Any] * arity))
    def lower(context, builder, kinds, args):  # type: ignore[no-untyped-def]
        made = emit(builder, args, kinds)
        return context.get_dummy_value() if made is None else made


def _pointed(kind: Any) -> Any:
    """The type that a type given as a constant stands for."""
    return kind.instance_type


def _slot(builder: Any, args: Any) -> Any:
    return builder.gep(args[0], [args[1]], source_etype=I64)


def _offset(builder: Any, args: Any, signature: Any) -> Any:
    element = ir.IntType(signature.args[0].dtype.bitwidth)  # only its size matters
    return builder.gep(args[0], [args[1]], source_etype=element)


def _scalar(builder: Any, args: Any, signature: Any) -> Any:
    if signature.return_type == types.float64:
        return builder.bitcast(args[0], ir.DoubleType())
    return builder.bitcast(builder.trunc(args[0], I32), ir.FloatType())


def _call(builder: Any, args: Any, signature: Any) -> None:
    kind = ir.FunctionType(I32, [POINTER, POINTER, I64, I64, I64, POINTER])
    entry = builder.inttoptr(args[0], kind.as_pointer())
    # Numba's calling convention: where to put a result (None, here) and an exception (there is none).
    nothing = cgutils.alloca_once(builder, POINTER)
    builder.call(entry, [nothing, nothing, *args[1:4], builder.inttoptr(args[4], POINTER)])


def _pause(builder: Any, args: Any, signature: Any) -> None:
    word = {"x86_64": "pause", "AMD64": "pause", "aarch64": "yield", "arm64": "yield"}.get(platform.machine())
    if word:
        void = ir.FunctionType(ir.VoidType(), [])
        builder.call(ir.InlineAsm(void, word, "~{memory}", side_effect=True), [])


def _give_way(builder: Any, args: Any, signature: Any) -> None:
    name = "SwitchToThread" if platform.system() == "Windows" else "sched_yield"
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, ir.FunctionType(I32, []), name)
    builder.call(function, [])


def _load(builder: Any, args: Any, signature: Any) -> Any:
    return builder.load_atomic(_slot(builder, args), "acquire", 8, typ=I64)


def _store(builder: Any, args: Any, signature: Any) -> None:
    builder.store_atomic(args[2], _slot(builder, args), "release", 8)


def _add(builder: Any, args: Any, signature: Any) -> Any:
    return builder.atomic_rmw("add", _slot(builder, args), args[2], "seq_cst")


define(atoms.pointer, 2, lambda a, kind: _pointed(kind), lambda b, args, s: b.inttoptr(args[0], POINTER))
define(atoms.offset, 2, lambda p, count: p, _offset)
define(atoms.scalar, 2, lambda a, kind: _pointed(kind), _scalar)
define(atoms.call, 5, lambda *a: types.void, _call)
define(atoms.atomic_load, 2, lambda *a: types.int64, _load)
define(atoms.atomic_store, 3, lambda *a: types.void, _store)
define(atoms.atomic_add, 3, lambda *a: types.int64, _add)
define(atoms.pause, 0, lambda: types.void, _pause)
define(atoms.give_way, 0, lambda: types.void, _give_way)

config.DISABLE_PERFORMANCE_WARNINGS = 1
llvm.initialize_native_asmparser()  # of every processor: `pause` is assembly, without its parser LLVM ends the process
