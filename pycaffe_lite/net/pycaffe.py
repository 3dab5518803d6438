"""What pycaffe's Net has beside blobs and layers: forward and backward by name, all of a data set, numbers of blobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from threading import RLock
from typing import Any

import numpy as np

from ..arrays import as_numbers, assign
from ..blob import Blob
from ..errors import ConfigError
from ..layer import Layer
from .names import Named

Arrays = dict[str, np.ndarray]


class PycaffeNet:
    """pycaffe's way to run a net. Arrays that are returned are the blobs' own: the next run writes over them."""

    lock: RLock  # type: ignore[valid-type]
    layers: list[Layer]
    blobs: Named[Blob]
    layer_dict: Named[Layer]
    top_names: Named[list[str]]
    bottom_names: Named[list[str]]
    inputs: list[str]
    outputs: list[str]
    _layer_names: list[str]

    def run_forward(self, first: int = 0, last: int | None = None) -> float:
        raise NotImplementedError

    def run_backward(self, first: int | None = None, last: int = 0) -> None:
        raise NotImplementedError

    # By name -----------------------------------------------------------------------------------------------

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Any,
    ) -> Arrays:
        """Run layers `start` to `end` (names) with these arrays as inputs.

        Inputs may be arrays of numpy, torch, jax or cupy of any type of number, and take the shapes of their
        blobs. Returns {name: array} for the outputs (or for `end`'s tops) and all names in `blobs`. ConfigError
        for inputs that are missing, not inputs of the net, or of another shape; UnknownNameError for a name that
        no layer or blob has.
        """
        first = self._index(start) if start is not None else 0
        last = self._index(end) if end is not None else len(self.layers) - 1
        tops = self.top_names[end] if end is not None else self.outputs
        names = [*(name for name in tops if name in self.blobs), *(blobs or ())]  # a loss need not name its top
        wanted = {name: self.blobs[name] for name in names}
        with self.lock:
            if inputs:
                self._set_inputs(inputs)
            self.run_forward(first, last)
            return {name: blob.data for name, blob in wanted.items()}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **gradients: Any,
    ) -> Arrays:
        """Run layers `start` down to `end` (names) with these arrays as gradients of the outputs (or `start`'s tops).

        Works with the values that the blobs hold: those of the last forward, or zeros where none has run. Returns
        {name: array} of gradients for the inputs (or for `end`'s bottoms) and all names in `diffs`. Gradients of
        parameters are added to what is there: see `clear_param_diffs`. ConfigError as for `forward`, and where
        blobs have been reshaped since.
        """
        first = self._index(start) if start is not None else len(self.layers) - 1
        last = self._index(end) if end is not None else 0
        names = [*(self.bottom_names[end] if end is not None else self.inputs), *(diffs or ())]
        wanted = {name: self.blobs[name] for name in names}
        tops = self.top_names[start] if start is not None else self.outputs
        if gradients and set(gradients) != set(tops):
            raise ConfigError(f"gradients are wanted for {', '.join(tops) or 'nothing'}, got {', '.join(gradients)}")
        with self.lock:
            for name, array in gradients.items():
                assign(self.blobs[name], array, "diff")
            self.run_backward(first, last)
            return {name: blob.diff for name, blob in wanted.items()}

    def _set_inputs(self, arrays: Mapping[str, Any]) -> None:
        if set(arrays) != set(self.inputs):
            raise ConfigError(f"inputs of the net are {', '.join(self.inputs) or 'none'}, got {', '.join(arrays)}")
        for name, array in arrays.items():
            assign(self.blobs[name], array, "data", may_reshape=True)

    def _index(self, layer_name: str) -> int:
        self.layer_dict[layer_name]  # or the error that suggests another
        return self._layer_names.index(layer_name)

    # All of a data set -------------------------------------------------------------------------------------

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Any) -> Arrays:
        """Forward over arrays of any length, in batches of the net's size; the last one is filled up with zeros.

        Returns {name: array} of as many rows, for the outputs and all names in `blobs`. An output without a
        batch axis (a loss) has one row for each batch. (`predict` takes arrays as they are, without filling up.)
        """
        rows = self._rows(inputs)
        collected: dict[str, list[np.ndarray]] = {}
        for batch in self._batch(inputs):
            _collect(collected, self.forward(blobs=blobs, **batch))
        return _joined(collected, rows)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **arrays: Any
    ) -> tuple[Arrays, Arrays]:
        """forward_all and backward in one: `arrays` are for inputs, and may be for outputs, whose gradients they are.

        Returns the values and the gradients of all rows, as `forward` and `backward` name them.
        """
        known = [*self.inputs, *self.outputs]
        strange = [name for name in arrays if name not in known]
        if strange:
            raise ConfigError(f"inputs and outputs of the net are {', '.join(known)}, got {', '.join(strange)}")
        rows = self._rows(arrays)
        forward = self._batch({name: arrays[name] for name in self.inputs if name in arrays})
        backward = self._batch({name: arrays[name] for name in self.outputs if name in arrays})
        values: dict[str, list[np.ndarray]] = {}
        gradients: dict[str, list[np.ndarray]] = {}
        nothing: dict[str, Any] = {}
        for inputs, tops in zip_longest(forward, backward, fillvalue=nothing):
            _collect(values, self.forward(blobs=blobs, **inputs))
            _collect(gradients, self.backward(diffs=diffs, **tops))
        return _joined(values, rows), _joined(gradients, rows)

    def _rows(self, arrays: Mapping[str, Any]) -> int:
        """How many samples these arrays have; ConfigError unless all have as many, and there are some."""
        shapes = {name: as_numbers(array, f"array for {name!r}").shape for name, array in arrays.items()}
        if not shapes:
            raise ConfigError(f"give an array for each of the net's inputs: {', '.join(self.inputs) or 'it has none'}")
        lengths = {name: shape[0] if shape else 0 for name, shape in shapes.items()}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise ConfigError(f"arrays must have the same number of rows, and at least one; got {told}")
        return next(iter(lengths.values()))

    def _batch(self, blobs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Arrays cut into batches of the size of the net's first blob; the last is filled up with zeros."""
        arrays = {name: as_numbers(array, f"array for {name!r}") for name, array in blobs.items()}
        size = next(iter(self.blobs.values())).shape[0]
        for start in range(0, max(map(len, arrays.values()), default=0), size):
            batch = {name: array[start : start + size] for name, array in arrays.items()}
            yield {name: _filled_up(rows, size) for name, rows in batch.items()}

    # By number ---------------------------------------------------------------------------------------------

    def _forward(self, start: int, end: int) -> float:
        """Run layers number `start` to `end`; returns their loss."""
        return self.run_forward(start, end)

    def _backward(self, start: int, end: int) -> None:
        """Run layers number `start` down to `end`."""
        self.run_backward(start, end)

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _inputs(self) -> list[int]:
        return self._numbers(self.inputs)

    @property
    def _outputs(self) -> list[int]:
        return self._numbers(self.outputs)

    def _top_ids(self, layer: int) -> list[int]:
        """Numbers (in `_blob_names`) of the tops of a layer."""
        return self._numbers(self.top_names[self._layer_names[layer]])

    def _bottom_ids(self, layer: int) -> list[int]:
        """Numbers (in `_blob_names`) of the bottoms of a layer."""
        return self._numbers(self.bottom_names[self._layer_names[layer]])

    def _numbers(self, names: Sequence[str]) -> list[int]:
        known = self._blob_names
        return [known.index(name) for name in names if name in known]

    def set_input_arrays(self, data: Any, labels: Any) -> None:
        """Let the MemoryData layer with which the net begins take its batches from these arrays.

        `data` has shape (n, channels, height, width), `labels` (n) or (n, 1, 1, 1), n a multiple of batch_size.
        """
        first = self.layers[0]
        if first.type != "MemoryData":
            raise ConfigError(
                f"set_input_arrays: the first layer must be of type MemoryData, but {first.name!r} is {first.type}"
            )
        with self.lock:
            first.reset(as_numbers(data, "data"), as_numbers(labels, "labels"))  # type: ignore[attr-defined]


def _filled_up(rows: np.ndarray, size: int) -> np.ndarray:
    if len(rows) == size:
        return rows
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])


def _collect(into: dict[str, list[np.ndarray]], arrays: Arrays) -> None:
    for name, array in arrays.items():
        into.setdefault(name, []).append(np.atleast_1d(array).copy())


def _joined(collected: dict[str, list[np.ndarray]], rows: int) -> Arrays:
    """All batches in one array, without what was filled up."""
    return {name: np.concatenate(parts)[:rows] for name, parts in collected.items()}
