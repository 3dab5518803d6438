"""Mean images: the BlobProto that compute_image_mean writes, or an .npy file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pycaffe_lite.errors import DataError
from pycaffe_lite.proto import BlobProto


def read_mean(path: str) -> np.ndarray:
    """The mean image in a .binaryproto or .npy file, as float32 (C, H, W)."""
    if not Path(path).is_file():
        raise DataError(f"{path}: no such mean file (relative paths start from {Path.cwd()})")
    if Path(path).suffix == ".npy":
        try:
            mean = np.load(path, allow_pickle=False).astype(np.float32)
        except ValueError as error:
            raise DataError(f"{path}: not an .npy file of numbers ({error})") from error
    else:
        mean = _read_blob(path)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3 or mean.size == 0:
        raise DataError(f"{path}: a mean image has shape (1, C, H, W) or (C, H, W), this has {mean.shape}")
    return mean


def _read_blob(path: str) -> np.ndarray:
    """The array of a serialised BlobProto, with its new or its old kind of shape."""
    blob = BlobProto()
    try:
        blob.ParseFromString(Path(path).read_bytes())
    except Exception as error:  # protobuf's DecodeError, of whichever implementation
        raise DataError(f"{path}: not a BlobProto ({error})") from error
    values = np.array(blob.data or blob.double_data, np.float32)
    old_shape = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else old_shape
    if values.size != np.prod(shape):
        raise DataError(f"{path}: holds {values.size} numbers, but its shape is {shape}")
    return values.reshape(shape)
