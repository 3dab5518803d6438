"""The layer contract: what a layer is, and what it tells the planner about itself.

A layer is a shape rule (`shapes`), a few facts (class data), and a recipe (`forward`, `backward`). The
recipe is run once, when the net is planned: its kernel launches are recorded at fixed addresses and
replayed ever after. So it allocates nothing, waits for nothing, looks at no value, and names no device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .blob import Blob
from .device import Device, fetch, put
from .errors import CaffeError, ConfigError
from .proto import caffe_pb2


@dataclass(frozen=True)
class Arity:
    """How many bottoms or tops a layer takes."""

    low: int
    high: float

    def __contains__(self, count: int) -> bool:
        return self.low <= count <= self.high

    def __str__(self) -> str:
        if self.low == self.high:
            return f"exactly {self.low}"
        return f"at least {self.low}" if math.isinf(self.high) else f"{self.low} to {self.high}"


def exactly(count: int) -> Arity:
    return Arity(count, count)


def between(low: int, high: int) -> Arity:
    return Arity(low, high)


def at_least(low: int) -> Arity:
    return Arity(low, math.inf)


@dataclass(frozen=True)
class Param:
    """A parameter blob to be: its shape, and the FillerParameter that gives its first values.

    A statistic is kept by the layer itself: no solver changes it, and it has no gradient.
    """

    shape: tuple[int, ...]
    filler: Any = None
    statistic: bool = False


@dataclass(frozen=True)
class Shapes:
    """All that decides memory: shapes of tops, parameters, and named scratch arrays (shape, dtype).

    A scratch dtype of None means the net's element type. Scratch keeps its values from the forward
    to the backward pass and starts as zeros; recipes find it as an attribute of the layer. In place of
    (shape, dtype) an array may be given: a table that recipes read.
    """

    top: Sequence[tuple[int, ...]]
    params: Sequence[Param] = ()
    scratch: dict[str, tuple[tuple[int, ...], Any] | np.ndarray] = field(default_factory=dict)


class Operand:
    """A blob as a recipe sees it: its shape, and flat-addressable arrays on the device being planned for."""

    def __init__(self, blob: Blob, device: Device, fresh: bool = False):
        self._blob, self._device = blob, device
        self.shape, self.count = blob.shape, blob.count
        self.fresh = fresh  # a parameter whose gradient is to be written: what is there does not count

    @property
    def data(self) -> Any:
        return self._blob.data_memory.array_on(self._device)[: self.count].reshape(self.shape)

    @property
    def diff(self) -> Any:
        return self._blob.diff_memory.array_on(self._device)[: self.count].reshape(self.shape)

    def is_in_place_of(self, other: Operand) -> bool:
        """Whether both are one blob: a layer working in place."""
        return self._blob is other._blob

    def shares_diff_with(self, other: Operand) -> bool:
        """Whether the gradients of both are one memory."""
        return self._blob.diff_memory is other._blob.diff_memory

    def lies_in(self, whole: Operand, at: int, what: str) -> bool:
        """Whether its `data` or `diff` is that of `whole` from element `at` on."""
        own, other = (getattr(blob, f"{what}_memory") for blob in (self._blob, whole._blob))
        return own.is_part_of(other, at)


class Layer:
    """Base of all layers. A subclass says `class ReLU(Layer, type="ReLU", param="relu_param")`."""

    types: ClassVar[dict[str, type[Layer]]] = {}
    type: ClassVar[str] = ""
    param_field: ClassVar[str | None] = None

    # Facts. The exam (tests/exam.py) proves them for every type.
    bottoms: Arity = exactly(1)
    tops: Arity = exactly(1)
    same_count: bool = False  # as many tops as bottoms
    in_place: bool = False  # forward may write its top over its bottom, backward its bottom's diff over its top's
    diff_in_place: bool = False  # backward may, even if forward may not
    backward_reads: tuple[str, ...] = ("bottom", "top")  # forward values that backward still needs
    differentiable: bool = True  # has a backward at all
    is_loss: bool = False  # first top has loss weight 1 unless told otherwise; tops may be left unnamed
    no_gradient_to: tuple[int, ...] = ()  # bottoms that force_backward does not reach (labels)
    caller_fills: bool = False  # forward leaves the tops alone: their values are the caller's
    on_host: bool = False  # forward and backward run on the host, each time, with Blobs
    shares_data: bool = False  # tops are the bottom's memory (Split, Flatten): forward has nothing to do
    shares_diff: bool = False  # the same for gradients
    overwrites: tuple[int, ...] = ()  # parameters whose gradient backward writes, not adds to, when they are `fresh`
    takes_relu: bool = False  # forward(bottom, top, relu=True) goes on to max(0, y)
    passing: tuple[str, ...] = ()  # scratch (names without numbers) that forward writes before it reads it
    remembers: tuple[str, ...] = ()  # attributes that one pass leaves to the next: generators, arrays, numbers

    def __init_subclass__(cls, type: str | None = None, param: str | None = None, **rest: Any):
        super().__init_subclass__(**rest)
        if type is None:
            return
        if type in Layer.types and Layer.types[type].__qualname__ != cls.__qualname__:
            raise TypeError(
                f"layer type {type!r} is defined twice: in {Layer.types[type].__module__} and {cls.__module__}"
            )
        cls.type, cls.param_field = type, param
        Layer.types[type] = cls

    def __init__(self, message: Any, phase: int = caffe_pb2.TEST, dtype: Any = np.float32):
        self.message, self.name, self.phase, self.dtype = message, message.name, phase, np.dtype(dtype)
        self.param: Any = getattr(message, self.param_field) if self.param_field else None
        self.blobs: list[Blob] = []  # the parameters, made by the net from `shapes`
        self.params: list[Operand] = []  # the same, while a recipe is being recorded
        self.param_propagate_down: list[bool] = []
        self.bottom_names = list(message.bottom)  # as they are in the file, for messages: no names of inserted Splits
        self.folder = ""  # of the prototxt: relative paths are tried there too
        self.check_arity()
        self.setup()

    def check_arity(self) -> None:
        """Refuse a number of bottoms or tops that the type does not take."""
        for end, arity, names in (("bottom", self.bottoms, self.message.bottom), ("top", self.tops, self.message.top)):
            unnamed = end == "top" and self.is_loss and len(names) < arity.low  # a loss need not name its top
            if len(names) not in arity and not unnamed:
                raise self.error(f"takes {arity} {end} blob(s), got {len(names)}: {', '.join(names) or 'none'}")
        if self.same_count and len(self.message.bottom) != len(self.message.top):
            raise self.error(
                f"takes as many tops as bottoms, got {len(self.message.bottom)} bottom(s) "
                f"and {len(self.message.top)} top(s)"
            )

    def refuse_in_place(self) -> None:
        """Refuse a top with the name of a bottom, where Caffe does."""
        for name in self.message.top:
            if name in self.message.bottom:
                raise self.error(f"top: this type cannot work in place, so give the top another name than {name!r}")

    def setup(self) -> None:
        """Check the fields and read what does not depend on shapes; runs once."""

    def shapes(self, bottom: Sequence[tuple[int, ...]]) -> Shapes:
        """Shapes of everything from the shapes of the bottoms; runs again whenever those change."""
        raise NotImplementedError

    def start(self, top: Sequence[Blob]) -> None:
        """Write the first values of tops that no forward writes; runs once, when the net has its memory."""

    def forward(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """Record how the tops' data follow from the bottoms' data."""
        raise NotImplementedError

    def backward(self, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        """Record how bottom diffs follow from top diffs (overwriting) and add to the parameters' diffs.

        Those that `overwrites` names are written instead when they are `fresh`, whatever the batch.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What `remembers` names, for a snapshot: a run that is stopped and resumed must not show it."""
        return {name: _plain(getattr(self, name)) for name in self.remembers}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for name in self.remembers:
            kept = getattr(self, name)
            if isinstance(kept, np.random.Generator):
                kept.bit_generator.state = state[name]
            elif hasattr(kept, "shape"):
                put(kept, state[name])  # in place: recorded launches hold its address
            else:
                setattr(self, name, state[name])

    def explain_fault(self, place: int, bottom: list[Blob]) -> CaffeError:
        """The error for a value that a run found wrong: recipes note its place + 1 in a scratch named `fault`."""
        raise NotImplementedError

    def learns(self, index: int) -> bool:
        """Whether the gradient of this parameter is wanted (its lr_mult is not 0)."""
        return index < len(self.param_propagate_down) and self.param_propagate_down[index]

    def error(self, text: str) -> ConfigError:
        """A ConfigError that names this layer; `text` is "field: rule, got value"."""
        return ConfigError(f"layer {self.name!r} ({self.type}): {text}")

    def axis(self, value: int, shape: Sequence[int], field_name: str = "axis", extra: int = 0) -> int:
        """A possibly negative axis as one in range, or an error. `extra` allows one past the end."""
        if not shape and not extra:
            raise self.error(f"{field_name}: the bottom is a scalar, which has no axis {value}")
        if not -len(shape) <= value < len(shape) + extra:
            raise self.error(
                f"{field_name}: must be in [{-len(shape)}, {len(shape) + extra - 1}] for shape {tuple(shape)}, "
                f"got {value}"
            )
        return value + len(shape) if value < 0 else value

    def __repr__(self) -> str:
        ends = " -> ".join(", ".join(names) for names in (self.message.bottom, self.message.top) if names)
        shapes = ", ".join("x".join(map(str, blob.shape)) for blob in self.blobs)
        return f"<{self.type} layer {self.name!r}: {ends}{f'; parameters {shapes}' if shapes else ''}>"


def _plain(value: Any) -> Any:
    """A remembered value as numbers, strings, arrays and dicts of them."""
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return fetch(value).copy() if hasattr(value, "shape") else value


def create(message: Any, phase: int, dtype: Any = np.float32) -> Layer:
    """The layer that a LayerParameter describes; ConfigError for an unknown type."""
    from . import layers

    if not message.type:
        raise ConfigError(f"layer {message.name!r}: no type given")
    kind = layers.find(message.type)
    if kind is None:
        raise ConfigError(f"layer {message.name!r}: unknown type {message.type!r}{layers.unknown_hint(message.type)}")
    return kind(message, phase, dtype)
