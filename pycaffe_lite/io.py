"""pycaffe's caffe.io: images from files, resized and cropped, brought into a net's form; arrays as Caffe's messages.

An image here is a float array (H, W, K), its channels in the order R, G, B, its values from 0 to 1.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

from .arrays import as_numbers
from .data.datum import pixels_of
from .data.pictures import load_image, oversample, resize_image
from .errors import DataError, WeightsError
from .formats import blobproto
from .proto import caffe_pb2
from .transformer import Transformer

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovecor_str",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]


def blobproto_to_array(blob: Message, return_diff: bool = False) -> np.ndarray:
    """The values (or gradients) of a BlobProto as float64, in its shape; legacy ones have four axes.

    A mean image from a .binaryproto has shape (1, C, H, W): take `[0]` of it. WeightsError if values are missing.
    """
    _check_message(blob, "BlobProto", "blobproto_to_array")
    return blobproto.to_array(blob, "diff" if return_diff else "data").astype(np.float64)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """A BlobProto of these values, and of these gradients if given, all as float32."""
    values = as_numbers(arr, "array_to_blobproto: arr").astype(np.float32)
    if diff is not None:
        diff = as_numbers(diff, "array_to_blobproto: diff")
        if diff.shape != values.shape:
            raise DataError(f"array_to_blobproto: diff: must have arr's shape {values.shape}, got {diff.shape}")
    return blobproto.from_array(values, diff)


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Arrays as the bytes of a BlobProtoVector."""
    if not isinstance(arraylist, Iterable):
        raise DataError(f"arraylist_to_blobprotovector_str: takes a list of arrays, got {type(arraylist).__name__}")
    return caffe_pb2.BlobProtoVector(blobs=[array_to_blobproto(array) for array in arraylist]).SerializeToString()


arraylist_to_blobprotovecor_str = arraylist_to_blobprotovector_str  # as pycaffe spelled it for years


def blobprotovector_str_to_arraylist(str: bytes) -> list[np.ndarray]:
    """The arrays in the bytes of a BlobProtoVector; WeightsError if these are no such bytes."""
    try:
        vector = caffe_pb2.BlobProtoVector.FromString(str)
    except (DecodeError, TypeError) as error:
        raise WeightsError(f"blobprotovector_str_to_arraylist: not a BlobProtoVector ({error})") from error
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Any:
    """A Datum of an array (C, H, W): its bytes if it is uint8, else floats."""
    array = as_numbers(arr, "array_to_datum: arr")
    if array.ndim != 3:
        raise DataError(f"array_to_datum: Incorrect array shape, must be (channels, height, width), got {array.shape}")
    channels, height, width = array.shape
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width)
    if array.dtype == np.uint8:
        datum.data = array.tobytes()
    else:
        datum.float_data.extend(array.astype(np.float32).ravel().tolist())
    if label is not None:
        try:
            datum.label = label
        except (TypeError, ValueError):
            raise DataError(f"array_to_datum: label: must be a whole number of 32 bits, got {label!r}") from None
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The array (C, H, W) in a Datum: uint8, or float64 if it holds floats. Encoded images are decoded (BGR).

    DataError if the content does not have the Datum's shape. The label is `datum.label`.
    """
    _check_message(datum, "Datum", "datum_to_array")
    pixels = pixels_of(datum)
    return pixels.astype(np.uint8 if pixels.dtype == np.uint8 else np.float64)


def _check_message(value: Any, kind: str, where: str) -> None:
    """Refuse what is no message of this kind; somebody else's class for it is as good as ours."""
    if isinstance(value, Message) and value.DESCRIPTOR.name == kind:
        return
    got = value.DESCRIPTOR.name if isinstance(value, Message) else type(value).__name__
    hint = f"; parse it first: caffe_pb2.{kind}.FromString(data)" if isinstance(value, bytes) else ""
    raise DataError(f"{where}: takes a {kind}, got {got}{hint}")


def __getattr__(name: str) -> Any:
    """Scripts reach libraries through caffe.io: what pycaffe imports there is there as well, if it is installed."""
    homes = {"skimage": "skimage.io", "resize": "skimage.transform", "zoom": "scipy.ndimage"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(homes[name])
    except ImportError as error:
        library = {"skimage": "scikit-image", "scipy": "scipy"}[homes[name].partition(".")[0]]
        raise AttributeError(
            f"caffe.io.{name} is {homes[name]} of {library}, which is not installed (pip install {library}); "
            "resize_image needs no such library"
        ) from error
    return importlib.import_module("skimage") if name == "skimage" else getattr(module, name)
