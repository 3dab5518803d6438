"""The update of all parameters as a program over one flat buffer: norm, clip, regularise, rule, apply."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from .. import ops
from ..device import CPU, fetch
from ..kernel import expression, kernel, recording
from ..memory import Memory
from ..net.net import Net
from ..net.script import Extra
from ..ops import BLOCK, block_sum
from . import policy, rules
from .scaling import LossScaling


@kernel("x: T*, count: int -> partial: double*", over=ops.BLOCKS, work=ops.BLOCK_WORK)
def square_sum(i, x, count, partial):  # type: ignore[no-untyped-def]
    """partial[i] = the sum of squares of block i."""
    total = 0.0
    for j in range(i * BLOCK, min(count, (i + 1) * BLOCK)):
        total += x[j] * x[j]
    partial[i] = block_sum(total)


square_sum.cuda(
    """
    double total = 0;
    for (int j = i * BLOCK + threadIdx.x; j < min(count, (i + 1) * BLOCK); j += blockDim.x)
        total += (double)x[j] * x[j];
    total = block_sum(total);
    if (threadIdx.x == 0) partial[i] = total;
    """,
    block=ops.THREADS,
)


@kernel("partial: double*, blocks: int, limit: double, share: double -> numbers: T*", over="1", work="blocks")
def set_scale(i, partial, blocks, limit, share, numbers):  # type: ignore[no-untyped-def]
    """numbers[1], the factor on gradients: share, times limit / norm where the norm is above the limit."""
    total = 0.0
    for block in range(blocks):
        total += partial[block]
    norm = math.sqrt(total)
    numbers[1] = share * limit / norm if norm > limit else share


set_scale.cuda("""
    double total = 0;
    for (int b = 0; b < blocks; ++b) total += partial[b];
    double norm = sqrt(total);
    numbers[1] = norm > limit ? share * limit / norm : share;
""")


average_weights = expression("average_weights", "y", "average w", "decay * average + (1 - decay) * w", "decay")


@kernel(
    "w: T*, g: T*, starts: long*, counts: long*, rates: T*, decays: T*, numbers: T*, eta: T, clips: int, entries: int"
    " -> local: T*",
    over="entries",
    work="100000",
)
def layer_rates(i, w, g, starts, counts, rates, decays, numbers, eta, clips, entries, local):  # type: ignore[no-untyped-def]
    """local = rates * trust for each parameter, trust = eta * |w| / (|g| + decay * |w|), or 1 where one is all zeros.

    The update multiplies by the rate. If it `clips`, rate * local is instead rates * the smaller of rate and trust.
    """
    weights, gradients = 0.0, 0.0
    for j in range(starts[i], starts[i] + counts[i]):
        weights += w[j] * w[j]
        gradients += g[j] * g[j]
    weights, gradients = math.sqrt(block_sum(weights)), math.sqrt(block_sum(gradients)) * numbers[1]
    trust = 1.0
    if weights > 0 and gradients > 0:
        trust = eta * weights / (gradients + numbers[2] * decays[i] * weights)
    if clips != 0 and numbers[0] > 0:
        trust = min(trust, numbers[0]) / numbers[0]
    local[i] = rates[i] * trust


layer_rates.cuda(
    """
    double weights = 0, gradients = 0, trust = 1;
    for (long long j = starts[i] + threadIdx.x; j < starts[i] + counts[i]; j += blockDim.x) {
        weights += (double)w[j] * w[j]; gradients += (double)g[j] * g[j];
    }
    weights = sqrt(block_sum(weights)); gradients = sqrt(block_sum(gradients)) * numbers[1];
    if (weights > 0 && gradients > 0) trust = eta * weights / (gradients + numbers[2] * decays[i] * weights);
    if (clips && numbers[0] > 0) trust = min(trust, (double)numbers[0]) / numbers[0];
    if (threadIdx.x == 0) local[i] = rates[i] * trust;
    """,
    block=ops.THREADS,
)


class Update:
    """History of all parameters, and the program that updates them. Arrays live on the net's device."""

    def __init__(self, net: Net, param: Any):
        self.net, self.param = net, param
        net.fill_parameters()  # the update works on the flat arrays, and asks no blob
        self.name, self.rule = rules.find(param.type)
        self.entries = net.graph.learnable
        self._data, self.flat_diff = net.graph.flat_data, net.graph.flat_diff
        self.dtype = np.dtype(net.graph.dtype)
        self.line = 64 // self.dtype.itemsize
        self.count = 0 if self._data is None else self._data.size
        self.numbers = net.device.zeros(len(rules.NUMBERS), self.dtype)
        self._numbers = np.ctypeslib.as_ctypes(self.numbers) if net.device is CPU else None  # written without numpy
        self._histories = [Memory(self.count, self.dtype) for _ in range(self.rule.histories)]
        self._values = [entry.blob.data_memory for entry in self.entries]
        self.gradients = [entry.blob.diff_memory for entry in self.entries]
        self._updated = self._values + self.gradients + self._histories
        self._squares: Any = None  # sums of squares of all gradients, by block, if they are to be clipped
        halves = getattr(net.device, "precision", None) == "fp16" and self.dtype == np.float32
        self.scaling = LossScaling(net) if halves else None
        self._clear, self._apply = net.device.program(self.dtype), net.device.program(self.dtype)
        self.average = self._copied_weights() if param.ema_decay and self.count else None
        self._trained: Any = None  # while the net holds the average: its own weights
        if self.count:
            self._record()

    def _record(self) -> None:
        owner, rates, decays = self._tables()
        with recording(self._clear):
            ops.fill(0, self.count, self.flat_diff)
        with recording(self._apply):
            if self.scaling:
                self.scaling.record(self.flat_diff, self.count, self.numbers)
            if self.param.clip_gradients >= 0:
                partial = self._squares = self.net.device.zeros(ops.blocks(self.count), np.float64)
                square_sum(self.flat_diff, self.count, partial)
                share = 1 / self.param.iter_size
                set_scale(partial, partial.size, self.param.clip_gradients, share, self.numbers)
            if self.rule.adaptive or self.param.larc:
                rates = self._adapt(rates, decays)
            run = rules.update_kernel(self.name, self.param.regularization_type)
            run(
                owner, rates, decays, self.numbers, self.line, self.count // self.line,
                self._data, self.flat_diff, *(history.array_on(self.net.device) for history in self._histories),
            )  # fmt: skip
            if self.average is not None:
                average_weights(self.average, self._data, self.param.ema_decay, self.count, self.average)

    def _adapt(self, rates: Any, decays: Any) -> Any:
        """Record the rates of LARS; returns the array they will be in."""
        counts = np.array([e.blob.count for e in self.entries], np.int64)
        sizes = -(-counts // self.line) * self.line
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        local, upload = self.net.device.zeros(len(self.entries), self.dtype), self.net.device.upload
        layer_rates(
            self._data, self.flat_diff, upload(starts), upload(counts), rates, decays, self.numbers,
            self.param.larc_eta, int(self.param.larc_policy == "clip"), len(self.entries), local,
        )  # fmt: skip
        return local

    def _tables(self) -> tuple[Any, Any, Any]:
        """Which parameter each line belongs to, and the multipliers of each parameter."""
        owner = np.repeat(
            np.arange(len(self.entries), dtype=np.int32),
            [-(-e.blob.count // self.line) for e in self.entries],
        )
        upload = self.net.device.upload
        rates = np.array([e.lr_mult for e in self.entries], self.dtype)
        decays = np.array([e.decay_mult for e in self.entries], self.dtype)
        return upload(owner), upload(rates), upload(decays)

    @property
    def extra(self) -> Extra:
        """The update, for a script that has brought its numbers to the device."""
        return Extra(self._apply, self._updated, self._updated)

    def clear(self) -> None:
        """Set all gradients to zero."""
        self._clear.run()
        self._written(self.gradients)

    def apply(self, rate: float, iteration: int) -> None:
        """Take the step of this iteration with this rate."""
        numbers = self.numbers_of(rate, iteration)
        if iteration == 0:
            self.start_average()
        if self._numbers is not None:
            self._numbers[:] = numbers
            self._apply.run()
            return
        self.net.device.copy_in(self.numbers, np.array(numbers, self.dtype))
        self._needed(self._updated)
        self._apply.run()
        self._written(self._updated)

    def clipped_norm(self) -> float:
        """The norm that all gradients had in the last step, if it was above clip_gradients; else 0."""
        norm = 0.0 if self._squares is None else math.sqrt(fetch(self._squares).sum())
        return norm if norm > self.param.clip_gradients else 0.0

    def _needed(self, memories: list[Memory]) -> None:
        """Bring pieces of the flat arrays to the device, if the host has changed them."""
        if self.net.device is not CPU:
            for memory in memories:
                memory.to_device(self.net.device)

    def _written(self, memories: list[Memory]) -> None:
        """Note that the device has changed pieces of the flat arrays."""
        if self.net.device is not CPU:
            for memory in memories:
                memory.written_on(self.net.device)

    def _weights(self) -> Any:
        """All weights, as they are now."""
        self._needed(self._values)
        return self._data

    def _here(self) -> AbstractContextManager[Any]:
        """In this block CuPy works on the net's GPU, which need not be the one that is current."""
        device: Any = self.net.device
        return device.stream() if device.asynchronous else nullcontext()

    def _copied_weights(self) -> Any:
        weights = self._weights()
        with self._here():
            return weights.copy()

    def _set_weights(self, weights: Any) -> None:
        with self._here():
            self._data[...] = weights
        self._written(self._values)

    def start_average(self) -> None:
        """Before the first iteration: let the average begin with the weights; they may have been loaded since."""
        if self.average is not None:
            self.restart_average()

    def restart_average(self) -> None:
        """Let the average be the weights as they are now."""
        weights = self._weights()
        with self._here():
            self.average[...] = weights

    def numbers_of(self, rate: float, iteration: int) -> tuple[float, ...]:
        """What an iteration with this rate reads, in the order of `rules.NUMBERS`."""
        p, t = self.param, iteration + 1
        correction = 1.0
        if self.name in ("Adam", "AdamW"):
            correction = math.sqrt(1 - p.momentum2**t) / (1 - p.momentum**t)
        momentum = policy.momentum(p, iteration, rate)
        return rate, 1 / p.iter_size, p.weight_decay, momentum, p.momentum2, p.rms_decay, p.delta, correction, 1.0

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """In this block the net holds the moving average of its weights, if ema_decay asks for one."""
        if self.average is None:
            yield
            return
        trained, outer = self._copied_weights(), self._trained
        self._set_weights(self.average)
        self._trained = trained
        try:
            yield
        finally:
            self._set_weights(trained)
            self._trained = outer

    @contextmanager
    def trained_weights(self) -> Iterator[None]:
        """In this block the net holds its own weights, also in the midst of a test of the averaged ones."""
        if self._trained is None:
            yield
            return
        self._set_weights(self._trained)
        try:
            yield
        finally:
            self._set_weights(self.average)

    def histories(self) -> list[np.ndarray]:
        """The history blobs, to read and write, in Caffe's order: the first of all parameters, then the second."""
        found = []
        for history in self._histories:
            flat, start = history.to_host_for_writing(), 0
            for entry in self.entries:
                found.append(flat[start : start + entry.blob.count].reshape(entry.blob.shape))
                start += -(-entry.blob.count // self.line) * self.line
        return found
