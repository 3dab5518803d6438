"""Input: blobs that the caller fills."""

from __future__ import annotations

from ..layer import Layer, Shapes, at_least, exactly


class Input(Layer, type="Input", param="input_param"):
    """Tops are the net's inputs, of the shapes given (none, one for all tops, or one each)."""

    bottoms, tops = exactly(0), at_least(1)
    differentiable = False
    backward_reads = ()
    caller_fills = True

    def setup(self):
        given, wanted = len(self.param.shape), len(self.message.top)
        if given not in (0, 1, wanted):
            raise self.error(f"input_param.shape: give it 0, 1 or {wanted} times (once for each top), got {given}")

    def shapes(self, bottom):
        shapes = [tuple(s.dim) for s in self.param.shape] or [()]
        return Shapes(top=shapes * len(self.message.top) if len(shapes) == 1 else shapes)

    def forward(self, bottom, top):
        """Nothing: the values are there."""
