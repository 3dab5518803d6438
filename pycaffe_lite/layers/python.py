"""Python: a layer that the user has written, called as pycaffe calls it."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from ..blob import Blob
from ..caffe_alias import install_unless_caffe_is_there
from ..errors import PythonLayerError, suggest
from ..layer import Layer, Param, Shapes, at_least
from ..memory import State
from ..python_layer import ParameterBlobs

allowed = True
"""Whether nets may have Python layers; --no-python-layers says no, so that a stranger's net runs no code."""


class Python(Layer, type="Python", param="python_param"):
    """An adapter: it gives the user's object the blobs, and takes the shapes from them.

    While shapes are first inferred there is no memory yet, so `setup` sees stand-ins of the same shapes; what
    it writes into them reaches the real ones.
    """

    bottoms = tops = at_least(0)
    on_host = True

    def setup(self):
        p = self.param
        for field in ("module", "layer"):
            if not getattr(p, field):
                raise self.error(f"python_param.{field}: must be given")
        if not allowed:
            raise self.error(f"Python layers are not allowed here, and this one would run {p.module}.{p.layer}")
        self.instance: Any = None
        self.bottom: list[Blob] = []
        self.top: list[Blob] = []
        # a top with the name of its bottom is that bottom, as in Caffe
        names = zip(self.message.bottom, self.message.top)
        self.shared = [index for index, (bottom, top) in enumerate(names) if bottom == top]
        self.in_place = bool(self.shared)

    # Making the object

    def load(self) -> Any:
        """The user's class; the prototxt's folder and the current one are searched like those in sys.path."""
        for folder in (self.folder, os.getcwd()):
            if folder and folder not in sys.path:
                sys.path.append(folder)
        install_unless_caffe_is_there()
        module_name, class_name = self.param.module, self.param.layer
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if not f"{module_name}.".startswith(f"{error.name}."):  # it is there, but something it imports is not
                raise self.raised(f"importing {module_name}", error) from error
            places = ", ".join(filter(None, (self.folder, os.getcwd())))
            raise self.error(f"python_param.module: no module {module_name!r} in {places} or sys.path") from error
        except Exception as error:
            raise self.raised(f"importing {module_name}", error) from error
        if not hasattr(module, class_name):
            hint = suggest(class_name, vars(module))
            raise self.error(f"python_param.layer: module {module_name} has no {class_name!r}{hint}")
        return getattr(module, class_name)

    def make(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Make the object and set it up, as Caffe's LayerSetUp does."""
        kind = self.load()
        self.bottom[:] = [Blob(shape, self.dtype, name) for shape, name in zip(shapes, self.message.bottom)]
        self.top[:] = [Blob((), self.dtype, name) for name in self.message.top]
        for index in self.shared:
            self.top[index] = self.bottom[index]
        try:
            self.instance = kind(self.message)
        except Exception as error:
            raise self.raised(f"{self.param.module}.{self.param.layer}()", error) from error
        self.instance.param_str, self.instance.phase = self.param.param_str, self.phase
        self.instance.blobs = ParameterBlobs(self.dtype)
        self.call("setup", self.bottom, self.top)
        self.call("reshape", self.bottom, self.top)
        self.wanted = [Param(blob.shape, blob.data.copy()) for blob in self.instance.blobs]

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of the object; what it raises is shown with its own traceback and this layer's name."""
        try:
            return getattr(self.instance, method)(*args)
        except Exception as error:
            raise self.raised(f"{self.param.module}.{self.param.layer}.{method}", error) from error

    def raised(self, where: str, error: Exception) -> PythonLayerError:
        """The error for what the user's code has raised."""
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not is_ours(f.filename)]
        lines = [*traceback.format_list(frames), *traceback.format_exception_only(error)]
        text = "".join(lines).rstrip()
        return PythonLayerError(f"layer {self.name!r} (Python): {where} raised {type(error).__name__}\n{text}")

    # The contract

    def shapes(self, bottom):
        if self.instance is None:
            self.make(bottom)
        elif list(bottom) != self.seen:
            for blob, shape in zip(self.bottom, bottom):
                blob.reshape(shape)
            self.call("reshape", self.bottom, self.top)
        self.seen = list(bottom)
        return Shapes(top=[blob.shape for blob in self.top], params=self.wanted)

    def start(self, top):
        """From here on the object has the real blobs; stand-ins that it may have kept are the same memory."""
        for index, (mine, real) in enumerate(zip(self.top, top)):
            if index not in self.shared and mine.data_memory.state is not State.UNINITIALIZED:
                real.data[...] = mine.data
        for mine, real in zip((*self.top, *self.instance.blobs), (*top, *self.blobs)):
            mine.share_data(real)
            mine.share_diff(real)
        self.instance.blobs[:] = self.blobs

    def state_dict(self):
        return self.call("state_dict")

    def restore(self, state):
        self.call("restore", state)

    def see(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> list[int]:
        """Show the object these blobs; returns the shared ones that the net could not give one memory."""
        self.bottom[:], self.top[:] = bottom, top
        apart = [index for index in self.shared if bottom[index] is not top[index]]
        for index in apart:
            self.bottom[index] = top[index]
        return apart

    def forward(self, bottom, top):
        for index in self.see(bottom, top):
            top[index].reshape(bottom[index].shape)
            top[index].data[...] = bottom[index].data
        self.call("reshape", self.bottom, self.top)
        self.call("forward", self.bottom, self.top)

    def backward(self, top, propagate_down, bottom):
        apart = self.see(bottom, top)
        self.call("backward", self.top, propagate_down, self.bottom)
        for index in apart:
            bottom[index].diff[...] = top[index].diff


def is_ours(filename: str) -> bool:
    """Whether a traceback's frame is this adapter's, or the import system's."""
    return filename == __file__ or filename.startswith("<frozen importlib")
