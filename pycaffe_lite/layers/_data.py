"""What the layers that bring data into a net share: no bottoms, no gradient, files, transform_param."""

from __future__ import annotations

from typing import Any

from ..errors import DataError
from ..layer import Layer, exactly
from ..paths import find_path


class DataLayer(Layer):
    """A layer whose tops come from outside the net."""

    bottoms, tops = exactly(0), exactly(2)
    differentiable = False
    backward_reads = ()
    on_host = True

    def transform_param(self) -> Any:
        """transform_param, its mean_file found."""
        param = type(self.message.transform_param)()
        param.CopyFrom(self.message.transform_param)
        if param.mean_file:
            param.mean_file = find_path(param.mean_file, self.folder)
        return param

    def data_error(self, text: str) -> DataError:
        """A DataError that names this layer."""
        return DataError(f"layer {self.name!r} ({self.type}): {text}")
