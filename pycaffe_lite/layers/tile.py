"""Tile: copies of a blob side by side along an axis."""

from __future__ import annotations

import math

from .. import ops
from ..kernel import kernel
from ..layer import Layer, Shapes
from ..ops import BLOCK

SIZES = "outer: int, tiles: int, length: int"


@kernel(f"x: T*, {SIZES} -> y: T*", over="outer * tiles", work="length")
def tile(i, x, outer, tiles, length, y):
    """y (outer, tiles, length) = x (outer, length), `tiles` times."""
    source, target = i // tiles * length, i * length
    for j in range(length):
        y[target + j] = x[source + j]


tile.cuda("y[i] = x[i / length / tiles * length + i % length];", over="outer * tiles * length")


@kernel(f"dy: T*, {SIZES} -> dx: T*", over=f"outer * {ops.ROW_BLOCKS}", work=f"tiles * {ops.ROW_BLOCK_WORK}")
def tile_grad(i, dy, outer, tiles, length, dx):
    """dx = the sum of dy over the tiles."""
    parts = (length + BLOCK - 1) // BLOCK
    row, first = i // parts, i % parts * BLOCK
    last = min(first + BLOCK, length)
    for j in range(first, last):
        dx[row * length + j] = dy[row * tiles * length + j]
    for t in range(1, tiles):
        for j in range(first, last):
            dx[row * length + j] += dy[(row * tiles + t) * length + j]


tile_grad.cuda(
    """
    const T* tile = dy + i / length * tiles * length + i % length;
    T sum = 0;
    for (int t = 0; t < tiles; ++t) sum += tile[t * length];
    dx[i] = sum;
""",
    over="outer * length",
)


class Tile(Layer, type="Tile", param="tile_param"):
    """The top is `tiles` times as long along `axis`."""

    backward_reads = ()

    def setup(self):
        if not self.param.HasField("tiles"):
            raise self.error("tile_param.tiles: must be given")
        if self.param.tiles < 1:
            raise self.error(f"tile_param.tiles: must be at least 1, got {self.param.tiles}")

    def shapes(self, bottom):
        (shape,), tiles = bottom, self.param.tiles
        axis = self.axis(self.param.axis, shape, "tile_param.axis")
        self.sizes = math.prod(shape[:axis]), tiles, math.prod(shape[axis:])
        return Shapes(top=[(*shape[:axis], shape[axis] * tiles, *shape[axis + 1 :])])

    def forward(self, bottom, top):
        tile(bottom[0].data, *self.sizes, top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            tile_grad(top[0].diff, *self.sizes, bottom[0].diff)
