"""Batches of rows from HDF5 files, each with one dataset for every top (HDF5Data); files may exceed memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pycaffe_lite.data.order import Purpose, generator
from pycaffe_lite.data.stream import Arrays, Make, Stream, fitting
from pycaffe_lite.errors import DataError, suggest

IN_MEMORY = 256 << 20  # bytes of a file that are read at once and kept
BLOCK = 32 << 20  # bytes read at once of a larger one


def h5py_module() -> Any:
    """h5py, or advice."""
    try:
        import h5py
    except ImportError as error:
        raise DataError("for HDF5 files h5py is needed: pip install 'caffe-lite[hdf5]'") from error
    return h5py


class RowFile(NamedTuple):
    """What is known of a file: its rows, their shape in every dataset, and the bytes of a row of all."""

    path: str
    rows: int
    shapes: list[tuple[int, ...]]
    row_bytes: int


def inspect(path: str, names: Sequence[str]) -> RowFile:
    """Look at the datasets of these names; DataError if they are not all there, numbers, and of equal length."""
    with open_file(path) as file:
        datasets = [dataset(file, name, path) for name in names]
        rows = len(datasets[0])
        for name, other in zip(names, datasets):
            if len(other) != rows:
                raise DataError(
                    f"{path}: all datasets must have as many rows: {names[0]} has {rows}, {name} {len(other)}"
                )
        if rows == 0:
            raise DataError(f"{path}: has no rows")
        row_bytes = sum(int(np.prod(d.shape[1:], dtype=np.int64)) * d.dtype.itemsize for d in datasets)
        return RowFile(path, rows, [d.shape[1:] for d in datasets], max(1, row_bytes))


def open_file(path: str) -> Any:
    """The open file; DataError if it is none."""
    try:
        return h5py_module().File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read as an HDF5 file: {error}") from error


def dataset(file: Any, name: str, path: str) -> Any:
    """The dataset of this name; DataError if there is none, or it holds no numbers."""
    found = file.get(name)
    if not isinstance(found, h5py_module().Dataset):
        there = [key for key, item in file.items() if isinstance(item, h5py_module().Dataset)]
        raise DataError(f"{path}: has no dataset {name!r}, only {', '.join(there) or 'none'}{suggest(name, there)}")
    if found.dtype.kind not in "fiu":
        raise DataError(f"{path}: dataset {name!r} must hold numbers, but its type is {found.dtype}")
    if found.ndim < 1:
        raise DataError(f"{path}: dataset {name!r} must have at least 1 axis, its rows")
    return found


class RowOrder:
    """Which row of which file is the n-th sample of a run: as they are, or files and rows shuffled every epoch."""

    def __init__(self, rows: Sequence[int], seed: int, shuffle: bool) -> None:
        self._rows = np.array(rows, np.int64)
        self._seed = seed
        self._shuffle = shuffle
        self._permuted: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def runs(self, first: int, count: int) -> Iterator[tuple[int, np.ndarray]]:
        """Samples `first` to `first + count - 1`, as pieces: a file, and rows of it."""
        while count:
            epoch, place = divmod(first, int(self._rows.sum()))
            files = self._files(epoch)
            ends = np.cumsum(self._rows[files])
            at = int(np.searchsorted(ends, place, side="right"))
            file = int(files[at])
            start = place - int(ends[at] - self._rows[file])
            length = min(count, int(self._rows[file]) - start)
            yield file, self._rows_of(epoch, file, start, length)
            first, count = first + length, count - length

    def _files(self, epoch: int) -> np.ndarray:
        if not self._shuffle:
            return np.arange(len(self._rows))
        return generator(self._seed, Purpose.SHUFFLE, epoch * (len(self._rows) + 1)).permutation(len(self._rows))

    def _rows_of(self, epoch: int, file: int, start: int, length: int) -> np.ndarray:
        if not self._shuffle:
            return np.arange(start, start + length)
        visit = epoch * (len(self._rows) + 1) + 1 + file
        if self._permuted[0] != visit:
            order = np.arange(self._rows[file], dtype=np.int32 if self._rows[file] < 2**31 else np.int64)
            self._permuted = visit, generator(self._seed, Purpose.SHUFFLE, visit).permutation(order)
        return self._permuted[1][start : start + length]


class RowReader:
    """Reads rows of one file after the other; of the present one it keeps all, if that is little, or a block."""

    def __init__(self, files: Sequence[RowFile], names: Sequence[str]) -> None:
        self._files = files
        self._names = names
        self._number = -1
        self._open: Any = None
        self._start, self._kept = 0, [np.empty(0)]

    def read(self, number: int, rows: np.ndarray, outs: Sequence[np.ndarray]) -> None:
        """Copy these rows of a file into the arrays, one for each dataset."""
        if number != self._number:
            self._turn_to(number)
        stop = self._start + len(self._kept[0])
        if rows.min() < self._start or rows.max() >= stop:
            file = self._files[number]
            if (np.diff(rows) != 1).any():  # shuffled, and too large to keep
                self._read_scattered(rows, outs)
                return
            wanted = max(len(rows), BLOCK // file.row_bytes)
            self._keep(int(rows[0]), min(int(rows[0]) + wanted, file.rows))
        for kept, out in zip(self._kept, outs):
            np.copyto(out, kept[rows - self._start], casting="unsafe")

    def _turn_to(self, number: int) -> None:
        if self._open is not None:
            self._open.close()
        file = self._files[number]
        self._number, self._open = number, open_file(file.path)
        self._keep(0, file.rows if file.rows * file.row_bytes <= IN_MEMORY else 0)

    def _keep(self, start: int, stop: int) -> None:
        """Have these rows in memory, and no others."""
        self._start, self._kept = start, [self._slice(name, slice(start, stop)) for name in self._names]

    def _read_scattered(self, rows: np.ndarray, outs: Sequence[np.ndarray]) -> None:
        ascending, places = np.unique(rows, return_inverse=True)  # h5py reads in this order only
        for name, out in zip(self._names, outs):
            np.copyto(out, self._slice(name, ascending)[places], casting="unsafe")

    def _slice(self, name: str, rows: Any) -> np.ndarray:
        path = self._files[self._number].path
        try:
            return self._open[name][rows]
        except (OSError, KeyError) as error:
            raise DataError(f"{path}: dataset {name!r} cannot be read: {error}") from error


class Hdf5Batches(Stream):
    """The stream of an HDF5Data layer: `paths` are its files, `names` its datasets."""

    def __init__(
        self, paths: Sequence[str], names: Sequence[str], batch_size: int, shuffle: bool, depth: int, seed: int
    ) -> None:
        self._files = [inspect(path, names) for path in paths]
        first = self._files[0]
        for file in self._files:
            for name, shape, other in zip(names, first.shapes, file.shapes):
                if shape != other:
                    raise DataError(
                        f"rows of {name!r} must have one shape: {shape} in {first.path}, {other} in {file.path}"
                    )
        self._names = names
        self._shuffle = shuffle
        self.shapes = [(batch_size, *shape) for shape in first.shapes]
        super().__init__(batch_size, depth, seed)

    def maker(self, seed: int) -> Make:
        order = RowOrder([file.rows for file in self._files], seed, self._shuffle)
        reader, shapes, count = RowReader(self._files, self._names), self.shapes, self.batch_size

        def make(first: int, used: Arrays | None) -> Arrays:
            batch, at = fitting(used, shapes), 0
            for file, rows in order.runs(first, count):
                reader.read(file, rows, [array[at : at + len(rows)] for array in batch])
                at += len(rows)
            return batch

        return make
