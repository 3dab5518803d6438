"""`caffe-lite convert-imageset`: a database of images, from a list of files or from folders that are classes."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from . import caffe_log

if TYPE_CHECKING:
    from ..data.imageset import ImageSet
    from ..data.records import Recorder

SOURCE = "convert_imageset.cpp"
MANY = 100_000  # as many labels are looked at
FEW_LABELS = 20  # are listed one by one
EVERY = 1000  # images between two lines of the log, as in Caffe


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "convert-imageset",
        aliases=["convert_imageset"],
        help="make a database of image files",
        description="Write images into a database, for Data layers. LIST has a path (below ROOT) and a label on each "
        "line; without it, each folder in ROOT is a class, numbered in the order of their names. The first image that "
        "cannot be read ends it, and then nothing is written, unless with --skip-bad.",
        epilog="Example: caffe-lite convert-imageset photos photos_lmdb --resize 256 --shuffle",
        usage="caffe-lite convert-imageset [options] ROOT [LIST] DB",
    )
    parser.add_argument(
        "files", metavar="ROOT [LIST] DB", nargs="+",
        help="ROOT: the folder of the images. LIST: a file with a path and a label on each line. DB: the database",
    )  # fmt: skip
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be read, and say which")
    parser.add_argument("--gray", action="store_true", help="grey images: one channel instead of three")
    parser.add_argument("--shuffle", action="store_true", help="in random order")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another order for --shuffle (default: 1)")
    add_resize_options(parser)
    parser.add_argument("--check-size", action="store_true", help="refuse images of different sizes")
    parser.add_argument("--encoded", action="store_true", help="store files as they are instead of pixels: smaller")
    parser.add_argument("--encode-type", metavar="T", help="encode as T (jpg, png ...); includes --encoded")
    parser.add_argument("--backend", default="lmdb", metavar="B", help="lmdb or leveldb (default: lmdb)")
    parser.add_argument("--labels", metavar="FILE", help="write the names of the classes into this file, one a line")
    parser.add_argument("--force", action="store_true", help="replace a database that is there already")
    parser.set_defaults(run=run)


def add_resize_options(parser: argparse.ArgumentParser) -> None:
    """--resize, and Caffe's --resize-height and --resize-width."""
    parser.add_argument("--resize", metavar="HxW", help="resize images: 256x320, or 256 for a square")
    parser.add_argument("--resize-height", type=int, default=0, metavar="H", help="the same in Caffe's words,")
    parser.add_argument("--resize-width", type=int, default=0, metavar="W", help="both together")


def wanted_size(args: argparse.Namespace) -> tuple[int, int] | None:
    """Height and width to resize to, if any."""
    from ..errors import ConfigError

    height, width = args.resize_height, args.resize_width
    if args.resize:
        match = re.fullmatch(r"(\d+)(?:x(\d+))?", args.resize)
        if match is None or "0" in (match[1], match[2]):
            raise ConfigError(f"--resize: must be HEIGHTxWIDTH or one number, above 0, got {args.resize!r}")
        height, width = int(match[1]), int(match[2] or match[1])
    if (height > 0) != (width > 0) or min(height, width) < 0:
        raise ConfigError(
            f"--resize-height and --resize-width must be given together, above 0, got {height} and {width}"
        )
    return (height, width) if height else None


def run(args: argparse.Namespace) -> int:
    """Read and write."""
    import numpy as np

    from ..data import imageset
    from ..data.records import Recorder, pillow_format
    from ..errors import ConfigError

    if len(args.files) not in (2, 3):
        raise ConfigError(f"ROOT, LIST (if there is one) and DB are wanted, got {' '.join(args.files)}")
    args.root, args.list, args.database = args.files if len(args.files) == 3 else (args.files[0], None, args.files[1])
    if args.backend.lower() not in ("lmdb", "leveldb"):
        raise ConfigError(f"--backend: must be lmdb or leveldb, got {args.backend!r}")
    if args.labels and args.list:
        raise ConfigError("--labels: only where folders are the classes; LIST has numbers alone")
    size = wanted_size(args)
    encoding = None
    if args.encoded or args.encode_type:
        encoding = (args.encode_type or "").lower().lstrip(".")
        if encoding:
            pillow_format(encoding)
    images = imageset.from_list(args.list, args.root) if args.list else imageset.from_folders(args.root)
    caffe_log.write_log()
    if args.shuffle:
        caffe_log.tell(f"{SOURCE}:84", "Shuffling data")
        order = np.random.default_rng(args.seed).permutation(len(images.entries)).tolist()
        images = images._replace(entries=[images.entries[i] for i in order])
    caffe_log.tell(f"{SOURCE}:87", f"A total of {len(images.entries)} images.")
    recorder = Recorder(imageset.Reader(not args.gray, size), encoding)
    shapes, labels, bad = write(args, images, recorder)
    report(args, images, shapes, labels, bad)
    return 0


def write(
    args: argparse.Namespace, images: ImageSet, recorder: Recorder
) -> tuple[Counter[tuple[int, ...]], Counter[int], int]:
    """Write the database; returns how many images have each shape and each label, and how many could not be read."""
    from ..data.imageset import each
    from ..data.records import key
    from ..data.writer import open_writer
    from ..errors import DataError
    from ..logs import log

    shapes: Counter[tuple[int, ...]] = Counter()
    labels: Counter[int] = Counter()
    bad = count = 0
    with open_writer(args.database, args.backend.upper(), args.force) as writer:
        for number, (entry, record) in enumerate(each(images.entries, recorder.record)):
            if isinstance(record, DataError):
                if not args.skip_bad:
                    raise DataError(f"{record} (--skip-bad leaves such images out)") from record
                log.warning("left out: %s", record)
                bad += 1
                continue
            if args.check_size and shapes and record.shape not in shapes:
                raise DataError(f"{entry.path}: has shape {record.shape}, the images before it {next(iter(shapes))}")
            writer.put(key(number, entry.name), record.value)
            shapes[record.shape] += 1
            labels[entry.label] += 1
            count += 1
            if count % EVERY == 0:
                caffe_log.tell(f"{SOURCE}:143", f"Processed {count} files.")
        if not count:
            raise DataError(f"none of the {bad} images could be read")
    if count % EVERY:
        caffe_log.tell(f"{SOURCE}:149", f"Processed {count} files.")
    return shapes, labels, bad


def report(
    args: argparse.Namespace,
    images: ImageSet,
    shapes: Counter[tuple[int, ...]],
    labels: Counter[int],
    bad: int,
) -> None:
    """Say what was written, and write the names of classes."""
    from ..formats.files import write_whole

    if args.labels:
        write_whole(args.labels, ["".join(f"{name}\n" for name in images.classes).encode("utf-8", "surrogateescape")])
    left_out = f", {bad} left out" if bad else ""
    print(f"{args.database}: {labels.total()} images{left_out}")
    if len(shapes) == 1:
        print("of {} x {} x {} (channels, height, width)".format(*next(iter(shapes))))
    else:
        heights, widths = {h for _, h, _ in shapes}, {w for _, _, w in shapes}
        print(
            f"of {len(shapes)} shapes, {min(heights)} to {max(heights)} high and {min(widths)} to {max(widths)} wide: "
            "batches of them need crop_size, or --resize here"
        )
    report_labels(images, labels)


def report_labels(images: ImageSet, labels: Counter[int]) -> None:
    """Say how many images each label has, and which labels have none."""
    if len(labels) <= FEW_LABELS:
        for label in sorted(labels):
            name = f" {images.classes[label]}" if images.classes else ""
            print(f"label {label}{name}: {labels[label]}")
    else:
        print(
            f"{len(labels)} labels, {min(labels)} to {max(labels)}, "
            f"of which each has {min(labels.values())} to {max(labels.values())} images"
        )
    missing = [label for label in range(min(max(labels), MANY)) if label not in labels][:FEW_LABELS]
    if missing:
        print(f"there are no images of label {', '.join(map(str, missing))}")
