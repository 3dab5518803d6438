"""`caffe-lite classify`: what a trained net says to image files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .common import add_device_options, choose_device
from .transform_options import add_model_options, add_transform_options, numbers, set_transform

if TYPE_CHECKING:
    import numpy as np

    from ..classifier import Classifier

AT_ONCE = 32  # images in memory


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "classify",
        help="classify image files with a trained net",
        description="Print the most likely classes of images, or write all outputs of the net into OUT.npy. Images "
        "are resized to --images-dim; where that is larger than the net's input, the answers to ten crops (corners, "
        "centre, mirrored) are averaged. The defaults are those of Caffe's classify.py: values from 0 to 255, B, G, R.",
        epilog="Example: caffe-lite classify --model net.prototxt --weights net.caffemodel cat.jpg",
        usage="caffe-lite classify --model FILE --weights FILE [options] IMAGE ... [OUT.npy]",
    )
    parser.add_argument(
        "files", metavar="IMAGE ... [OUT.npy]", nargs="+",
        help="image files, folders of images, or an .npy file of images (N, H, W, channels), values from 0 to 1",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument("--labels", "--labels-file", metavar="FILE", help="the names of the classes, one a line")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes to print (default: 5)")
    parser.add_argument("--images-dim", metavar="H,W", help="size that images are given first (default: the net's)")
    parser.add_argument("--center-only", action="store_true", help="the centre crop alone instead of ten")
    add_transform_options(parser)
    parser.add_argument(
        "--ext", default="", metavar="E", help="only files of this ending in folders (default: all images)"
    )
    add_device_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the classifier, show it the images."""
    import numpy as np

    from ..classifier import Classifier
    from ..errors import ConfigError
    from ..formats.files import replacing

    images, out = args.files, None
    if len(images) > 1 and images[-1].endswith(".npy"):
        *images, out = images
    if args.top < 1:
        raise ConfigError(f"--top: must be at least 1, got {args.top}")
    choose_device(args)
    classifier = Classifier(args.model, args.weights, image_dims=numbers(args.images_dim, "--images-dim", int))
    set_transform(classifier, args)
    names = labels(args.labels, classifier) if args.labels else None
    oversample = not args.center_only and tuple(classifier.image_dims) != tuple(classifier.crop_dims)
    color = classifier.blobs[classifier.inputs[0]].shape[1] != 1
    collected = []
    for some, pixels in batches(images, color, args.ext):
        predictions = classifier.predict(pixels, oversample)
        if out:
            collected.append(predictions)
        else:
            for name, prediction in zip(some, predictions.reshape(len(predictions), -1)):
                show(name, prediction, names, args.top)
    if out:
        with replacing(out) as (temporary,), open(temporary, "wb") as file:
            np.save(file, np.concatenate(collected))
        print(f"{out}: outputs for {sum(map(len, collected))} images, {collected[0].shape[1:]} for each")
    return 0


def labels(path: str, classifier: Classifier) -> list[str]:
    """The names of the classes; ConfigError unless there is one for each output."""
    from ..data.image_list import read_lines
    from ..errors import ConfigError

    names = [line for line in read_lines(path) if line.strip()]
    top = classifier.outputs[0]
    outputs = int(classifier.blobs[top].count // classifier.blobs[top].shape[0])
    if len(names) != outputs:
        raise ConfigError(f"{path}: names {len(names)} classes, but {top!r} of the net has {outputs} values an image")
    return names


def batches(files: list[str], color: bool, ending: str) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Images of all files, a limited number at a time, with their names."""
    from ..data.pictures import load_image

    some: tuple[list[str], list[np.ndarray]] = ([], [])
    for path in files:
        for name, pixels in arrays(path) if path.endswith(".npy") else ((p, None) for p in paths(path, ending)):
            some[0].append(name)
            some[1].append(load_image(name, color) if pixels is None else pixels)
            if len(some[0]) == AT_ONCE:
                yield some
                some = ([], [])
    if some[0]:
        yield some


def paths(path: str, ending: str) -> list[str]:
    """The file itself, or the images in a folder."""
    from ..data.imageset import ENDINGS
    from ..errors import DataError

    if not os.path.isdir(path):
        return [path]
    wanted = f".{ending.lower().lstrip('.')}" if ending else ENDINGS
    found = [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.lower().endswith(wanted)]
    if not found:
        raise DataError(f"{path}: there are no images in this folder ({wanted if ending else ', '.join(ENDINGS)})")
    return found


def arrays(path: str) -> Iterator[tuple[str, np.ndarray]]:
    """The images in an .npy file."""
    import numpy as np

    from ..errors import DataError

    try:
        images = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not an .npy file of numbers ({error})") from error
    if images.ndim != 4:
        raise DataError(f"{path}: images have shape (N, height, width, channels), this has {images.shape}")
    return ((f"{path}[{number}]", np.asarray(image)) for number, image in enumerate(images))


def show(name: str, prediction: np.ndarray, names: list[str] | None, count: int) -> None:
    """The most likely classes, as Caffe's C++ example prints them."""
    print(f"---------- Prediction for {name} ----------")
    for index in (-prediction).argsort(kind="stable")[:count].tolist():
        label = f'"{names[index]}"' if names else f"class {index}"
        print(f"{prediction[index]:.4f} - {label}")
