"""How pixels of one blob of a NetSpec correspond to those of another, and the Crop that aligns them.

A map is (axis, a, b): coordinate x of one blob is a * x + b of the other, on all axes behind `axis`. `a` and `b`
are numbers, or arrays with one entry an axis; `axis` is None where a layer works on any axes alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import layers as L
from .errors import ConfigError
from .net_spec import Function, Top

Map = tuple[int | None, Any, Any]
IDENTITY: Map = (None, 1, 0)

PASS_THROUGH_LAYERS = [
    "AbsVal", "BatchNorm", "Bias", "BNLL", "Clip", "Dropout", "Eltwise", "ELU", "Exp", "Log", "LRN", "MVN", "Power",
    "PReLU", "ReLU", "Scale", "Sigmoid", "Split", "Swish", "TanH", "Threshold",
]  # fmt: skip


class UndefinedMapException(ConfigError):
    """A layer whose tops do not lie over its bottoms pixel by pixel."""


class AxisMismatchException(ConfigError):
    """Two maps that begin at different axes."""


class UnconnectedError(ConfigError, RuntimeError):
    """Two tops without a common ancestor."""


class CropError(ConfigError, AssertionError):
    """Two blobs that no Crop can align. (pycaffe asserts.)"""


def _block(fn: Function, name: str) -> Mapping[str, Any]:
    """The fields of a layer, given as such or in a block."""
    return fn.params.get(name, fn.params)


def _number(params: Mapping[str, Any], name: str, default: Any = None) -> np.ndarray:
    """The field that is one number an axis (or one for all): `kernel_size`, or `kernel_h` and `kernel_w`."""
    stem = name.removesuffix("_size")
    both = [params.get(f"{stem}_{side}") for side in "hw"]
    if any(value is not None for value in both):
        if None in both and default is None:
            raise UndefinedMapException(f"{stem}_h, {stem}_w: must both be given")
        return np.array([default if value is None else value for value in both])
    value = params.get(name, default)
    if value is None:
        raise UndefinedMapException(f"{name}: must be given")
    return np.array(value, ndmin=1)


def conv_params(fn: Function) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """(axis, stride, extent of the dilated kernel, pad) of a Convolution, Deconvolution, Pooling or Im2col."""
    params = _block(fn, "pooling_param" if fn.type_name == "Pooling" else "convolution_param")
    try:
        extent = (_number(params, "kernel_size") - 1) * np.array(params.get("dilation", 1), ndmin=1) + 1
        return params.get("axis", 1), _number(params, "stride", 1), extent, _number(params, "pad", 0)
    except UndefinedMapException as error:
        raise UndefinedMapException(f"{fn.place}: {fn.type_name}: {error}") from None


def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """(first cropped axis, offsets) of a Crop."""
    params = _block(fn, "crop_param")
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> Map:
    """The map from a layer's bottom to its top; UndefinedMapException where there is none."""
    if fn.type_name in PASS_THROUGH_LAYERS:
        return IDENTITY
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride  # top x is centred over bottom stride * x + ...
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    raise UndefinedMapException(f"{fn.place}: {fn.type_name}: no map from the pixels of its top to those of its bottom")


def compose(base_map: Map, next_map: Map) -> Map:
    """First `next_map`, then `base_map`; AxisMismatchException if they begin at different axes."""
    (axis, a, b), (next_axis, next_a, next_b) = base_map, next_map
    if axis is None:
        axis = next_axis
    elif next_axis not in (None, axis):
        raise AxisMismatchException(f"maps of axes from {axis} on and from {next_axis} on cannot be combined")
    return axis, a * next_a, a * next_b + b


def inverse(coord_map: Map) -> Map:
    """The map the other way."""
    axis, a, b = coord_map
    return axis, 1 / a, -b / a


def _ancestors(top: Top) -> Iterator[tuple[Top, Map]]:
    """A top, its bottoms, theirs ..., nearest first, each once, with the map from it to the top."""
    maps: dict[Top, Map] = {top: IDENTITY}
    waiting = deque([top])
    while waiting:
        current = waiting.popleft()
        yield current, maps[current]
        inputs = current.fn.inputs[:1] if current.fn.type_name == "Crop" else current.fn.inputs  # the other only sizes
        try:
            through = coord_map(current.fn) if inputs else IDENTITY
        except UndefinedMapException:
            continue
        for bottom in inputs:
            if bottom not in maps:
                maps[bottom] = compose(maps[current], through)
                waiting.append(bottom)


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map from the pixels of one top to those of another, by way of their nearest common ancestor.

    Raises AxisMismatchException, or UnconnectedError (a RuntimeError) where there is none.
    """
    known = dict(_ancestors(top_from))
    for top, to_map in _ancestors(top_to):
        if top in known:
            return compose(to_map, inverse(known[top]))
    raise UnconnectedError(
        f"{top_from!r} and {top_to!r} do not come from one blob by layers that keep pixels in their places"
    )


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop that cuts `top_from` so that it lies over `top_to`, pixel on pixel; CropError if none does."""
    axis, a, b = coord_map_from_to(top_from, top_to)
    b = np.atleast_1d(b)
    if not np.all(np.equal(a, 1)):
        raise CropError(f"crop: scale mismatch: a pixel of {top_from!r} is {a} pixels of {top_to!r}")
    if np.any(b > 0):
        raise CropError(f"crop: offsets must not be negative, got {-b}: {top_from!r} begins inside {top_to!r}")
    if np.any(b != np.round(b)):
        raise CropError(f"crop: offsets must be whole numbers, got {-b}")
    first = 2 if axis is None else axis + 1
    return L.Crop(top_from, top_to, crop_param={"axis": first, "offset": [int(-one) for one in b]})
