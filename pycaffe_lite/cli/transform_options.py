"""Options of classify and detect: the net, and how images are brought into its form."""

from __future__ import annotations

import argparse
import os
from typing import Any


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """--model and --weights, also as Caffe's scripts call them."""
    parser.add_argument("--model", "--model-def", required=True, metavar="FILE", help="the deploy net's prototxt")
    parser.add_argument("--weights", "--pretrained-model", required=True, metavar="FILE", help="its .caffemodel")


def add_transform_options(parser: argparse.ArgumentParser) -> None:
    """--mean-file, --raw-scale, --input-scale and --channel-swap."""
    parser.add_argument(
        "--mean-file", "--mean", metavar="M",
        help="a .binaryproto or .npy file, or values: 104,117,123. Of a mean image that has not the size of the net's "
        "input, the mean of each channel is taken",
    )  # fmt: skip
    parser.add_argument(
        "--raw-scale", type=float, default=255.0, metavar="X", help="times this, before the mean (default: 255)"
    )
    parser.add_argument("--input-scale", type=float, metavar="X", help="times this, after it (default: 1)")
    parser.add_argument(
        "--channel-swap", default="2,1,0", metavar="I,J,K", help="order of colours (default: 2,1,0, that is B, G, R)"
    )


def set_transform(net: Any, args: argparse.Namespace) -> None:
    """Set up the transformer of a Classifier or Detector as the options say."""
    import numpy as np

    from ..formats.mean import read_mean

    in_, shape = net.inputs[0], net.blobs[net.inputs[0]].shape
    if shape[1] == 3 and args.channel_swap:
        net.transformer.set_channel_swap(in_, numbers(args.channel_swap, "--channel-swap", int))
    net.transformer.set_raw_scale(in_, args.raw_scale)
    if args.input_scale is not None:
        net.transformer.set_input_scale(in_, args.input_scale)
    if args.mean_file:
        if os.path.splitext(args.mean_file)[1].lower() in (".npy", ".binaryproto"):
            mean = read_mean(args.mean_file)
            mean = mean if mean.shape == shape[1:] else mean.mean((1, 2))
        else:
            mean = np.array(numbers(args.mean_file, "--mean-file", float))
        net.transformer.set_mean(in_, mean)


def numbers(text: str | None, option: str, kind: type) -> Any:
    """Numbers with commas between, as a tuple; None if there is no text."""
    from ..errors import ConfigError

    if text is None:
        return None
    try:
        return tuple(kind(word) for word in text.split(","))
    except ValueError:
        raise ConfigError(f"{option}: must be numbers with commas between, got {text!r}") from None
