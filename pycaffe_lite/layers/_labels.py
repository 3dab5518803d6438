"""What layers with a label bottom share: its shape, and the message when a label is outside the classes."""

from __future__ import annotations

import math

from ..errors import DataError
from ..layer import Layer


class LabelledLayer(Layer):
    """A layer whose second bottom holds class numbers, one for each column of the first."""

    classes: int

    def check_labels(self, scores: tuple[int, ...], labels: tuple[int, ...], wanted: int, axis: int | str) -> None:
        """Refuse labels that are not one for each column of `scores` along `axis`."""
        if math.prod(labels) != wanted:
            raise self.error(
                f"labels: {wanted} are needed, one for each element of {scores} without axis {axis}, "
                f"but the label bottom has shape {labels} ({math.prod(labels)})"
            )

    def explain_fault(self, place: int, bottom: list) -> DataError:
        """The error for the label at this place, which the run found outside the classes."""
        label = float(bottom[1].data.reshape(-1)[place])
        return DataError(
            f"layer {self.name!r} ({self.type}): label {label:g} (number {place} in the batch) is outside "
            f"the {self.classes} classes 0 to {self.classes - 1} of bottom {self.bottom_names[0]!r}; "
            f"fix the labels, or num_output of the layer that makes {self.bottom_names[0]!r}"
        )
