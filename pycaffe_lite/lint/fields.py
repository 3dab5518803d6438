"""Rules on fields that say something nobody hears."""

from __future__ import annotations

from collections.abc import Iterator

from .. import layers
from ..layer_help import blocks
from .rules import BOTH, HINT, NET, WARNING, Hit, rule
from .view import NetView, PairView

# Fields that only the upgrade of 2014's `layers` understands; WindowData still reads its own scale
OLD = {
    "Data": ("data_param", ("scale", "mean_file", "crop_size", "mirror")),
    "ImageData": ("image_data_param", ("scale", "mean_file", "crop_size", "mirror")),
    "WindowData": ("window_data_param", ("mean_file", "crop_size", "mirror")),
}
TRANSFORM = ("scale", "mean_file", "mean_value")


@rule("ignored-transformation", WARNING, NET)
def ignored_transformation(net: NetView) -> Iterator[Hit]:
    """In a `layer` Caffe reads these fields nowhere: images are used unscaled, or with their mean, without a word."""
    for _, layer in net.each(*OLD):
        block, names = OLD[layer.type]
        for name in names:
            if getattr(layer, block).HasField(name):
                yield Hit(
                    f"{block}.{name} is ignored",
                    f"write it as transform_param {{ {name}: ... }}", layer, f"{block}.{name}",
                )  # fmt: skip


@rule("ignored-block", WARNING, NET)
def ignored_block(net: NetView) -> Iterator[Hit]:
    """A layer only reads the block of its own type; what another says has no effect, whatever was meant by it."""
    for layer in net.layers:
        kind = layers.find(layer.type)
        if kind is None:
            continue
        own = blocks(kind)
        for descriptor, _ in layer.ListFields():
            name = descriptor.name
            if name.endswith("_param") and name not in own:
                mine = f"this type reads {' and '.join(own)}" if own else "this type has none"
                level = WARNING if net.trains else HINT  # a net for use has what is left over from training
                yield Hit(f"{name} is ignored", f"take it out ({mine})", layer, name, level)


@rule("transformations-differ", WARNING, BOTH)
def transforms_differ(nets: PairView) -> Iterator[Hit]:
    """What is subtracted and multiplied must be the same in both phases, or the net is tested on values that it has
    never seen."""
    test = {top: layer for layer in nets.test.layers if not layer.bottom for top in layer.top[:1]}
    for layer in nets.train.layers:
        other = test.get(layer.top[0]) if layer.top and not layer.bottom else None
        if other is None or other.type != layer.type:
            continue
        for name in TRANSFORM:
            a, b = getattr(layer.transform_param, name), getattr(other.transform_param, name)
            if a != b:
                level = HINT if name == "mean_file" and a and b else WARNING  # of images of two sizes, perhaps
                a, b = (list(v) if name == "mean_value" else v or "none" for v in (a, b))
                yield Hit(
                    f"{name} is {a} in TRAIN and {b} in TEST",
                    "use one transform_param for both", layer, f"transform_param.{name}", level,
                )  # fmt: skip


@rule("mirror-in-testing", HINT, BOTH)
def mirror_in_testing(nets: PairView) -> Iterator[Hit]:
    """Caffe flips images at random in TEST too if it is told to: scores then differ from run to run."""
    for layer in nets.test.layers:
        if not layer.bottom and layer.transform_param.mirror and nets.train.trains:
            yield Hit("mirror: true", "take it out of the layer for TEST", layer, "transform_param.mirror")
