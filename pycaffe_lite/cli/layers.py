"""`caffe-lite layers`: what layer types there are, and what one takes."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from .common import add_import_option
from .tables import print_table

COLUMNS = [("field", "left"), ("type", "left"), ("default", "left"), ("meaning", "left")]


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "layers",
        help="list the layer types, or explain one",
        description="List all layer types, or explain one: its fields with their defaults, its bottoms and tops, its "
        "parameters.",
        epilog="Example: caffe-lite layers Pooling",
    )
    parser.add_argument(
        "type", metavar="TYPE", nargs="?", help="a layer type (Pooling), or a message of the schema (FillerParameter)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_import_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, or explain."""
    from .. import layer_help

    message = layer_help.find_message(args.type or "")
    if args.type is None:
        show_all(layer_help.all_types(), args.json)
    elif message is not None:
        show_message(message, args.json)
    else:
        show_one(layer_help.layer_help(args.type), args.json)
    return 0


def show_all(types: dict[str, str], as_json: bool) -> None:
    """A line a type."""
    if as_json:
        print(json.dumps(types))
    else:
        print_table("", [("type", "left"), ("what it does", "left")], list(types.items()))


def show_message(message: Any, as_json: bool) -> None:
    """The fields of a message that is part of others."""
    from ..layer_help import message_help
    from ..proto.comments import comment

    found = message_help(message)
    if as_json:
        print(json.dumps({message.name: [field._asdict() for field in found]}))
        return
    paragraph(comment(message.name))
    print_table(message.name, COLUMNS, found)


def show_one(found: Any, as_json: bool) -> None:
    """All about one layer type."""
    if as_json:
        blocks = {name: [field._asdict() for field in held] for name, held in found.messages.items()}
        print(json.dumps(found._asdict() | {"messages": blocks}))
        return
    print(f"{found.type}: {found.text}")
    paragraph(found.details)
    print(f"bottoms: {found.bottoms}; tops: {found.tops}")
    if found.parameters:
        paragraph(f"parameters: {found.parameters}")
    for name, held in found.messages.items():
        print()
        print_table(name, COLUMNS, held)


def paragraph(text: str) -> None:
    """Text in lines of a readable length."""
    if text:
        print(textwrap.fill(" ".join(text.split()), 100))
