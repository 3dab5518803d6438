"""HDF5 in Caffe's layout: `/data/<layer>/<i>` (and `/diff`) in a .caffemodel.h5, `/history/<i>` in a .solverstate.h5.

A `/` in a layer's name makes groups in groups, on which Caffe itself fails to write; they are read and written here.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from ..errors import WeightsError
from . import files
from .stored import Stored, StoredLayer, numbers

MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_COMPRESSED = 1100  # deflate makes 1032 bytes of one at most


def module() -> Any:
    """h5py, or advice."""
    try:
        import h5py
    except ImportError as error:
        raise WeightsError("for .h5 files h5py is needed: pip install 'caffe-lite[hdf5]'") from error
    return h5py


@contextlib.contextmanager
def reading(source: str) -> Iterator[Any]:
    """The open file; whatever goes wrong in the block because the file is damaged becomes a WeightsError."""
    h5py = module()
    try:
        with h5py.File(source, "r") as file:
            yield file
    except WeightsError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{source}: not an HDF5 file of Caffe's, or a damaged one: {error}") from error


@contextlib.contextmanager
def writing(path: str) -> Iterator[Any]:
    """A new file, made in memory first: HDF5 writing to a full disk takes the whole process down."""
    memory = io.BytesIO()
    with module().File(memory, "w") as file:
        yield file
    files.write(path, [memory.getbuffer()])


def layers(file: Any, source: str) -> Iterator[StoredLayer]:
    """The layers in a model; those without parameters too."""
    h5py = module()
    if not isinstance(file.get("data"), h5py.Group):
        kind = "this is a solverstate; --snapshot takes it" if "history" in file else "it has no group /data"
        raise WeightsError(f"weights {source}: not a caffemodel: {kind}")
    found: dict[str, StoredLayer] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Datatype):
            raise WeightsError(f"weights {source}: /data/{name} is a type, not an array")
        if not isinstance(item, h5py.Dataset):
            if not any(isinstance(inner, h5py.Group) for inner in item.values()):
                found.setdefault(name, StoredLayer(name, partial=True))
            return
        layer, _, index = name.rpartition("/")
        if not index.isdecimal():
            raise WeightsError(f"weights {source}: /data/{name} is no parameter: those are numbered 0, 1, ...")
        where = f"weights {source}: layer {layer!r}, parameter {index}"
        params = found.setdefault(layer, StoredLayer(layer, partial=True)).params
        params[int(index)] = stored(item, where)

    file["data"].visititems(visit)
    yield from found.values()


def stored(dataset: Any, where: str) -> Stored:
    """A dataset as a stored array; WeightsError if it does not hold numbers."""
    if not isinstance(dataset, module().Dataset):
        raise WeightsError(f"{where}: is no array")
    if dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise WeightsError(f"{where}: holds {dataset.dtype}, not numbers")
    check_size(dataset, where)
    return Stored(dataset.shape, lambda: dataset[()])


def check_size(dataset: Any, where: str) -> None:
    """WeightsError if an array is larger than what is stored of it can be: HDF5 would make up the rest in memory."""
    there = dataset.id.get_storage_size()
    if dataset.nbytes > there * (MOST_COMPRESSED if dataset.id.get_create_plist().get_nfilters() else 1):
        raise WeightsError(
            f"{where}: shape {dataset.shape} takes {dataset.nbytes:,} bytes, of which {there:,} are in the file"
        )


def write_net(net: Any, path: str, write_diff: bool, dtype: Any) -> None:
    """Write the parameters; one that layers share only where it is owned, as Caffe does."""
    owned = {id(entry.blob) for entry in net.graph.learnable}
    with writing(path) as file:
        groups = [file.create_group("data"), *([file.create_group("diff")] if write_diff else [])]
        for layer in net.layers:
            _check_name(layer)
            made = [group.require_group(layer.name) for group in groups]
            for index, blob in enumerate(layer.blobs):
                if id(blob) in owned:
                    made[0].create_dataset(str(index), data=numbers(blob, dtype))
                if write_diff and str(index) not in made[1]:  # of two layers of one name, the first
                    made[1].create_dataset(str(index), data=numbers(blob, dtype, "diff"))


def _check_name(layer: Any) -> None:
    if not all(part and part not in (".", "..") for part in layer.name.split("/")):
        raise WeightsError(
            f"layer {layer.name!r}: HDF5 cannot hold a layer of this name; rename it, or save a .caffemodel"
        )
