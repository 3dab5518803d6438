"""BatchNorm and Scale folded into the layer in front of them: the same scores, in fewer steps.

In the TEST phase a BatchNorm (by what it has learnt), a Scale and a Bias are all y = s x + t with two numbers
a channel. Behind a layer that is linear in its weights, W x + b becomes (s W) x + (s b + t). Sums are
made in float64, and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..proto import LayerParameter
from ..proto.schema import copy_without
from .links import Links, Top

Arrays = dict[str, list[np.ndarray]]
LINEAR = {
    "Convolution": "convolution_param",
    "DepthwiseConvolution": "convolution_param",
    "ConvolutionDepthwise": "convolution_param",
    "Deconvolution": "convolution_param",
    "InnerProduct": "inner_product_param",
}
AFFINE = ("BatchNorm", "Scale", "Bias")


@dataclass
class Merged:
    """The net and its parameters after folding, and what became of which layer."""

    param: Any
    arrays: Arrays
    folded: dict[str, list[str]] = field(default_factory=dict)  # layer -> those folded into it
    kept: dict[str, str] = field(default_factory=dict)  # layer that could have been folded -> why it was not


def merge(net: Any, arrays: Arrays) -> Merged:
    """Fold what can be folded in a net that is selected for TEST and has no Split layers yet."""
    links, gone = Links(net), set()
    made = Merged(copy_without(net, "layer"), dict(arrays))
    tops: dict[int, str] = {}
    for i, layer in enumerate(net.layer):
        chain = followers(links, i, arrays) if can_take(links, i) else []
        if chain:
            gone.update(chain)
            made.folded[layer.name] = [net.layer[j].name for j in chain]
            made.arrays[layer.name] = folded(layer, arrays, [net.layer[j] for j in chain])
            tops[i] = links.name(Top(chain[-1], 0))
    for i, layer in enumerate(net.layer):
        if i not in gone:
            made.param.layer.append(with_bias(layer, tops[i]) if i in tops else layer)
            if layer.type in AFFINE:
                made.kept[layer.name] = why_kept(links, i, arrays)
    made.arrays = {name: kept for name, kept in made.arrays.items() if any(la.name == name for la in made.param.layer)}
    return made


def can_take(links: Links, i: int) -> bool:
    """Whether a layer is linear in its weights along the channel axis, and has them for itself."""
    layer = links.net.layer[i]
    if layer.type not in LINEAR or len(layer.bottom) != 1 or len(layer.top) != 1 or any(layer.loss_weight):
        return False
    names = {spec.name for spec in layer.param if spec.name}
    others = (spec.name for other in links.net.layer if other is not layer for spec in other.param)
    return getattr(layer, LINEAR[layer.type]).axis == 1 and not names.intersection(others)


def followers(links: Links, i: int, arrays: Arrays) -> list[int]:
    """The layers behind layer `i` that can be folded into it, one behind the other."""
    found: list[int] = []
    top = Top(i, 0)
    while (j := links.only_reader(top)) is not None and affine(links.net.layer[j], arrays) is not None:
        found.append(j)
        top = Top(j, 0)
        if any(links.net.layer[j].loss_weight):
            break
    return found


def affine(layer: Any, arrays: Arrays) -> tuple[np.ndarray, np.ndarray] | None:
    """The s and t of a layer, for each channel, in float64; None if it is no such layer."""
    if len(layer.bottom) != 1 or len(layer.top) != 1 or layer.name not in arrays:
        return None
    blobs = [blob.astype(np.float64) for blob in arrays[layer.name]]
    find = {"BatchNorm": batch_norm, "Scale": scale, "Bias": bias}.get(layer.type)
    return find(layer, blobs) if find else None


def batch_norm(layer: Any, blobs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """(x - mean) / sqrt(variance + eps), where mean and variance are kept as sums and what to divide them by."""
    param = layer.batch_norm_param
    if len(blobs) != 3 or (param.HasField("use_global_stats") and not param.use_global_stats):
        return None
    factor = 1 / blobs[2].item() if blobs[2].item() else 0.0
    s = 1 / np.sqrt(blobs[1] * factor + param.eps)
    return s, -blobs[0] * factor * s


def scale(layer: Any, blobs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """A factor a channel, and perhaps a bias."""
    if layer.scale_param.axis != 1 or blobs[0].ndim != 1:
        return None
    return blobs[0], blobs[1] if len(blobs) > 1 else np.zeros_like(blobs[0])


def bias(layer: Any, blobs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """A bias a channel."""
    if layer.bias_param.axis != 1 or blobs[0].ndim != 1:
        return None
    return np.ones_like(blobs[0]), blobs[0]


def folded(layer: Any, arrays: Arrays, chain: list[Any]) -> list[np.ndarray]:
    """Weights and bias of a layer that does what the chain behind it did."""
    own = arrays[layer.name]
    weights = own[0].astype(np.float64)
    s, t = np.ones(outputs(layer)), own[1].astype(np.float64) if len(own) > 1 else np.zeros(outputs(layer))
    for follower in chain:
        factor, shift = affine(follower, arrays)  # type: ignore[misc]  # it was one when the chain was found
        s, t = s * factor, t * factor + shift
    scaled = SCALED.get(layer.type, rows)(layer, weights, s)
    return [scaled.astype(own[0].dtype), t.astype(own[0].dtype)]


def outputs(layer: Any) -> int:
    """The channels of a linear layer's top."""
    return getattr(layer, LINEAR[layer.type]).num_output


def rows(layer: Any, weights: np.ndarray, s: np.ndarray) -> np.ndarray:
    """A convolution's weights (num_output, ...), scaled."""
    return weights * s.reshape(-1, *[1] * (weights.ndim - 1))


def matrix(layer: Any, weights: np.ndarray, s: np.ndarray) -> np.ndarray:
    """An InnerProduct's weights (num_output, K), or (K, num_output), scaled."""
    return weights * s if layer.inner_product_param.transpose else rows(layer, weights, s)


def groups(layer: Any, weights: np.ndarray, s: np.ndarray) -> np.ndarray:
    """A Deconvolution's weights (C, num_output / group, ...), scaled: each group of inputs has outputs of its own."""
    group = layer.convolution_param.group
    split = weights.reshape(group, weights.shape[0] // group, *weights.shape[1:])
    return (split * s.reshape(group, 1, -1, *[1] * (weights.ndim - 2))).reshape(weights.shape)


SCALED: dict[str, Callable[[Any, np.ndarray, np.ndarray], np.ndarray]] = {
    "InnerProduct": matrix,
    "Deconvolution": groups,
}


def with_bias(layer: Any, top: str) -> Any:
    """A linear layer with a bias, whose top is that of the layers folded into it."""
    made = LayerParameter()
    made.CopyFrom(layer)
    made.top[0] = top
    getattr(made, LINEAR[layer.type]).bias_term = True
    return made


def why_kept(links: Links, i: int, arrays: Arrays) -> str:
    """Why a BatchNorm, Scale or Bias is still there."""
    layer, front = links.net.layer[i], links.maker(i)
    if affine(layer, arrays) is None:
        return "it is not one factor and one bias for each channel that are known before the net runs"
    if front.type not in (*LINEAR, *AFFINE):
        return f"the layer in front of it, {front.name!r}, is of type {front.type}"
    if links.only_reader(links.sources[i][0]) is None:
        return f"the output of {front.name!r} has other readers"
    return f"{front.name!r}, in front of it, was not one that it could be folded into"
