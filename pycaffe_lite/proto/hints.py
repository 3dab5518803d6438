"""What to tell someone whose prototxt has a field that the schema does not know."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from ..errors import suggest
from . import schema


def unknown_field(name: str, inside: list[Descriptor]) -> str:
    """A hint on an unknown field; `inside` are the types of the blocks around it, innermost last."""
    *outer, message = inside
    if any(name in schema.fields(block) for block in outer):
        owner = next(block for block in reversed(outer) if name in schema.fields(block))
        return f"; {owner.name} has it: is a '}}' missing above?"
    blocks = [f.name for f in schema.fields(message).values() if f.message and name in schema.fields(f.message)]
    if blocks:
        return f"; it belongs in {' or '.join(blocks[:3])}"
    return suggest(name, schema.fields(message))
