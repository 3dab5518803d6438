""".solverstate and .solverstate.h5: how far training was, where its model is, and the solver's history."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import WeightsError
from ..proto import SolverState
from . import blobproto, files, hdf5, wire
from .stored import Stored
from .weights import beginning


@dataclass
class State:
    """What Caffe keeps of a training run. `history` is read when it is asked for."""

    iter: int
    learned_net: str = ""
    current_step: int = 0
    history: Sequence[Stored | np.ndarray] = field(default_factory=list)


@contextlib.contextmanager
def opened(source: str) -> Iterator[State]:
    """The state in a file, its format known from its first bytes; WeightsError says what else it is."""
    if beginning(source).startswith(hdf5.MAGIC):
        with hdf5.reading(source) as file:
            yield from_hdf5(file, source)
    else:
        yield from_binary(source)


def from_binary(source: str) -> State:
    """The state in a serialised SolverState."""
    content = files.view(source, "solverstate")
    state, history = State(-1), list[Stored]()
    names = {f.number: f.name for f in SolverState.DESCRIPTOR.fields}
    try:
        for part in wire.fields(content, 0, len(content)):
            match names.get(part.number), part.kind:
                case "iter", wire.VARINT:
                    state.iter = wire.signed(part.value)
                case "current_step", wire.VARINT:
                    state.current_step = wire.signed(part.value)
                case "learned_net", wire.SIZED:
                    state.learned_net = wire.text(content, part)
                case "history", wire.SIZED:
                    where = f"{source}: history {len(history)}"
                    history.append(blobproto.stored(content, part.start, part.end, where))
    except wire.WireError as error:
        raise WeightsError(f"{source}: not a solverstate, or a damaged one: {error}") from error
    if state.iter < 0:
        raise WeightsError(f"{source}: not a solverstate: it names no iteration{_hint(source)}")
    state.history = history
    return state


def from_hdf5(file: Any, source: str) -> State:
    """The state in an open HDF5 file."""
    h5py = hdf5.module()
    for name, kind in (("iter", h5py.Dataset), ("history", h5py.Group)):
        if not isinstance(file.get(name), kind):
            raise WeightsError(f"{source}: not a solverstate: it has no /{name}{_hint(source)}")
    for name in ("learned_net", "current_step"):
        if name in file and not isinstance(file[name], h5py.Dataset):
            raise WeightsError(f"{source}: /{name} is no array")
    history = file["history"]
    if set(history) != {str(i) for i in range(len(history))}:
        raise WeightsError(f"{source}: /history must hold arrays named 0, 1, ..., got {', '.join(history)}")
    return State(
        _integer(file["iter"], source),
        _string(file["learned_net"], source) if "learned_net" in file else "",
        _integer(file["current_step"], source) if "current_step" in file else 0,
        [hdf5.stored(history[str(i)], f"{source}: history {i}") for i in range(len(history))],
    )


def _integer(dataset: Any, source: str) -> int:
    if dataset.size != 1 or dataset.dtype.kind not in "iu":
        raise WeightsError(f"{source}: {dataset.name} must be one integer, got {dataset.dtype} {dataset.shape}")
    return int(dataset[()].reshape(-1)[0])


def _string(dataset: Any, source: str) -> str:
    if dataset.size != 1 or not isinstance(value := dataset[()], bytes):
        raise WeightsError(f"{source}: {dataset.name} must be a string, got {dataset.dtype} {dataset.shape}")
    return value.decode("utf-8", "replace")


def _hint(source: str) -> str:
    return "; it is named as a model: --weights takes those" if ".caffemodel" in source else ""


def write(state: State, path: str, suffix: str = "") -> None:
    """Write a state, as HDF5 if the suffix is .h5."""
    if suffix == ".h5":
        _write_hdf5(state, path)
    else:
        files.write(path, _pieces(state))


def _pieces(state: State) -> Iterator[bytes | memoryview]:
    """A serialised SolverState, its fields in Caffe's order."""
    yield SolverState(iter=state.iter, learned_net=state.learned_net).SerializeToString()
    number = SolverState.DESCRIPTOR.fields_by_name["history"].number
    for array in state.history:
        parts = list(blobproto.pieces(array))
        yield wire.header(number, sum(map(len, parts)))
        yield from parts
    yield SolverState(current_step=state.current_step).SerializeToString()


def _write_hdf5(state: State, path: str) -> None:
    with hdf5.writing(path) as file:
        file["iter"] = np.array([state.iter], np.int32)
        # Caffe reads a C string, so there must be room for the zero at its end.
        name = state.learned_net.encode()
        file["learned_net"] = np.array(name, f"S{len(name) + 1}")
        file["current_step"] = np.array([state.current_step], np.int32)
        history = file.create_group("history")
        for index, array in enumerate(state.history):
            history[str(index)] = array
