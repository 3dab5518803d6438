"""Nets of 2014: ``layers { type: CONVOLUTION blobs_lr: 1 }``, and data layers with a scale of their own."""

from __future__ import annotations

from ..errors import ConfigError
from . import LayerParameter, NetParameter, V1LayerParameter
from .schema import assign, copy_without

# The later name of every layer type
_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}

# The lists with one entry a parameter blob, and what they are called in ParamSpec
_PARAM_SPEC = {
    "param": "name",
    "blob_share_mode": "share_mode",
    "blobs_lr": "lr_mult",
    "weight_decay": "decay_mult",
}

# The layer types that had transformation fields of their own
_TRANSFORMED = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")


def move_transform(net: NetParameter) -> bool:
    """Move the data layers' own transformation fields to transform_param; whether there were any."""
    moved = False
    for layer in net.layers:
        owner = _TRANSFORMED.get(V1LayerParameter.LayerType.Name(layer.type))
        if owner is None:
            continue
        old = getattr(layer, owner)
        for field in _TRANSFORM:
            if old.HasField(field):
                setattr(layer.transform_param, field, getattr(old, field))
                old.ClearField(field)
                moved = True
    return moved


def to_v2(net: NetParameter, source: str) -> NetParameter:
    """A V1 net with today's layers."""
    if net.layer:
        raise ConfigError(
            f"{source}: the net has both 'layer' and 'layers' (first: {net.layer[0].name!r} and"
            f" {net.layers[0].name!r}), and Caffe would drop the former; write them all as 'layer'"
        )
    new = copy_without(net, "layers")
    new.layer.extend(_layer(layer) for layer in net.layers)
    return new


def _layer(old: V1LayerParameter) -> LayerParameter:
    new = LayerParameter()
    for field, value in old.ListFields():
        if field.name == "type":
            new.type = _TYPES[V1LayerParameter.LayerType.Name(value)]
        elif field.name in _PARAM_SPEC:
            for i, item in enumerate(value):
                if i == len(new.param):
                    new.param.add()
                setattr(new.param[i], _PARAM_SPEC[field.name], item)
        else:
            assign(new, field.name, value)
    return new
