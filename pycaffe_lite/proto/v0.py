"""Nets of Caffe's first months (2013): ``layers { layer { type: "conv" kernelsize: 5 } bottom: "data" }``."""

from __future__ import annotations

import logging

from ..errors import ConfigError, suggest
from . import NetParameter, V1LayerParameter
from .schema import assign, copy_without

log = logging.getLogger("pycaffe_lite")

# V0 type: the V1 type, and the message that took over the type's fields
_TYPES = {
    "accuracy": ("ACCURACY", ""),
    "bnll": ("BNLL", ""),
    "concat": ("CONCAT", "concat_param"),
    "conv": ("CONVOLUTION", "convolution_param"),
    "data": ("DATA", "data_param"),
    "dropout": ("DROPOUT", "dropout_param"),
    "euclidean_loss": ("EUCLIDEAN_LOSS", ""),
    "flatten": ("FLATTEN", ""),
    "hdf5_data": ("HDF5_DATA", "hdf5_data_param"),
    "hdf5_output": ("HDF5_OUTPUT", "hdf5_output_param"),
    "im2col": ("IM2COL", ""),
    "images": ("IMAGE_DATA", "image_data_param"),
    "infogain_loss": ("INFOGAIN_LOSS", "infogain_loss_param"),
    "innerproduct": ("INNER_PRODUCT", "inner_product_param"),
    "lrn": ("LRN", "lrn_param"),
    "multinomial_logistic_loss": ("MULTINOMIAL_LOGISTIC_LOSS", ""),
    "pool": ("POOLING", "pooling_param"),
    "relu": ("RELU", ""),
    "sigmoid": ("SIGMOID", ""),
    "softmax": ("SOFTMAX", ""),
    "softmax_loss": ("SOFTMAX_LOSS", ""),
    "split": ("SPLIT", ""),
    "tanh": ("TANH", ""),
    "window_data": ("WINDOW_DATA", "window_data_param"),
}

# V0 field: its later name, and the V0 types that may have it
_FIELDS = {
    "num_output": ("num_output", "conv innerproduct"),
    "biasterm": ("bias_term", "conv innerproduct"),
    "weight_filler": ("weight_filler", "conv innerproduct"),
    "bias_filler": ("bias_filler", "conv innerproduct"),
    "pad": ("pad", "conv pool"),
    "kernelsize": ("kernel_size", "conv pool"),
    "group": ("group", "conv"),
    "stride": ("stride", "conv pool"),
    "pool": ("pool", "pool"),
    "dropout_ratio": ("dropout_ratio", "dropout"),
    "local_size": ("local_size", "lrn"),
    "alpha": ("alpha", "lrn"),
    "beta": ("beta", "lrn"),
    "k": ("k", "lrn"),
    "source": ("source", "data hdf5_data images window_data infogain_loss"),
    "batchsize": ("batch_size", "data hdf5_data images window_data"),
    "rand_skip": ("rand_skip", "data images"),
    "shuffle_images": ("shuffle", "images"),
    "new_height": ("new_height", "images"),
    "new_width": ("new_width", "images"),
    "concat_dim": ("concat_dim", "concat"),
    "det_fg_threshold": ("fg_threshold", "window_data"),
    "det_bg_threshold": ("bg_threshold", "window_data"),
    "det_fg_fraction": ("fg_fraction", "window_data"),
    "det_context_pad": ("context_pad", "window_data"),
    "det_crop_mode": ("crop_mode", "window_data"),
}
_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_AS_BEFORE = ("name", "blobs", "blobs_lr", "weight_decay")


def to_v1(net: NetParameter, source: str) -> NetParameter:
    """A V0 net with V1 layers; its padding layers become the pad of the layers they fed."""
    new = copy_without(net, "layers")
    new.layers.extend(_layer(old, source) for old in _without_padding(net, source))
    return new


def _layer(old: V1LayerParameter, source: str) -> V1LayerParameter:
    """The V1 form of a layer whose parameters are still in its V0 part."""
    v0 = old.layer
    new = V1LayerParameter(bottom=old.bottom, top=old.top)
    where = f"{source}: layer {v0.name!r} ({v0.type})"
    own, strays = "", []
    if v0.HasField("type"):
        if v0.type not in _TYPES:
            raise ConfigError(f"{where}: unknown V0 layer type{suggest(v0.type, _TYPES)}")
        name, own = _TYPES[v0.type]
        new.type = V1LayerParameter.LayerType.Value(name)
    for field, value in v0.ListFields():
        if field.name in _AS_BEFORE:
            assign(new, field.name, value)
        elif field.name in _TRANSFORM:
            assign(new.transform_param, _TRANSFORM[field.name], value)
        elif field.name == own:  # hdf5_output_param, the one message that V0 had already
            assign(new, own, value)
        elif field.name != "type":
            later_name, types = _FIELDS.get(field.name, ("", ""))
            if v0.type in types.split():
                assign(getattr(new, own), later_name, value)
            else:
                strays.append(field.name)
    if strays:
        log.warning("%s: left out what means nothing there: %s", where, ", ".join(strays))
    return new


def _without_padding(net: NetParameter, source: str) -> list[V1LayerParameter]:
    """The layers of a V0 net, its padding layers folded into the conv and pool layers that read them."""
    makers: dict[str, V1LayerParameter | None] = dict.fromkeys(net.input)
    kept = []
    for layer in net.layers:
        new = V1LayerParameter()
        new.CopyFrom(layer)
        for j, blob in enumerate(layer.bottom):
            where = f"{source}: layer {layer.layer.name!r} ({layer.layer.type})"
            if blob not in makers:
                raise ConfigError(f"{where}: unknown bottom blob {blob!r} (bottom index {j}){suggest(blob, makers)}")
            maker = makers[blob]
            if maker is not None and maker.layer.type == "padding":
                _check_padding(layer, maker, where)
                new.layer.pad = maker.layer.pad
                new.bottom[j] = maker.bottom[0]
        if layer.layer.type != "padding":
            kept.append(new)
        makers.update(dict.fromkeys(layer.top, layer))
    return kept


def _check_padding(layer: V1LayerParameter, padding: V1LayerParameter, where: str) -> None:
    if layer.layer.type not in ("conv", "pool"):
        raise ConfigError(f"{where}: a padding layer may feed conv and pool layers only")
    if len(layer.bottom) != 1 or len(padding.bottom) != 1 or len(padding.top) != 1:
        raise ConfigError(f"{where}: a padding layer has one bottom and one top, and so has what it feeds")
