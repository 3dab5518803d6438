"""`caffe-lite mean`: the mean image of a database or of image files, and mean files from one form into another."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any

from . import caffe_log
from .convert_imageset import add_resize_options, wanted_size

if TYPE_CHECKING:
    import numpy as np

SOURCE = "compute_image_mean.cpp"
EVERY = 10_000  # images between two lines of the log, as in Caffe
MARKERS = {"data.mdb": "LMDB", "CURRENT": "LEVELDB"}
FORMS = (".binaryproto", ".npy", ".prototxt")


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "mean",
        aliases=["compute_image_mean"],
        help="compute a mean image, or convert a mean file",
        description="Print the mean of each channel, and write OUT if it is given: a mean image as .binaryproto or "
        ".npy, or as .prototxt the means of the channels in the form of a transform_param. Channels are in the order "
        "of the database, which is B, G, R.",
        epilog="Example: caffe-lite mean photos_lmdb mean.binaryproto",
        usage="caffe-lite mean [options] SOURCE [OUT]",
    )
    parser.add_argument(
        "files", metavar="SOURCE [OUT]", nargs="+",
        help="SOURCE: a database (LMDB or LevelDB), a list of image files, a folder of folders of images, a mean file "
        f"(.binaryproto, .npy), or values for channels: 104,117,123. OUT: the file to write ({', '.join(FORMS)})",
    )  # fmt: skip
    parser.add_argument(
        "--values", action="store_true", help="write one value a channel into OUT.npy, instead of an image"
    )
    parser.add_argument("--root", default="", metavar="DIR", help="the folder of the images in a list")
    parser.add_argument("--gray", action="store_true", help="read image files as grey")
    add_resize_options(parser)
    parser.add_argument("--backend", metavar="B", help="lmdb or leveldb (default: what the database is)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read or compute, write, print."""
    from ..errors import ConfigError

    if len(args.files) > 2:
        raise ConfigError(f"SOURCE and OUT are wanted, got {' '.join(args.files)}")
    args.source, args.out = args.files if len(args.files) == 2 else (args.files[0], None)
    ending = os.path.splitext(args.out or "")[1].lower()
    if args.out and ending not in FORMS:
        raise ConfigError(f"OUT: its name must end in {', '.join(FORMS)}, got {args.out!r}")
    if args.values and ending != ".npy":
        raise ConfigError(f"--values: needs an OUT that ends in .npy, got {args.out or 'none'}")
    caffe_log.write_log()
    image = mean_of(args)
    values = image.mean((1, 2), dtype="f8")
    if args.out:
        caffe_log.tell(f"{SOURCE}:109", f"Write to {args.out}")
        write(args.out, ending, image, values, args.values)
    caffe_log.tell(f"{SOURCE}:115", f"Number of channels: {len(values)}")
    for channel, value in enumerate(values):
        caffe_log.tell(f"{SOURCE}:120", f"mean_value channel [{channel}]: {caffe_log.number(value)}")
    print("mean image of {} x {} x {} (channels, height, width)".format(*image.shape))
    print("\n".join(lines(values)))
    return 0


def lines(values: np.ndarray) -> list[str]:
    """Values as the fields of a transform_param."""
    return [f"mean_value: {value:.7g}" for value in values.tolist()]


def write(out: str, ending: str, image: np.ndarray, values: np.ndarray, only_values: bool) -> None:
    """Write the mean in the form that the file's name asks for."""
    import numpy as np

    from ..formats.files import replacing, write_whole
    from ..formats.mean import write_mean

    if ending == ".prototxt":
        inside = "".join(f"  {line}\n" for line in lines(values))
        write_whole(out, [f"transform_param {{\n{inside}}}\n".encode()])
    elif only_values:
        with replacing(out) as (temporary,), open(temporary, "wb") as file:
            np.save(file, values.astype(np.float32))
    else:
        write_mean(out, image)


def mean_of(args: argparse.Namespace) -> np.ndarray:
    """The mean image (C, H, W) of whatever the source is."""
    import numpy as np

    from ..data import imageset, mean_image
    from ..errors import ConfigError, DataError
    from ..formats.mean import read_mean

    source, size = args.source, wanted_size(args)
    if re.fullmatch(r"[-+.]?\d[-+.\deE]*(,[-+.\deE]+)*", source) and not os.path.exists(source):
        return constant(source, size)
    marker = next((name for name in MARKERS if os.path.exists(os.path.join(source, name))), None)
    is_mean = source.lower().endswith((".binaryproto", ".npy"))
    if (marker or is_mean) and (size or args.gray or args.root):
        raise ConfigError(f"--resize, --gray and --root are for image files, but {source} is none")
    if is_mean:
        return read_mean(source)
    if marker or args.backend:
        return of_database(source, args.backend or MARKERS[marker or "data.mdb"])
    if not os.path.exists(source):
        raise DataError(f"{source}: no such file or folder")
    if os.path.isdir(source):
        entries = imageset.from_folders(source).entries
    else:
        entries = imageset.from_list(source, args.root).entries
    reader = imageset.Reader(not args.gray, size)
    return np.asarray(mean_image.mean(mean_image.of_files(entries, reader), Progress(len(entries))))


def of_database(source: str, backend: str) -> np.ndarray:
    """The mean of all images in a database."""
    from ..data import mean_image
    from ..data.database import open_database

    with open_database(source, backend.upper()) as database:
        caffe_log.tell(f"{SOURCE}:71", "Starting iteration")
        return mean_image.mean(mean_image.of_database(database), Progress(len(database)))


def constant(text: str, size: tuple[int, int] | None) -> np.ndarray:
    """The image that has these values everywhere: 1 x 1 pixels if no size is given."""
    import numpy as np

    from ..errors import ConfigError

    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        raise ConfigError(f"SOURCE: values must be numbers with commas between, got {text!r}") from None
    return np.array(values, np.float32)[:, None, None] * np.ones(size or (1, 1), np.float32)


class Progress:
    """Caffe's line after every 10000 images and after the last one."""

    def __init__(self, total: int):
        self.total = total

    def __call__(self, count: int) -> None:
        if count % EVERY == 0 or count == self.total:
            caffe_log.tell(f"{SOURCE}:{99 if count % EVERY == 0 else 104}", f"Processed {count} files.")
