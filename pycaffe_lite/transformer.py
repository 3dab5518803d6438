"""Transformer: images on their way into a net, and back. pycaffe's name for it is caffe.io.Transformer."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .arrays import as_numbers
from .data.pictures import resize_image
from .errors import ConfigError, DataError, suggest
from .formats.mean import read_mean


class Transformer:
    """Brings images (H, W, K) into the form of a net's inputs (K, H, W); what is not set is not done.

    `inputs` maps names of inputs to shapes: Transformer({"data": net.blobs["data"].shape}). Steps, in this order:
    resize to the input's height and width, transpose, channel swap, raw scale, mean, input scale.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]):
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    @classmethod
    def of_net(
        cls,
        net: Any,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> Transformer:
        """One that brings images (H, W, K) into the form of a net's first input; what is None is not done.

        ConfigError if that input is none for images, which is (N, K, H, W).
        """
        if not net.inputs:
            raise ConfigError(f"net {net.name!r} has no inputs (it reads its data itself): images go into a deploy net")
        in_ = net.inputs[0]
        shape = net.blobs[in_].shape
        if len(shape) != 4:
            raise ConfigError(f"net {net.name!r}: images go into an input (N, K, H, W), but {in_!r} has shape {shape}")
        made = cls({in_: shape})
        made.set_transpose(in_, (2, 0, 1))
        if mean is not None:
            made.set_mean(in_, mean)
        if input_scale is not None:
            made.set_input_scale(in_, input_scale)
        if raw_scale is not None:
            made.set_raw_scale(in_, raw_scale)
        if channel_swap is not None:
            made.set_channel_swap(in_, channel_swap)
        return made

    def __repr__(self) -> str:
        steps = ("transpose", "channel_swap", "raw_scale", "mean", "input_scale")
        done = {name: [step for step in steps if name in getattr(self, step)] for name in self.inputs}
        return f"<Transformer {', '.join(f'{name}: {done[name]}' for name in done)}>"

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """An image (H', W', K) as float32 (K, H, W), the form of the input `in_`; `data` stays as it is."""
        self._check_input(in_)
        image = as_numbers(data, f"Transformer: {in_!r}: what is given")
        made = image.astype(np.float32)
        size = tuple(self.inputs[in_][2:])
        if len(size) == 2 and made.shape[:2] != size:
            made = resize_image(made, size)
        try:
            if in_ in self.transpose:
                made = made.transpose(self.transpose[in_])
            if in_ in self.channel_swap:
                made = made[list(self.channel_swap[in_])]
            if in_ in self.raw_scale:
                made *= self.raw_scale[in_]
            if in_ in self.mean:
                made -= self.mean[in_]
            if in_ in self.input_scale:
                made *= self.input_scale[in_]
        except (ValueError, IndexError) as error:
            raise self._misfit(in_, image, error) from error
        return made

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """What `preprocess` made, (1, K, H, W) or (K, H, W), as an image (H, W, K) again; `data` stays as it is."""
        self._check_input(in_)
        values = as_numbers(data, f"Transformer: {in_!r}: what is given")
        made = values.astype(values.dtype if values.dtype.kind == "f" else np.float32).squeeze()
        if made.ndim < 3 <= values.ndim and (in_ in self.transpose or in_ in self.channel_swap):
            made = made.reshape(values.shape[-3:])  # sizes of 1 are axes too, where axes are counted
        try:
            if in_ in self.input_scale:
                made /= self.input_scale[in_]
            if in_ in self.mean:
                made += self.mean[in_]
            if in_ in self.raw_scale:
                made /= self.raw_scale[in_]
            if in_ in self.channel_swap:
                made = made[np.argsort(self.channel_swap[in_])]
            if in_ in self.transpose:
                made = made.transpose(np.argsort(self.transpose[in_]))
        except (ValueError, IndexError) as error:
            raise self._misfit(in_, values, error) from error
        return made

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Put axes into this order: (2, 0, 1) makes (K, H, W) of images (H, W, K)."""
        self._check_input(in_)
        axes = len(self.inputs[in_]) - 1
        self._check_order(in_, "transpose", order, axes)
        if len(set(order)) != axes:
            raise self._error(in_, "transpose", "must not name an axis twice", order)
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Take channels, which are the first axis after transposing, in this order: (2, 1, 0) makes BGR of RGB."""
        self._check_input(in_)
        self._check_order(in_, "channel swap", order, self.inputs[in_][1])
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Multiply by this before the mean is subtracted: 255 for nets trained on values from 0 to 255."""
        self._check_input(in_)
        self.raw_scale[in_] = self._number(in_, "raw scale", scale)

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Multiply by this at the end."""
        self._check_input(in_)
        self.input_scale[in_] = self._number(in_, "input scale", scale)

    def set_mean(self, in_: str, mean: np.ndarray | str | os.PathLike[str]) -> None:
        """Subtract this: one number a channel (K,), or an image (H, W) or (K, H, W), in the net's order of channels.

        An image of another size is resized. A path of a .binaryproto or .npy file is read. ConfigError if the
        channels are not the input's.
        """
        self._check_input(in_)
        is_path = isinstance(mean, (str, os.PathLike))
        array = read_mean(mean) if is_path else as_numbers(mean, f"Transformer: {in_!r}: mean")  # type: ignore[arg-type]
        shape = tuple(self.inputs[in_][1:])
        channels = shape[0]
        if array.ndim == 1:
            if len(array) != channels:
                raise self._error(in_, "mean", f"must be one number for each of {channels} channels", array.shape)
            self.mean[in_] = array[:, None, None]
            return
        if array.ndim not in (2, 3) or array.size == 0:
            hint = "; mean[0] has it" if array.ndim == 4 and len(array) == 1 else ""
            raise self._error(in_, "mean", "must have shape (K,), (H, W) or (K, H, W)", f"{array.shape}{hint}")
        image = array[None] if array.ndim == 2 else array
        if len(image) != channels:
            raise self._error(in_, "mean", f"must have {channels} channels, as the input has", array.shape)
        if image.shape != shape:
            array = resize_image(image.transpose(1, 2, 0), shape[1:]).transpose(2, 0, 1)
        self.mean[in_] = array

    def _check_input(self, in_: str) -> None:
        if in_ not in self.inputs:
            names = ", ".join(map(str, self.inputs))
            raise ConfigError(f"Transformer: {in_!r} is not one of the inputs: {names}{suggest(str(in_), self.inputs)}")

    def _check_order(self, in_: str, what: str, order: Any, count: int) -> None:
        """Refuse what is not `count` numbers from 0 to count - 1."""
        try:
            wrong = len(order) != count or any(not 0 <= operator.index(i) < count for i in order)
        except TypeError:
            wrong = True
        if wrong:
            raise self._error(in_, what, f"must be {count} numbers from 0 to {count - 1}", repr(order))

    def _number(self, in_: str, what: str, value: Any) -> Any:
        """A number, or an array of numbers to multiply with element by element."""
        if not np.isfinite(as_numbers(value, f"Transformer: {in_!r}: {what}")).all():
            raise self._error(in_, what, "must be a finite number", value)
        return value

    def _error(self, in_: str, what: str, rule: str, got: Any) -> ConfigError:
        return ConfigError(f"Transformer: input {in_!r} {tuple(self.inputs[in_])}: {what}: {rule}, got {got}")

    def _misfit(self, in_: str, data: np.ndarray, error: Exception) -> DataError:
        return DataError(
            f"Transformer: {in_!r}: an array {data.shape} cannot be brought into the form of the input"
            f" {tuple(self.inputs[in_])} with what is set ({error})"
        )
