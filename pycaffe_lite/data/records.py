"""Images as the Datums of a database, as convert_imageset writes them: raw pixels, or encoded."""

from __future__ import annotations

import io
import os
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError, DataError
from ..proto import Datum
from .image_list import decode_file, read_bytes
from .images import pillow
from .imageset import Entry, Reader

_KEY_LIMIT = 511  # bytes, of LMDB
_QUALITY = 95  # of JPEGs, as OpenCV writes them


class Record(NamedTuple):
    """A serialised Datum, and the shape (C, H, W) of its image."""

    value: bytes
    shape: tuple[int, ...]


class Recorder(NamedTuple):
    """Makes records of image files; `encoding` is None for raw pixels, "" for each file's own, or an ending ("jpg")."""

    reader: Reader
    encoding: str | None = None

    def record(self, entry: Entry) -> Record:
        """One image as a record; DataError if the file cannot be read."""
        if self.encoding is None:
            image = self.reader.read(entry)
            channels, height, width = image.shape
            datum = Datum(
                channels=channels, height=height, width=width, data=image.tobytes(), label=entry.label, encoded=False
            )
            return Record(datum.SerializeToString(), image.shape)
        data, shape = self._encoded(entry)
        return Record(Datum(data=data, label=entry.label, encoded=True).SerializeToString(), shape)

    def _encoded(self, entry: Entry) -> tuple[bytes, tuple[int, ...]]:
        """The bytes of the file itself if they are what is wanted, else the image encoded anew."""
        own = os.path.splitext(entry.path)[1].lower().lstrip(".")
        encoding = self.encoding or own
        if not self.reader.size and _same(own, encoding):
            # Caffe copies grey files into databases of coloured images too, and then their batches fail.
            shape = decode_file(entry.path, None).shape
            if shape[0] == (3 if self.reader.color else 1):
                return read_bytes(entry.path), shape
        image = self.reader.read(entry)
        return encode(image, encoding, entry.path), image.shape


def key(number: int, name: str) -> bytes:
    """The key of an image in a database, as Caffe's tool makes it; very long names are cut off."""
    return f"{number:08d}_{name}".encode("utf-8", "surrogateescape")[:_KEY_LIMIT]


def _same(a: str, b: str) -> bool:
    return a == b or {a, b} == {"jpg", "jpeg"}


def pillow_format(encoding: str) -> str:
    """Pillow's name of a format by its ending ("jpg"); ConfigError if it cannot write such files."""
    Image = pillow()
    Image.init()
    name = Image.registered_extensions().get(f".{encoding}", "")
    if name not in Image.SAVE:
        raise ConfigError(f"images cannot be encoded as {encoding!r}; among others there are jpg, png, webp, tif, bmp")
    return name


def encode(image: np.ndarray, encoding: str, where: str) -> bytes:
    """An image uint8 (C, H, W), B, G, R, as the bytes of a file; DataError if that cannot be done."""
    pixels = image[0] if len(image) == 1 else image[::-1].transpose(1, 2, 0)
    file = io.BytesIO()
    try:
        pillow().fromarray(pixels).save(file, pillow_format(encoding), quality=_QUALITY)
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: {error}; give another --encode-type") from error
    return file.getvalue()
