"""From a Python function to object code, with numba. Imported only when the cache lacks something."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numba
from numba import types
from numba.core import compiler, registry
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import AnalysisPass, PassManager, register_pass
from numba.core.cpu_options import FastMathOptions
from numba.core.typed_passes import (
    AnnotateTypes,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FixupArgs,
    GenericRewrites,
    InlineInlinables,
    IRProcessing,
    ReconstructSSA,
    TranslateByteCode,
)

from ...kernel import DeviceFunction
from . import atoms, codegen, sparse_codegen, squash_codegen, tile_codegen, vector_codegen

# Whose import gives numba the code of the names that kernels may use.
_STUBS = (codegen, vector_codegen, squash_codegen, tile_codegen, sparse_codegen)

_POINTERS = {"int*": types.int32, "long*": types.int64, "byte*": types.uint8, "double*": types.float64}
_FAST_MATH = frozenset({"contract", "nsz"})  # and, in kernels that say `any_order`, "reassoc"


class _Library(JITCodeLibrary):
    """LLVM code for kernels to take in. Numba would make machine code of every function, for Python to call."""

    def _finalize_final_module(self) -> None:
        self._finalized = True


class _Helper(_Library):
    """Is optimised where it is taken in."""

    def _optimize_final_module(self) -> None:
        pass


@register_pass(mutates_CFG=False, analysis_only=True)
class _KeepAsCode(AnalysisPass):
    """Makes a function callable from others though there is no machine code of it."""

    _name = "keep_as_code"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        name = [].append  # stands for the builtin that numba would make: any will do that equals no other
        state.targetctx.insert_user_function(name, state.cr.fndesc, [state.library])
        state.cr = state.cr._replace(cfunc=name)
        return True


# What kernels need of numba's passes: they have no closures, arrays, literals to unroll, or exceptions.
_PASSES = (
    TranslateByteCode, FixupArgs, IRProcessing, GenericRewrites, InlineInlinables, ReconstructSSA, DeadBranchPrune,
    NopythonTypeInference, PreLowerStripPhis, IRLegalization, AnnotateTypes, NativeLowering,
)  # fmt: skip


class _KernelCompiler(CompilerBase):
    """Numba's compiler with the passes that matter here, which are half of them."""

    passes: tuple[Any, ...] = (*_PASSES, NoPythonBackend)

    def define_pipelines(self) -> list[Any]:
        passes = PassManager("kernel")
        for step in self.passes:
            passes.add_pass(step, step.__name__)
        passes.finalize()
        return [passes]


class _HelperCompiler(_KernelCompiler):
    """The same for what kernels call."""

    passes = (*_PASSES, _KeepAsCode, NoPythonBackend)

    def define_pipelines(self) -> list[Any]:
        state = self.state
        state.library = _Helper(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = state.flags.no_cpython_wrapper = state.flags.no_cfunc_wrapper = True
        return super().define_pipelines()


_answers: dict[Any, Any] = {}


@contextmanager
def _remembered_types() -> Iterator[None]:
    """In this block numba is asked only once what type an operation gives: it goes through all of NumPy's rules."""
    context = registry.cpu_target.typing_context
    ask = context.resolve_function_type

    def answer(function: Any, arguments: Any, named: Any) -> Any:
        if not isinstance(function, types.Function) or named:
            return ask(function, arguments, named)
        found = _answers.get((function, arguments))
        if found is None:
            found = _answers[function, arguments] = ask(function, arguments, named)
        return found

    context.resolve_function_type = answer
    try:
        yield
    finally:
        del context.resolve_function_type  # the method is there again


_specialised: dict[tuple[Any, ...], Any] = {}


def _specialise(function: FunctionType, element: Any, fast_math: frozenset[str], inline: bool = False) -> Any:
    """The function for numba, with `T` the element type, and all helpers it names likewise; once in a process."""
    key = function, element, fast_math
    if key not in _specialised:
        space = dict(function.__globals__)
        space["T"] = element
        space.update(where=_where)
        for name in function.__code__.co_names:
            if isinstance(space.get(name), DeviceFunction):
                helper = space[name]
                space[name] = _specialise(helper.function, element, fast_math, helper.inline)
        copy = FunctionType(function.__code__, space, function.__name__, function.__defaults__, function.__closure__)
        options = {"nogil": True, "error_model": "numpy", "fastmath": set(fast_math), "forceinline": inline}
        _specialised[key] = numba.njit(copy, pipeline_class=_HelperCompiler, **options)
    return _specialised[key]


@numba.njit(inline="always")
def _where(condition, a, b):  # type: ignore[no-untyped-def]
    return a if condition else b


def _object_code(function: FunctionType, arguments: tuple[Any, ...], key: str) -> tuple[str, bytes]:
    """Compile without Python wrappers: `int f(ret*, exc*, arguments...)`, no reference to the interpreter."""
    flags = Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.release_gil = True
    flags.error_model, flags.nrt = "numpy", False
    flags.fastmath = FastMathOptions(set(_FAST_MATH))
    target = registry.cpu_target
    with warnings.catch_warnings(), global_compiler_lock, _remembered_types():
        warnings.simplefilter("ignore", numba.core.errors.NumbaWarning)
        library = _Library(target.target_context.codegen(), key)
        contexts = target.typing_context, target.target_context
        how = {"library": library, "pipeline_class": _KernelCompiler}
        result = compiler.compile_extra(*contexts, function, arguments, types.void, flags, {}, **how)
        library.finalize()
    return _renamed(library, result.fndesc.llvm_func_name, f"caffe_lite_{key}")


def _renamed(library: Any, old: str, new: str) -> tuple[str, bytes]:
    """Object code in which the one function that is called from outside carries a name of its own."""
    module = library._final_module.clone()
    for function in module.functions:
        if function.name == old:
            function.name = new
            function.linkage = "external"
        elif not function.is_declaration:
            function.linkage = "internal"  # two kernels may contain the same helper
    for variable in module.global_variables:
        if variable.linkage.name != "external" or not variable.is_declaration:
            variable.linkage = "internal"
    return new, codegen.target_machine().emit_object(module)


def kernel_entry(
    function: FunctionType,
    kinds: tuple[tuple[str, str], ...],
    dtype: str,
    any_order: bool,
    same: tuple[tuple[str, str], ...],
    key: str,
) -> tuple[str, bytes]:
    """The loop over `[start, stop)` around a kernel, its arguments unpacked from a vector of int64.

    `same` names pointers that are an earlier argument's: told so, LLVM vectorises in-place kernels too.
    """
    element, earlier = getattr(types, dtype), dict(same)
    body = _specialise(function, element, _FAST_MATH | ({"reassoc"} if any_order else set()))
    lines, names, at = ["def entry(start, stop, thread, args):"], [], 0
    for name, kind in kinds:
        names.append(f"a_{name}")
        if name == "thread":
            lines.append(f"    a_{name} = thread")
        elif name in earlier:
            lines.append(f"    a_{name} = a_{earlier[name]}")
        elif kind == "int":
            lines.append(f"    a_{name} = args[{at}]")
        else:
            lines.append(f"    a_{name} = {'pointer' if kind.endswith('*') else 'scalar'}(args[{at}], k{at})")
        at += name != "thread"
    lines += ["    for i in range(start, stop):", f"        body(i, {', '.join(names)})"]
    space: dict[str, Any] = {"body": body, "pointer": atoms.pointer, "scalar": atoms.scalar}
    packed = [kind for name, kind in kinds if name != "thread"]
    space.update({f"k{i}": _numba_kind(kind, element) for i, kind in enumerate(packed)})
    name = f"<entry of {function.__name__}>"
    linecache.cache[name] = (0, None, lines, name)
    exec(compile("\n".join(lines), name, "exec"), space)
    return _object_code(space["entry"], (types.int64,) * 3 + (types.CPointer(types.int64),), key)


def _numba_kind(kind: str, element: Any) -> Any:
    if kind == "T*":
        return types.CPointer(element)
    if kind == "T":
        return element
    return types.CPointer(_POINTERS[kind]) if kind in _POINTERS else types.float64


def plain_function(function: FunctionType, signature: str, key: str) -> tuple[str, bytes]:
    """A function whose arguments are `long*` or `int`, as it is."""
    kinds = {"int": types.int64, "long*": types.CPointer(types.int64)}
    whole = _specialise(function, types.float32, _FAST_MATH).py_func
    return _object_code(whole, tuple(kinds[k.strip()] for k in signature.split(",")), key)
