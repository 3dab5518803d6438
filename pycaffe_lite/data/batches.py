"""Batches from a Caffe database, in the order, shape and position that Caffe's Data layer defines."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from pycaffe_lite.data.database import open_database
from pycaffe_lite.data.datum import Samples, key_text
from pycaffe_lite.data.entries import EntryReader
from pycaffe_lite.data.order import Purpose, SampleOrder, generator
from pycaffe_lite.data.prefetch import Prefetcher
from pycaffe_lite.data.transform import DataTransformer
from pycaffe_lite.errors import ConfigError, DataError
from pycaffe_lite.proto import DataParameter, TransformationParameter

READ_AT_ONCE = 1024  # entries, where all are wanted


@dataclass
class Batch:
    """What the net takes: float32 (N, C, H, W), labels (N,) or (N, K), and where each row came from."""

    data: np.ndarray
    labels: np.ndarray
    keys: list[bytes]


class Position(TypedDict):
    """All that is needed to go on exactly where a run was: its seed, and how many samples it used."""

    seed: int
    sample: int


class DatabaseBatches:
    """The endless stream of batches of a Data layer, read ahead in a thread.

    Every batch is a function of the seed and of its place in the run, so `state` is small, and
    counts only what `next` has handed out, not what was prepared ahead.
    """

    def __init__(
        self,
        data_param: DataParameter,
        transform_param: TransformationParameter,
        phase: int,
        seed: int | None = None,
    ) -> None:
        if not data_param.source:
            raise ConfigError("data_param.source: must name a database")
        if not data_param.batch_size:
            raise ConfigError("data_param.batch_size: must be at least 1, got 0")
        self.batch_size: int = data_param.batch_size
        self._param = data_param
        transformer = DataTransformer(transform_param, phase)
        color = True if data_param.force_encoded_color else transformer.color
        self._database = open_database(data_param.source, DataParameter.DB.Name(data_param.backend))
        self._reader = EntryReader(self._database, color)
        self._transformer = transformer
        first = self._reader.first
        sample_shape = transformer.output_shape(*first.pixels[0].shape)
        self.batch_shape: tuple[int, int, int, int] = (self.batch_size, *sample_shape)
        self.label_shape: tuple[int, ...] = (self.batch_size, *first.labels.shape[1:])
        self._start(secrets.randbits(63) if seed is None else seed, 0)

    def _start(self, seed: int, sample: int) -> None:
        """Prepare batches from a position on."""
        self._seed = seed
        self._origin = sample
        order = SampleOrder(len(self._database), seed, self._param.shuffle, self._param.rand_skip)
        maker = _BatchMaker(self._reader, self._transformer, order, self.batch_size, sample)
        self._prefetcher = Prefetcher(maker.make, self._param.prefetch)

    def __len__(self) -> int:
        """How many entries the database has."""
        return len(self._database)

    def next(self) -> Batch:
        """The next batch, valid until the next call; without crop, its image size may change."""
        return self._prefetcher.next()

    def next_into(self, data: np.ndarray, labels: np.ndarray | None = None) -> list[bytes]:
        """Copy the next batch into the net's own arrays and return the keys of its rows."""
        batch = self.next()
        _copy(batch.data, data, "data")
        if labels is not None:
            _copy(batch.labels, labels, "labels")
        return batch.keys

    def everything(self, most: int) -> tuple[np.ndarray, np.ndarray] | None:
        """All entries transformed, and their labels, as they come round and round; then this is paused.

        None if they take more than `most` bytes, come in another order each time, or are not all alike.
        """
        shape = self.batch_shape[1:]
        size = len(self._database) * int(np.prod(shape)) * 4
        if size > most or self._param.shuffle or self._transformer.is_random:
            return None
        self._prefetcher.close()
        rows = np.empty((len(self._database), *shape), np.float32)
        labels = np.empty((len(self._database), *self.label_shape[1:]), np.float32)
        try:
            for first in range(0, len(rows), READ_AT_ONCE):
                part = slice(first, min(first + READ_AT_ONCE, len(rows)))
                samples = self._reader.fetch(np.arange(part.start, part.stop))
                if not isinstance(samples.pixels, np.ndarray) or samples.labels.shape[1:] != labels.shape[1:]:
                    raise DataError("entries differ")
                self._transformer.transform_batch(samples.pixels, rows[part], np.random.default_rng(0))
                labels[part] = samples.labels
        except (ConfigError, DataError):  # will be told, if at all, with the batch that it concerns
            self.restore(self.state())
            return None
        return rows, labels

    def pause(self) -> None:
        """Prepare nothing, until `restore`."""
        self._prefetcher.close()

    @property
    def skip(self) -> int:
        """Which entry is the first sample of the run."""
        return SampleOrder(len(self._database), self._seed, self._param.shuffle, self._param.rand_skip).skip

    @property
    def epoch(self) -> float:
        """How often the database was gone through."""
        return self.state()["sample"] / len(self._database)

    def state(self) -> Position:
        """The position after the last batch handed out."""
        return {"seed": self._seed, "sample": self._origin + self._prefetcher.position * self.batch_size}

    def restore(self, state: Position) -> None:
        """Go on from a position that `state` gave, also if the batch size has changed since."""
        self._prefetcher.close()
        self._start(state["seed"], state["sample"])

    def close(self) -> None:
        """Stop reading ahead and close the database."""
        self._prefetcher.close()
        self._database.close()


class _BatchMaker:
    """Makes any batch of the stream from its number alone; used by one thread at a time."""

    def __init__(
        self, reader: EntryReader, transformer: DataTransformer, order: SampleOrder, size: int, origin: int
    ) -> None:
        self._reader = reader
        self._transformer = transformer
        self._order = order
        self._size = size
        self._origin = origin

    def make(self, number: int, batch: Batch | None) -> Batch:
        """Batch ``number``, in the arrays of a used one where they fit."""
        first = self._origin + number * self._size
        samples = self._reader.fetch(self._order.indices(first, self._size))
        # As in Caffe, the first image decides the shape of its batch.
        shape = (self._size, *self._transformer.output_shape(*samples.pixels[0].shape))
        if batch is None or batch.data.shape != shape:
            batch = Batch(np.empty(shape, np.float32), np.empty(0, np.float32), [])
        rng = generator(self._order.seed, Purpose.TRANSFORM, first)
        if isinstance(samples.pixels, np.ndarray):
            self._transformer.transform_batch(samples.pixels, batch.data, rng)
        else:
            self._transform_each(samples, batch.data, rng)
        batch.labels = samples.labels.copy()
        batch.keys = samples.keys
        return batch

    def _transform_each(self, samples: Samples, out: np.ndarray, rng: np.random.Generator) -> None:
        """Images of different sizes one by one, if cropping makes them equal."""
        first, first_key = samples.pixels[0], key_text(samples.keys[0])
        for image, target, key in zip(samples.pixels, out, samples.keys, strict=True):
            if self._transformer.output_shape(*image.shape) != target.shape:
                raise DataError(
                    f"{self._reader.database.source}: images of one batch must have one shape, but entry"
                    f" {first_key} has {first.shape} and {key_text(key)} {image.shape};"
                    " use crop_size or batch_size: 1"
                )
            self._transformer.transform(image, target, rng)


def _copy(source: np.ndarray, target: np.ndarray, what: str) -> None:
    """Copy between arrays of one shape; numpy alone would stretch a smaller one."""
    if source.shape != target.shape:
        raise DataError(f"the batch's {what} are of shape {source.shape}, the net's array of {target.shape}")
    np.copyto(target, source)
