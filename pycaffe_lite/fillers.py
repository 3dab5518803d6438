"""The seven fillers: first values of parameters, from a FillerParameter.

Fan-in and fan-out follow Caffe: for a blob (out, in, k...) fan-in is count / shape[0], fan-out count / shape[1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .blob import Blob
from .errors import ConfigError, suggest
from .proto import caffe_pb2

Filler = Callable[[np.ndarray, Any, np.random.Generator], None]
PIECE = 1 << 16  # values that are drawn and scaled in one go, while they are in the cache


def constant(out: np.ndarray, param: Any, rng: np.random.Generator) -> None:
    """`value` everywhere."""
    out[...] = param.value


def uniform(out: np.ndarray, param: Any, rng: np.random.Generator) -> None:
    """Uniform in [`min`, `max`]."""
    draw(out, lambda piece: rng.uniform(param.min, param.max, piece.shape))


def gaussian(out: np.ndarray, param: Any, rng: np.random.Generator) -> None:
    """Normal with `mean` and `std`; with `sparse` s >= 0, each value is kept with probability s / outputs, else 0."""
    draw(out, lambda piece: normal(piece, param.std, rng) + np.float32(param.mean))
    if param.sparse >= 0:
        outputs = out.shape[0] if out.shape else 1
        out *= rng.random(out.shape) < min(1.0, param.sparse / outputs)


def positive_unitball(out: np.ndarray, param: Any, rng: np.random.Generator) -> None:
    """Uniform in [0, 1], then scaled so that the values of each output sum to 1."""
    rows = rng.random(out.shape).reshape(out.shape[0] if out.shape else 1, -1)
    out[...] = (rows / np.maximum(rows.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)).reshape(out.shape)


def fan(shape: tuple[int, ...], variance_norm: int) -> float:
    """The n of xavier and msra: fan-in, fan-out, or their mean."""
    count = math.prod(shape)
    fan_in = count / shape[0] if shape else 1
    fan_out = count / shape[1] if len(shape) > 1 else count
    norms = caffe_pb2.FillerParameter
    if variance_norm == norms.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if variance_norm == norms.FAN_OUT else fan_in


def xavier(out: np.ndarray, param: Any, rng: np.random.Generator) -> None:
    """Uniform in +-sqrt(3 / n) (Glorot and Bengio 2010)."""
    bound = np.float32(math.sqrt(3 / fan(out.shape, param.variance_norm)))
    draw(out, lambda piece: (rng.random(piece.shape, np.float32) * 2 - 1) * bound)


def msra(out: np.ndarray, param: Any, rng: np.random.Generator) -> None:
    """Normal with std sqrt(2 / n) (He et al. 2015)."""
    std = math.sqrt(2 / fan(out.shape, param.variance_norm))
    draw(out, lambda piece: normal(piece, std, rng))


def normal(piece: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """As many values around 0."""
    return rng.standard_normal(piece.shape, np.float32) * np.float32(std)


def draw(out: np.ndarray, values: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write the values that are drawn for one piece after the other: those of a large layer never lie twice."""
    flat = out.reshape(-1)  # a copy, where `out` is not contiguous
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE]
        piece[...] = values(piece)
    if not out.flags.c_contiguous:
        out[...] = flat.reshape(out.shape)


def bilinear(out: np.ndarray, param: Any, rng: np.random.Generator) -> None:
    """The weights with which a Deconvolution upsamples bilinearly; square 4-D kernels."""
    side = out.shape[3]
    half = math.ceil(side / 2)
    centre = (side - 1) / (2 * half)
    line = 1 - np.abs(np.arange(side) / half - centre)
    out[...] = np.outer(line, line)


FILLERS: dict[str, Filler] = {
    "constant": constant,
    "uniform": uniform,
    "gaussian": gaussian,
    "positive_unitball": positive_unitball,
    "xavier": xavier,
    "msra": msra,
    "bilinear": bilinear,
}


def check(shape: tuple[int, ...], param: Any) -> None:
    """Refuse a FillerParameter that cannot fill a blob of this shape: ConfigError."""
    if param.type not in FILLERS:
        raise ConfigError(
            f"unknown filler type {param.type!r}{suggest(param.type, FILLERS)}; known: {', '.join(FILLERS)}"
        )
    for name in ("value", "min", "max", "mean", "std"):
        if not math.isfinite(getattr(param, name)):
            raise ConfigError(f"{param.type} filler: {name} must be a finite number, got {getattr(param, name):g}")
    if param.type == "gaussian":
        if param.std <= 0:
            raise ConfigError(
                f"gaussian filler: std must be above 0, got {param.std:g} (type: 'constant' fills evenly)"
            )
        if param.sparse < -1:
            raise ConfigError(f"gaussian filler: sparse must be -1 (off) or a number of inputs, got {param.sparse}")
    elif param.sparse != -1:
        raise ConfigError(f"{param.type} filler: sparse is only for the gaussian filler, got {param.sparse}")
    if param.type == "uniform" and param.max < param.min:
        raise ConfigError(f"uniform filler: max must not be below min {param.min:g}, got {param.max:g}")
    if param.type == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
        raise ConfigError(f"bilinear filler: the blob must be 4-D with a square kernel, got shape {shape}")


def fill(out: np.ndarray, param: Any, rng: np.random.Generator) -> None:
    """Write first values into `out`: `param` is a FillerParameter, an array, or None for zeros.

    Raises ConfigError for a filler that cannot be.
    """
    if param is None or isinstance(param, np.ndarray):
        out[...] = 0 if param is None else param
        return
    check(out.shape, param)
    if out.size:
        FILLERS[param.type](out, param, rng)


def fill_when_wanted(blob: Blob, param: Any, rng: np.random.Generator) -> None:
    """Check now, and fill a new blob when its values are first wanted; the zeros it has need no writing."""
    shape, count = blob.shape, blob.count
    zero = param is None
    if param is not None and not isinstance(param, np.ndarray):
        check(shape, param)
        zero = param.type == "constant" and param.value == 0
    if not zero:
        blob.data_memory.first_values = lambda out: fill(out[:count].reshape(shape), param, rng)
