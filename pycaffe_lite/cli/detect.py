"""`caffe-lite detect`: what a trained net says to windows of image files."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .common import add_device_options, choose_device
from .transform_options import add_model_options, add_transform_options, set_transform

if TYPE_CHECKING:
    from ..detector import Detector

EDGES = ("ymin", "xmin", "ymax", "xmax")
CHUNK = 20  # images whose windows go through the net together


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "detect",
        help="classify windows of image files, as R-CNN does",
        description="Warp windows of images to the size of a net's input, and write what the net says to each: "
        "a table with the columns filename, ymin, xmin, ymax, xmax, class0, class1 ... The defaults are those of "
        "Caffe's detect.py: values from 0 to 255, B, G, R.",
        epilog="Example: caffe-lite detect --model net.prototxt --weights net.caffemodel windows.csv found.csv",
        usage="caffe-lite detect --model FILE --weights FILE [options] WINDOWS.csv OUT.csv",
    )
    parser.add_argument(
        "files", metavar="WINDOWS.csv OUT.csv", nargs="+",
        help="a table with the columns filename, ymin, xmin, ymax, xmax in any order, or with --crop-mode "
        "selective_search a list of image files; the table to write",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument(
        "--crop-mode",
        choices=("list", "selective_search"),
        default="list",
        help="where windows come from (default: list)",
    )
    parser.add_argument(
        "--context-pad", type=int, default=0, metavar="N", help="pixels of surroundings (default: 0; R-CNN: 16)"
    )
    add_transform_options(parser)
    add_device_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read windows, show them to the net, write the table."""
    from ..data.image_list import read_lines
    from ..detector import Detector
    from ..errors import ConfigError
    from ..formats.files import write_whole

    if len(args.files) != 2:
        raise ConfigError(f"WINDOWS.csv and OUT.csv are wanted, got {' '.join(args.files)}")
    source, out = args.files
    if not out.endswith(".csv"):
        raise ConfigError(f"OUT: its name must end in .csv, got {out!r}")
    choose_device(args)
    detector = Detector(args.model, args.weights)
    set_transform(detector, args)
    detector.configure_crop(args.context_pad)
    if args.crop_mode == "selective_search":
        found = detector.detect_selective_search([line for line in read_lines(source) if line.strip()])
    else:
        found = list(detect(detector, read_windows(source)))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    classes = found[0]["prediction"].size if found else 0
    table.writerow(["filename", *EDGES, *(f"class{number}" for number in range(classes))])
    for one in found:
        table.writerow([one["filename"], *one["window"], *(f"{value:.7g}" for value in one["prediction"].ravel())])
    write_whole(out, [text.getvalue().encode("utf-8", "surrogateescape")])
    print(f"{out}: {len(found)} windows")
    return 0


def detect(detector: Detector, windows: dict[str, list[tuple[int, ...]]]) -> Iterator[dict[str, Any]]:
    """What the net says to all windows; those of some images at a time."""
    names = list(windows)
    for first in range(0, len(names), CHUNK):
        yield from detector.detect_windows((name, windows[name]) for name in names[first : first + CHUNK])


def read_windows(path: str) -> dict[str, list[tuple[int, ...]]]:
    """The windows of each image in a table; DataError for a table that is none."""
    from ..data.image_list import read_lines
    from ..errors import DataError

    table = csv.DictReader(read_lines(path), skipinitialspace=True)
    missing = [name for name in ("filename", *EDGES) if name not in (table.fieldnames or ())]
    if missing:
        raise DataError(f"{path}:1: must have the columns filename, {', '.join(EDGES)}; {', '.join(missing)} missing")
    windows: dict[str, list[tuple[int, ...]]] = {}
    for row in table:
        try:
            edges = tuple(int(float(row[name])) for name in EDGES)
        except (TypeError, ValueError, OverflowError):
            got = ", ".join(str(row[name]) for name in EDGES)
            raise DataError(f"{path}:{table.line_num}: {', '.join(EDGES)} must be numbers, got {got}") from None
        windows.setdefault(row["filename"], []).append(edges)
    if not windows:
        raise DataError(f"{path}: has no windows")
    return windows
