"""`caffe-lite extract-features`: blobs of a net, for all that it is fed, into databases or arrays."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from . import caffe_log
from .common import add_device_options, add_net_options, choose_device, stages

if TYPE_CHECKING:
    import numpy as np

SOURCE = "extract_features.cpp"
EVERY = 1000  # rows between two lines of the log, as in Caffe
WORDS = "WEIGHTS NET BLOBS OUTS BATCHES [lmdb|leveldb] [CPU|GPU [ID]]"


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "extract-features",
        aliases=["extract_features"],
        help="write blobs of a trained net into databases or arrays",
        description="Run a net in the TEST phase on what its data layer reads, and write blobs of it: a row for each "
        "image. OUTS that end in .npy become arrays, others databases of Datums with floats, as Caffe writes them.",
        epilog="Example: caffe-lite extract-features net.caffemodel net.prototxt fc7 fc7.npy 10",
        usage=f"caffe-lite extract-features [options] {WORDS}",
    )
    parser.add_argument(
        "files", metavar=WORDS, nargs="+",
        help="weights; the net's prototxt; names of blobs, with commas between; as many outputs; how many batches; "
        "the kind of database (default: lmdb)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace databases that are there already")
    add_device_options(parser)
    add_net_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, run, write."""
    from ..errors import ConfigError
    from ..net.net import Net
    from ..proto import caffe_pb2

    words = args.files
    if not 5 <= len(words) <= 8:
        raise ConfigError(f"{WORDS} are wanted, got {' '.join(words)}")
    weights, model = words[:2]
    blobs, outs = words[2].split(","), words[3].split(",")
    if len(blobs) != len(outs) or len(set(outs)) < len(outs):
        raise ConfigError(f"each blob needs an output of its own, got blobs {words[2]} and outputs {words[3]}")
    if not words[4].isdecimal() or int(words[4]) < 1:
        raise ConfigError(f"BATCHES: must be a number, at least 1, got {words[4]!r}")
    backend = words[5] if len(words) > 5 else "lmdb"
    if backend.lower() not in ("lmdb", "leveldb"):
        raise ConfigError(f"the kind of database must be lmdb or leveldb, got {backend!r}")
    device = words[6].upper() if len(words) > 6 else "CPU"
    if device not in ("CPU", "GPU"):
        raise ConfigError(f"the device must be CPU or GPU, got {words[6]!r}")
    if device == "GPU" and args.gpu is None:
        args.gpu = words[7] if len(words) > 7 else "0"
    caffe_log.write_log()
    caffe_log.tell(f"{SOURCE}:65", choose_device(args))
    net = Net(model, caffe_pb2.TEST, args.level, stages(args), allow_unknown=args.allow_unknown_fields)
    net.copy_from(weights)
    for name in blobs:
        net.blobs[name]  # or the error that suggests another
    if net.inputs:
        raise ConfigError(f"{model}: reads no data: its inputs {', '.join(net.inputs)} would stay empty")
    extract(net, blobs, outs, int(words[4]), backend.upper(), args.force)
    return 0


def extract(net: Any, blobs: list[str], outs: list[str], batches: int, backend: str, force: bool) -> None:
    """Run the net, and write all blobs; outputs are there once all batches have been run."""
    from contextlib import ExitStack

    import numpy as np

    caffe_log.tell(f"{SOURCE}:147", "Extracting Features")
    counts = [0] * len(blobs)
    with ExitStack() as stack:
        writers = [stack.enter_context(open_output(out, backend, force)) for out in outs]
        for _ in range(batches):
            net.run_forward()
            for index, name in enumerate(blobs):
                for row in np.atleast_1d(net.blobs[name].data):
                    writers[index].add(row)
                    counts[index] += 1
                    if counts[index] % EVERY == 0:
                        tell_count(counts[index], name)
    for count, name in zip(counts, blobs):
        if count % EVERY:
            tell_count(count, name)
    caffe_log.tell(f"{SOURCE}:201", "Successfully extracted the features!")


def tell_count(count: int, name: str) -> None:
    caffe_log.tell(f"{SOURCE}:180", f"Extracted features of {count} query images for feature blob {name}")


def open_output(path: str, backend: str, force: bool) -> Any:
    """What writes rows into an output."""
    return ArrayOutput(path) if path.endswith(".npy") else DatabaseOutput(path, backend, force)


class DatabaseOutput:
    """Rows as Datums with floats, under the keys 0000000000, 0000000001 ..."""

    def __init__(self, path: str, backend: str, force: bool):
        from ..data.writer import open_writer

        self.writer = open_writer(path, backend, force)
        self.count = 0

    def add(self, row: np.ndarray) -> None:
        """Write one row (C, H, W), of which axes may be missing; others are flattened."""
        import numpy as np

        from ..proto import Datum

        shape = (*row.shape, 1, 1, 1)[:3] if row.ndim <= 3 else (row.size, 1, 1)
        datum = Datum(channels=shape[0], height=shape[1], width=shape[2])
        datum.float_data.extend(np.asarray(row, np.float32).ravel().tolist())
        self.writer.put(b"%010d" % self.count, datum.SerializeToString())
        self.count += 1

    def __enter__(self) -> DatabaseOutput:
        return self

    def __exit__(self, *error: Any) -> None:
        self.writer.__exit__(*error)


class ArrayOutput:
    """All rows in one .npy file."""

    def __init__(self, path: str):
        self.path = path
        self.rows: list[np.ndarray] = []

    def add(self, row: np.ndarray) -> None:
        """Keep one row."""
        self.rows.append(row.copy())

    def __enter__(self) -> ArrayOutput:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        import numpy as np

        from ..formats.files import replacing

        if kind is None:
            with replacing(self.path) as (temporary,), open(temporary, "wb") as file:
                np.save(file, np.stack(self.rows))
