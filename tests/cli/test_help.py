"""caffe-lite VERB --help: an example that can be typed, a word on each option, and its default."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from pycaffe_lite.cli import VERBS, make_parser, parse


def parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All parsers below this one, under the words that lead to them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield name, below
                yield from ((f"{name} {more}", deeper) for more, deeper in parsers(below))


ALL = dict(parsers(make_parser()))


def test_every_verb_is_asked():
    assert {*VERBS, "data mnist"} <= set(ALL)


@pytest.mark.parametrize("verb", ALL)
def test_example(verb):
    """The example's options exist, and nothing that is needed is missing."""
    text = " ".join(ALL[verb].format_help().split())
    example = re.search(r"Example: caffe-lite (.*)", text)
    assert example, text
    assert ALL[parse(shlex.split(example[1])).verb] is ALL[verb.split()[0]]


@pytest.mark.parametrize("verb", ALL)
def test_what_it_does_and_every_option(verb):
    parser = ALL[verb]
    assert parser.description and parser.description.endswith(".")
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest
        if action.default not in (None, False, "", [], argparse.SUPPRESS):
            assert "default:" in action.help, f"--{action.dest} does not tell its default, {action.default!r}"
