"""Rules on windows that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..net.wire import Node
from .rules import HINT, NET, WARNING, Hit, rule
from .view import NetView


class Axis(NamedTuple):
    """Pooling along one axis: sizes, and the number of windows when rounded up and down."""

    size: int
    kernel: int
    stride: int
    pad: int

    @property
    def floor(self) -> int:
        return (self.size + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def ceil(self) -> int:
        """As Caffe has it: without a last window that would start in the padding behind the image."""
        count = -(-(self.size + 2 * self.pad - self.kernel) // self.stride) + 1
        return count - (self.pad > 0 and (count - 1) * self.stride >= self.size + self.pad)

    @property
    def outside(self) -> bool:
        """Whether the last window starts behind the image."""
        return (self.ceil - 1) * self.stride >= self.size + self.pad


def axes(node: Node) -> list[Axis]:
    """The spatial axes of a Pooling layer that rounds up."""
    p = node.layer.message.pooling_param
    if p.global_pooling or p.round_mode == p.FLOOR or len(node.bottom[0].shape) != 4:
        return []
    pairs = (
        (p.kernel_h or p.kernel_size, p.stride_h or p.stride, p.pad_h or p.pad),
        (p.kernel_w or p.kernel_size, p.stride_w or p.stride, p.pad_w or p.pad),
    )
    return [Axis(size, *pair) for size, pair in zip(node.bottom[0].shape[2:], pairs)]


def poolings(net: NetView) -> Iterator[Node]:
    """The Pooling layers of a net that is built."""
    return (node for node in net.nodes.values() if node.layer.type == "Pooling")


@rule("window-outside", WARNING, NET)
def window_outside(net: NetView) -> Iterator[Hit]:
    """With stride above kernel_size, rounding up adds a window that has nothing of the image in it: its maximum and
    mean mean nothing (other implementations give other numbers there)."""
    for node in poolings(net):
        for axis in axes(node):
            if axis.outside:
                yield Hit(
                    f"its last window starts at {(axis.ceil - 1) * axis.stride}, behind the {axis.size} pixels",
                    "round_mode: FLOOR, or a stride of at most kernel_size",
                    node.layer.message, "pooling_param.stride",
                )  # fmt: skip
                break


@rule("rounding-up", HINT, NET)
def rounding_up(net: NetView) -> Iterator[Hit]:
    """Caffe rounds the size of Pooling's output up, most frameworks round down: where that differs, a net moved to
    them has other shapes, and other scores."""
    found = []
    for node in poolings(net):
        differing = [axis for axis in axes(node) if axis.ceil != axis.floor and not axis.outside]
        if differing:
            sizes = "x".join(str(axis.ceil) for axis in axes(node))
            found.append((node.layer.message, f"{node.layer.name} gives {sizes} (down: {differing[0].floor})"))
    if found:
        yield Hit(
            f"{len(found)} Pooling layer(s) round up: {', '.join(text for _, text in found[:4])}"
            + (" ..." if len(found) > 4 else ""),
            "nothing, if the net stays with Caffe; else export with ceil_mode, or set round_mode: FLOOR and train anew",
            found[0][0],
            general=True,
        )
