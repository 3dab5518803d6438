"""The command `caffe-lite`: one module a verb, each with `add_parser` and what it runs."""

from __future__ import annotations

import argparse
import importlib
import logging
import re
import sys
from collections.abc import Sequence

from ..errors import CaffeError
from .common import import_layers

VERBS = (
    "train",
    "test",
    "time",
    "run",
    "data",
    "convert-imageset",
    "mean",
    "classify",
    "detect",
    "extract-features",
    "layers",
    "lint",
    "summary",
    "draw",
    "upgrade",
    "show",
    "diff",
    "merge-bn",
    "deploy",
    "parse-log",
    "device-query",
    "doctor",
    "warmup",
)


def caffe_spelling(arguments: Sequence[str]) -> list[str]:
    """Caffe's flags as ours: `-solver=x` is `--solver=x`, underscores in names are dashes, `=true` is left out.

    Those of a script that is to be run are its own.
    """
    if arguments[:1] == ["run"]:
        return list(arguments)
    changed = []
    for argument in arguments:
        match = re.match(r"^--?([A-Za-z]\w[\w-]*)(=.*)?$", argument, re.DOTALL)
        if match and match[2] == "=false":
            continue
        value = match[2] if match and match[2] != "=true" else None
        changed.append(f"--{match[1].replace('_', '-')}{value or ''}" if match else argument)
    return changed


def make_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    from .. import __version__

    parser = argparse.ArgumentParser(
        prog="caffe-lite",
        description="Caffe in Python: trains and runs nets from prototxt files.",
        epilog="Caffe's own spellings work too: -solver=solver.prototxt, --sigint_effect=stop.",
    )
    parser.add_argument("--version", action="version", version=f"caffe-lite {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        importlib.import_module(f".{verb.replace('-', '_')}", __name__).add_parser(verbs)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments, Caffe's flags among them; ends the process with status 2 where they are wrong."""
    parser = make_parser()
    args, more = parser.parse_known_args(caffe_spelling(arguments))
    if more and (not hasattr(args, "files") or any(word.startswith("-") for word in more)):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if more:
        args.files += more  # argparse does not count files behind an option to those in front of it
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status is 0, 1 for an error (one clear message), 2 for wrong usage, 130 for Ctrl-C."""
    args = parse(sys.argv[1:] if arguments is None else arguments)
    logging.getLogger("pycaffe_lite").setLevel(logging.INFO)
    try:
        import_layers(args)
        return args.run(args) or 0
    except CaffeError as error:
        print(f"caffe-lite {args.verb}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"caffe-lite {args.verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `caffe-lite ... | head`
        sys.stderr.close()
        return 1
    except OSError as error:  # such as a full disk behind standard output
        print(f"caffe-lite {args.verb}: error: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"caffe-lite {args.verb}: error: out of memory ({error}); try a smaller batch_size", file=sys.stderr)
        return 1
