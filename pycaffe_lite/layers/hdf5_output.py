"""HDF5Output: writes its two bottoms into a file, as datasets `data` and `label`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.hdf5_rows import h5py_module
from ..errors import DataError
from ..layer import Layer, Shapes, exactly
from ._channels import four_axes

NAMES = ("data", "label")


class HDF5Output(Layer, type="HDF5Output", param="hdf5_output_param"):
    """Every forward adds its batch; the file is begun anew by the first. (Caffe fails at the second.)"""

    bottoms, tops = exactly(2), exactly(0)
    differentiable = False
    backward_reads = ()
    on_host = True

    def setup(self):
        if not self.param.file_name:
            raise self.error("hdf5_output_param.file_name: must be given")
        self.mode = "w"

    def shapes(self, bottom):
        if not all(bottom) or bottom[0][0] != bottom[1][0]:
            raise self.error(f"bottoms: must have the same first axis, got shapes {bottom[0]} and {bottom[1]}")
        self.rows = [four_axes(shape) for shape in bottom]
        return Shapes(top=[])

    def forward(self, bottom, top):
        path, h5py = self.param.file_name, h5py_module()
        try:
            with h5py.File(path, self.mode) as file:  # closed in between, so that whoever looks sees whole batches
                for name, blob, shape in zip(NAMES, bottom, self.rows):
                    self.append(file, name, blob.data.reshape(shape))
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path}: cannot be written: {error}") from error
        self.mode = "a"

    def append(self, file: Any, name: str, rows: np.ndarray) -> None:
        """Add rows to the dataset of this name."""
        if name not in file:
            file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]), chunks=True)
            return
        dataset, there = file[name], len(file[name])
        if dataset.shape[1:] != rows.shape[1:]:
            raise self.error(f"{name}: the file has rows of shape {dataset.shape[1:]}, this batch {rows.shape[1:]}")
        dataset.resize(there + len(rows), axis=0)
        dataset[there:] = rows

    def backward(self, top, propagate_down, bottom):
        """Nothing: no gradient comes from here."""
