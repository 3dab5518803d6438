"""What to tell someone whose prototxt has a field or an enum value that the schema does not know."""

from __future__ import annotations

import difflib

from google.protobuf.descriptor import Descriptor

from ..errors import suggest
from .forks import fork_of
from .schema import Field, fields

_FILES = ("NetParameter", "SolverParameter", "LabelMap")  # what a file may hold: people mix them up


def unknown_field(name: str, inside: list[Descriptor]) -> str:
    """A hint on an unknown field; `inside` are the types of the blocks around it, innermost last."""
    *outer, message = inside
    fork = fork_of(name, message.name)
    if fork:
        return f"; {fork} has it"
    for block in reversed(outer):
        if name in fields(block):
            return f"; {block.name} has it: is a '}}' missing above?"
    places = [field.name for field in fields(message).values() if field.message and name in fields(field.message)]
    files = message.file.message_types_by_name
    others = [f"a {file}" for file in _FILES if not outer and file in files and name in fields(files[file])]
    if places or others:
        return f"; it belongs in {' or '.join(places[:3] + others)}"
    return _similar(name, message)


def _similar(name: str, message: Descriptor) -> str:
    """A field of nearly this name; of ``*_param``, the stem must be near, as the ending always is."""
    if not name.endswith("_param"):
        return suggest(name, fields(message))
    stems = [known.removesuffix("_param") for known in fields(message) if known.endswith("_param")]
    near = difflib.get_close_matches(name.removesuffix("_param"), stems, n=1, cutoff=0.8)
    return f"; did you mean '{near[0]}_param'?" if near else ""


def unknown_value(name: str, field: Field) -> str:
    """A hint on an unknown enum value: the fork that has it, or those that are known."""
    fork = fork_of(name, field.name)
    if fork:
        return f"; {fork} has it"
    return f"; it takes one of {', '.join(field.values)}{suggest(name, field.values)}"
