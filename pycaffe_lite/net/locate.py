"""Errors that say where: ``net.prototxt:41:3: layer 'x': unknown type ...``.

Layers and solvers write "layer 'x' (Type): field: problem" or "field: problem" and know no lines; what
they name is looked up in the file when, and only when, the error is raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import CaffeError, ConfigError
from ..proto import LayerParameter, V1LayerParameter
from ..proto import text as prototxt
from ..proto.outline import Entry, Outline, find, read_outline
from .select import included

_LAYER = re.compile(r"layer (['\"])(?P<name>.*?)\1(?: \(\w*\))?: (?P<problem>.*)", re.DOTALL)
_FIELD = re.compile(r"(?:unknown )?(?P<path>[a-z]\w*(?:\.\w+)*)(?: blob)?(?::| '(?P<value>[^']*)')")
MESSAGE = "<message>"  # the source of a net that was no file


@contextmanager
def locating(source: str, state: Any = None) -> Iterator[None]:
    """Errors raised in this block get the place in `source` in front: of the layer or field that they begin with.

    `state` tells layers of one name apart. Where there is no such place, the file alone is named.
    """
    try:
        yield
    except CaffeError as error:
        text = str(error)
        if source == MESSAGE or text.startswith(source):
            raise
        outline = read_outline(source)
        entry = outline and entry_of(outline, text, state)
        raise type(error)(f"{outline.where(entry.at) if outline and entry else source}: {text}") from error


def entry_of(outline: Outline, text: str, state: Any) -> Entry | None:
    """The layer or field in a file that an error text begins with."""
    layer = _LAYER.match(text)
    if layer is None:
        return _field(outline.entries, text)
    blocks = _layers(outline.entries, layer["name"])
    if not blocks:
        return None
    block = next((b for b in blocks if len(blocks) > 1 and _chosen(outline, b, state)), blocks[0])
    return _field(block.inside, layer["problem"]) or block


def _layers(entries: Sequence[Entry], name: str) -> list[Entry]:
    """The blocks that describe a layer of this name; those of the oldest nets lie one block deeper."""
    blocks = [entry for entry in entries if entry.name in ("layer", "layers")]
    blocks = [next((inner for inner in block.inside if inner.name == "layer"), block) for block in blocks]
    found = [block for block in blocks if any(e.name == "name" and e.value == name for e in block.inside)]
    nets = [entry for entry in entries if entry.name.endswith("net_param")]  # inside a solver
    return found + [block for net in nets for block in _layers(net.inside, name)]


def _chosen(outline: Outline, block: Entry, state: Any) -> bool:
    """Whether the net of this state has this one of several layers of one name."""
    kind = LayerParameter if block.name == "layer" else V1LayerParameter
    try:
        message = prototxt.parse(outline.text[block.begin : block.end], kind(), allow_unknown=True)
        return state is not None and included(message, state, lambda line: None)
    except ConfigError:
        return False


def _field(entries: Sequence[Entry], problem: str) -> Entry | None:
    """The field that a problem begins with, if it does and the field is there."""
    match = _FIELD.match(problem)
    return find(entries, match["path"].split("."), match["value"] or "") if match else None
