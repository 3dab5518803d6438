"""Mean images: the BlobProto that compute_image_mean writes, or an .npy file."""

from __future__ import annotations

import os

import numpy as np

from ..errors import DataError, WeightsError
from ..proto import BlobProto
from . import blobproto, files, wire


def read_mean(path: str | os.PathLike[str]) -> np.ndarray:
    """The mean image in a .binaryproto or .npy file, as float32 (C, H, W)."""
    source = os.fspath(path)
    if not os.path.isfile(source):
        raise DataError(f"{source}: no such mean file (relative paths start from {os.getcwd()})")
    mean = _read_npy(source) if source.endswith(".npy") else _read_blob(source)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3 or mean.size == 0:
        raise DataError(f"{source}: a mean image has shape (1, C, H, W) or (C, H, W), this has {mean.shape}")
    return mean.astype(np.float32)


def _read_npy(source: str) -> np.ndarray:
    try:
        array = np.lib.format.open_memmap(source, mode="r")  # a size that the file has not is refused, not allocated
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{source}: not an .npy file of numbers ({error})") from error
    if array.dtype.kind not in "fiu":
        raise DataError(f"{source}: not an .npy file of numbers, but of {array.dtype}")
    return array


def _read_blob(source: str) -> np.ndarray:
    try:
        content = files.view(source, "BlobProto")
        return blobproto.stored(content, 0, len(content), source).read()
    except WeightsError as error:
        raise DataError(f"{error} (a mean file is a .binaryproto or .npy)") from error


def write_mean(path: str | os.PathLike[str], mean: np.ndarray) -> None:
    """Write a mean image (C, H, W), as .npy or else as the BlobProto that compute_image_mean writes."""
    source, mean = os.fspath(path), np.ascontiguousarray(mean, "<f4")
    if mean.ndim != 3 or mean.size == 0:
        raise DataError(f"{source}: a mean image has shape (C, H, W), got {mean.shape}")
    if source.endswith(".npy"):
        with files.replacing(source) as (temporary,), open(temporary, "wb") as file:
            np.save(file, mean)
        return
    channels, height, width = mean.shape
    legacy = BlobProto(num=1, channels=channels, height=height, width=width)  # what old readers look for
    values = wire.header(BlobProto.DESCRIPTOR.fields_by_name["data"].number, mean.nbytes)
    files.write_whole(source, [legacy.SerializeToString(), values, mean.reshape(-1).view(np.uint8).data])
