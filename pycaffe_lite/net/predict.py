"""`net.predict`: any number of samples through a net, in batches, and the results in arrays of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import as_numbers
from ..errors import ConfigError
from .pycaffe import Arrays, PycaffeNet


class PredictingNet(PycaffeNet):
    """A net that takes arrays of any length."""

    name: str
    # The shapes that the last `predict` has left the inputs in, and the batch size that they had before
    _left: tuple[dict[str, tuple[int, ...]], int] = ({}, 0)

    def predict(
        self,
        inputs: Any = None,
        /,
        *,
        outputs: Sequence[str] | None = None,
        batch_size: int | None = None,
        **named: Any,
    ) -> np.ndarray | Arrays:
        """What the net gives for these samples: an array if it has one output, else {name: array}.

        `inputs` is an array of shape (n, ...) for a net with one input, or a dictionary; names may be given as
        keywords, too: predict(data=x). Any number of samples is taken, of any size that the net can take: its inputs
        are reshaped, and stay as the last batch was. `batch_size` is by default the net's own. `outputs` names
        the blobs that are wanted. One that has no row for each sample (a loss, an accuracy) is averaged over them.
        Results are copies, and no other thread can come between. ConfigError for what does not fit.
        """
        arrays = self._named_inputs(inputs, named)
        wanted = list(outputs) if outputs is not None else self.outputs
        for name in wanted:
            self.blobs[name]
        with self.lock:
            results = self._in_batches(arrays, wanted, self._batch_size(batch_size))
        return results[wanted[0]] if len(wanted) == 1 and outputs is None else results

    def _named_inputs(self, inputs: Any, named: Mapping[str, Any]) -> Arrays:
        """Arrays by input, as many rows in each."""
        if not self.inputs:
            raise ConfigError(
                f"predict: net {self.name!r} has no inputs, its data layers read files; `caffe-lite deploy` makes "
                "a net for use from it, whose input is an array"
            )
        if inputs is not None and named:
            raise ConfigError("predict: give the inputs by position or by name, not both")
        if inputs is not None and not isinstance(inputs, Mapping):
            if len(self.inputs) > 1:
                raise ConfigError(f"predict: name the inputs, which are {', '.join(self.inputs)}: predict(name=array)")
            inputs = {self.inputs[0]: inputs}
        given = dict(inputs if inputs is not None else named)
        if set(given) != set(self.inputs):
            raise ConfigError(f"predict: inputs are {', '.join(self.inputs)}, got {', '.join(given) or 'none'}")
        arrays = {name: as_numbers(array, f"input {name!r}") for name, array in given.items()}
        for name, array in arrays.items():
            axes = len(self.blobs[name].shape)
            if array.ndim != axes or not array.size:
                hint = (
                    f"; for one sample give array[None], of shape {(1, *array.shape)}" if array.ndim == axes - 1 else ""
                )
                raise ConfigError(
                    f"predict: input {name!r} must have {axes} axes, of which the first counts samples (the net was "
                    f"made for {self.blobs[name].shape}), got {array.shape}{hint}"
                )
        self._rows(arrays)
        return arrays

    def _batch_size(self, wanted: int | None) -> int:
        """How many samples to take at once: as many as the net was made for, whatever `predict` has left it with."""
        if wanted is not None:
            if not isinstance(wanted, (int, np.integer)) or wanted < 1:
                raise ConfigError(f"predict: batch_size must be a number of at least 1, got {wanted!r}")
            return int(wanted)
        shapes, before = self._left
        now = {name: self.blobs[name].shape for name in self.inputs}
        return before if now == shapes else max(1, now[self.inputs[0]][0])

    def _in_batches(self, arrays: Arrays, wanted: list[str], size: int) -> Arrays:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
        counts = []
        for batch, count in _cut(arrays, size):
            for name, rows in batch.items():
                self.blobs[name].reshape(rows.shape)
            self._left = {name: rows.shape for name, rows in batch.items()}, size
            self._set_inputs(batch)
            self.run_forward()
            counts.append(count)
            for name in wanted:
                parts[name].append(self.blobs[name].data.copy())
        return {name: _together(found, counts) for name, found in parts.items()}


def _cut(arrays: Arrays, size: int) -> Iterator[tuple[Arrays, int]]:
    """Batches of at most `size` rows, and how many they have."""
    rows = len(next(iter(arrays.values())))
    for start in range(0, rows, size):
        batch = {name: array[start : start + size] for name, array in arrays.items()}
        yield batch, min(size, rows - start)


def _together(parts: list[np.ndarray], counts: list[int]) -> np.ndarray:
    """One array of all rows; or the mean over all samples, where parts have no row for each."""
    if all(part.shape[:1] == (count,) for part, count in zip(parts, counts)):
        return np.concatenate(parts)
    if len({part.shape for part in parts}) == 1:
        return np.average(parts, axis=0, weights=counts).astype(parts[0].dtype)
    return np.concatenate(parts)
