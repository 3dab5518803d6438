"""DummyData: tops of given shapes, filled by fillers; for tests, timing, and callers' own values."""

from __future__ import annotations

from .. import fillers, random
from ..errors import ConfigError
from ..layer import Shapes, at_least
from ..proto import caffe_pb2
from ._data import DataLayer

LEGACY = ("num", "channels", "height", "width")  # how a shape was given before there was BlobShape


class DummyData(DataLayer, type="DummyData", param="dummy_data_param"):
    """Constants are filled once, so what the caller writes there stays; all else in every forward."""

    tops = at_least(1)
    remembers = ("generator",)

    def setup(self):
        p = self.param
        self.check_times("data_filler", (0, 1))
        legacy = any(len(getattr(p, name)) for name in LEGACY)
        if legacy and p.shape:
            raise self.error("dummy_data_param: give shape or the old num, channels, height, width, not both")
        for name in LEGACY if legacy else ("shape",):
            self.check_times(name, (1,))
        shapes = [s.dim for s in p.shape]
        if legacy:
            shapes = zip(*(self.for_each_top(getattr(p, name)) for name in LEGACY))
        self.sizes = self.for_each_top([tuple(shape) for shape in shapes])
        self.fillers = self.for_each_top(p.data_filler or [caffe_pb2.FillerParameter()])
        self.on_host = any(filler.type != "constant" for filler in self.fillers)
        self.caller_fills = not self.on_host
        self.generator = random.new_generator()

    def check_times(self, name, allowed):
        """Refuse a repeated field that is there neither `allowed` times nor once for each top."""
        given, tops = len(getattr(self.param, name)), len(self.message.top)
        if given not in (*allowed, tops):
            times = " or ".join(map(str, (*allowed, tops)))
            raise self.error(f"dummy_data_param.{name}: must be given {times} times (tops: {tops}), got {given}")

    def for_each_top(self, given):
        """A repeated field that may have been given once for all tops."""
        return list(given) * (len(self.message.top) if len(given) == 1 else 1)

    def shapes(self, bottom):
        return Shapes(top=self.sizes)

    def start(self, top):
        self.fill(top, constant=True)

    def forward(self, bottom, top):
        if self.on_host:
            self.fill(top, constant=False)

    def fill(self, top, constant):
        """Fill the tops whose filler is constant, or those whose is not."""
        for filler, blob in zip(self.fillers, top):
            if (filler.type == "constant") == constant:
                try:
                    fillers.fill(blob.data, filler, self.generator)
                except ConfigError as error:
                    raise self.error(f"dummy_data_param.data_filler: {error}") from error
