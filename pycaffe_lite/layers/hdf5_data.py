"""HDF5Data: batches of rows from HDF5 files; each top is the dataset of its name."""

from __future__ import annotations

import os

from ..data.hdf5_rows import Hdf5Batches
from ..errors import DataError
from ..layer import at_least
from ..paths import find_path
from ._data import StreamLayer


class HDF5Data(StreamLayer, type="HDF5Data", param="hdf5_data_param"):
    """Tops: (batch, shape of a row ...), as many as one likes; files and rows are shuffled every epoch, or not."""

    tops = at_least(1)

    def setup(self):
        p = self.param
        if not p.source:
            raise self.error("hdf5_data_param.source: must name a list of HDF5 files")
        if p.batch_size < 1:
            raise self.error(f"hdf5_data_param.batch_size: must be at least 1, got {p.batch_size}")
        if self.message.HasField("transform_param"):
            raise self.error("transform_param: HDF5 data are taken as they are; transform them before they are written")

    def open_stream(self, depth, seed):
        source = self.find_file(self.param.source)
        try:
            with open(source, encoding="utf-8") as file:
                paths = file.read().split()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{source}: cannot be read as a list of HDF5 files: {error}") from error
        if not paths:
            raise DataError(f"{source}: names no HDF5 files")
        found = [find_path(path, os.path.dirname(source)) for path in paths]
        return Hdf5Batches(found, list(self.message.top), self.param.batch_size, self.param.shuffle, depth, seed)
