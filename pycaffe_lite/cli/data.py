"""``caffe-lite data``: make the databases that the examples train from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycaffe_lite.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pycaffe_lite.data.mnist import Mnist

_TRAIN, _TEST = "mnist_train_lmdb", "mnist_test_lmdb"
EXAMPLE = "Example: caffe-lite data mnist --from ~/mnist --out models/lenet"


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the verb and its data sets."""
    text = "make the databases that the examples train from"
    parser = subparsers.add_parser("data", help=text, description=f"{text.capitalize()}.", epilog=EXAMPLE)
    sets = parser.add_subparsers(dest="dataset", metavar="DATASET", required=True)
    mnist = sets.add_parser(
        "mnist",
        help=f"70,000 handwritten digits as {_TRAIN} and {_TEST}",
        description=f"Write {_TRAIN} and {_TEST}, downloading MNIST unless told otherwise.",
        epilog=EXAMPLE,
    )
    source = mnist.add_mutually_exclusive_group()
    source.add_argument("--from", dest="directory", metavar="DIR", help="read MNIST's four files (.gz or not) from DIR")
    source.add_argument("--synthetic", action="store_true", help="draw digits that look handwritten; needs no network")
    source.add_argument(
        "--quick-start", action="store_true", help="download MNIST, or draw synthetic digits if that fails"
    )
    mnist.add_argument("--out", metavar="DIR", default=".", help="where to put the databases (default: here)")
    mnist.add_argument("--seed", metavar="N", type=int, default=1, help="for --synthetic (default: 1)")
    mnist.add_argument("--force", action="store_true", help="replace databases that are already there")
    mnist.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write both MNIST databases, unless they are there already."""
    from pycaffe_lite.data.mnist import write_database

    if args.seed < 0:
        raise ConfigError(f"--seed: must not be negative, got {args.seed}")
    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise ConfigError(f"--out: must be a folder, got {args.out!r}")
    targets = [Path(args.out, _TRAIN), Path(args.out, _TEST)]
    if not args.force and _already_there(targets):
        return 0
    for target, digits in zip(targets, _digits(args), strict=True):
        write_database(target, digits, overwrite=args.force)
        count, height, width = digits.images.shape
        print(f"Wrote {target}: {count} digits of {height} x {width} pixels")
    return 0


def _already_there(targets: list[Path]) -> bool:
    """Whether there is nothing to do; one half alone may belong to other digits, so it is an error."""
    from pycaffe_lite.data.database import open_database

    there = [target for target in targets if target.exists()]
    for target in there:
        with open_database(target) as database:
            print(f"{target} is there already, with {len(database)} digits (--force writes it again)")
    if len(there) == 1:
        missing = next(target for target in targets if target not in there)
        raise DataError(f"{there[0]} exists but {missing} does not; --force writes both")
    return bool(there)


def _digits(args: argparse.Namespace) -> Mnist:
    """The digits asked for, saying where they come from."""
    from pycaffe_lite.data import mnist

    if args.directory:
        return mnist.read_mnist(args.directory)
    if args.synthetic:
        return _draw(args.seed)
    try:
        print("Downloading MNIST")
        return mnist.download_mnist()
    except DataError as error:
        if args.quick_start:
            print("MNIST cannot be downloaded; drawing synthetic digits instead (results are not MNIST's)")
            return _draw(args.seed)
        raise DataError(
            f"{error}\nGive --from DIR with the four files of MNIST, or --synthetic for drawn digits"
        ) from error


def _draw(seed: int) -> Mnist:
    """As many synthetic digits as MNIST has."""
    from pycaffe_lite.data.mnist import Digits, Mnist
    from pycaffe_lite.data.synthetic_digits import render

    print(f"Drawing 70000 synthetic digits, seed {seed}")
    images, labels = render(70000, seed)
    return Mnist(Digits(images[:60000], labels[:60000]), Digits(images[60000:], labels[60000:]))
