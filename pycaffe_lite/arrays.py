"""Arrays of other libraries: numpy, torch, jax, cupy, lists; read as numpy arrays, without a copy where that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ConfigError

if TYPE_CHECKING:
    from .blob import Blob

ON_THE_HOST = (1, 3, 11)  # DLPack's numbers of CPU memory: ordinary, and pinned for CUDA and for ROCm


def is_on_the_host(values: Any) -> bool:
    """Whether the host can read these values where they are; anything but an array on a GPU is."""
    return not hasattr(values, "__dlpack_device__") or values.__dlpack_device__()[0] in ON_THE_HOST


def as_numbers(values: Any, what: str) -> np.ndarray:
    """`values` as a numpy array of integers, booleans or floats; ConfigError, which begins with `what`, if it is none.

    Arrays on the host are not copied, those on a GPU are fetched. Of a torch tensor only the values are taken.
    """
    array = values if isinstance(values, np.ndarray) else _read(values, what)
    if array.dtype.kind in "fiub":
        return array
    if array.dtype.kind == "V" and array.dtype.names is None:  # bfloat16 and its kin, which numpy knows by extension
        try:
            return array.astype(np.float32)
        except (TypeError, ValueError):
            pass
    raise ConfigError(f"{what} must be numbers, got an array of {array.dtype}")


def _read(values: Any, what: str) -> np.ndarray:
    try:
        if hasattr(values, "detach"):  # torch
            values = values.detach().cpu()
            if str(values.dtype) == "torch.bfloat16":
                values = values.float()
        elif not is_on_the_host(values) and hasattr(values, "get"):  # cupy
            values = values.get()
        if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            return np.from_dlpack(values)
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise ConfigError(f"{what} is no array of numbers but a {type(values).__qualname__}: {error}") from error


def assign(blob: Blob, values: Any, what: str, may_reshape: bool = False) -> None:
    """Copy values into a blob's `data` or `diff` (`what`); ConfigError unless they are numbers of the blob's shape.

    As in pycaffe a sample may be shorter where numpy broadcasts it: (10, 3, 1, 1) into (10, 3, 8, 8).
    """
    array = as_numbers(values, f"blob {blob.name!r}: the {what} given")
    if array.shape != blob.shape and not _spreads(array.shape, blob.shape):
        raise ConfigError(
            f"blob {blob.name!r} has shape {blob.shape}, but the {what} given has shape {array.shape}"
            + (_way_out(blob, array.shape) if may_reshape else "")
        )
    getattr(blob, what)[...] = array


def _spreads(shape: tuple[int, ...], over: tuple[int, ...]) -> bool:
    """Whether numpy broadcasts samples of one batch of this shape over another of as many."""
    return (
        len(shape) == len(over)
        and shape[:1] == over[:1]
        and all(mine in (1, theirs) for mine, theirs in zip(shape, over))
    )


def _way_out(blob: Blob, shape: tuple[int, ...]) -> str:
    if len(shape) != len(blob.shape):
        return ""
    return f"; for another size, first net.blobs[{blob.name!r}].reshape({', '.join(map(str, shape))})"
