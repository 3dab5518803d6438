"""The grammar of prototxt: fields, blocks and lists, filled into a message."""

from __future__ import annotations

import logging
from typing import NoReturn

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from . import hints, schema
from .scalars import integer, scalar
from .schema import Field
from .tokens import END, NAME, STRING, Token, Tokens

log = logging.getLogger("pycaffe_lite")

_CLOSING = {"{": "}", "<": ">", "[": "]"}


class Parser:
    """Fills a message from the words of a text."""

    def __init__(self, tokens: Tokens, allow_unknown: bool) -> None:
        self._tokens, self._allow_unknown = tokens, allow_unknown
        self._inside: list[Descriptor] = []  # the types of the blocks around the word at hand, innermost last

    def fill(self, message: Message) -> None:
        """All fields of the text."""
        start = self._tokens.now
        self._inside.append(message.DESCRIPTOR)
        while self._tokens.now.kind != END:
            self._field(message)
        self._check_required(message, start)

    def _field(self, message: Message) -> None:
        """A name, and its value or values."""
        tokens = self._tokens
        if tokens.now.kind != NAME:
            tokens.expect("'#' before a comment" if tokens.sees("/") else "a field name")
        name = tokens.take()
        field = schema.fields(message.DESCRIPTOR).get(name.text)
        if field is None:
            hint = hints.unknown_field(name.text, self._inside)
            self._tolerate(f"unknown field {name.text!r} in {message.DESCRIPTOR.name}{hint}", name)
            self._skip_value(name)
        else:
            if not field.repeated and message.HasField(field.name):
                tokens.fail(f"non-repeated field {field.name!r} is specified multiple times", name.at)
            self._values(message, field, name)
        tokens.accept(";,")

    def _values(self, message: Message, field: Field, name: Token) -> None:
        """What follows a name: one value, or a list in square brackets."""
        tokens = self._tokens
        if not tokens.accept(":") and field.kind != "message":
            tokens.expect(f"':' after {field.name!r}")
        bracket = tokens.now
        if not tokens.accept("["):
            self._one(message, field, name)
            return
        if not field.repeated:
            tokens.fail(f"{field.name!r} takes one value, not a list", bracket.at)
        if tokens.accept("]"):
            return
        self._one(message, field, name)
        while not tokens.accept("]"):
            if not tokens.accept(","):
                tokens.expect(f"',' or ']' in the list of {field.name!r}")
            self._one(message, field, name)

    def _one(self, message: Message, field: Field, name: Token) -> None:
        """One value: a block, or a scalar."""
        if field.kind == "message":
            holder = getattr(message, field.name)
            self._block(holder.add() if field.repeated else holder, name)
            return
        value = self._enum(field) if field.kind == "enum" else scalar(self._tokens, field)
        if value is None:
            return
        if field.repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)

    def _block(self, message: Message, name: Token) -> None:
        """The fields of a message, in braces or angle brackets."""
        tokens = self._tokens
        closing = _CLOSING.get(tokens.accept("{<"))
        if closing is None:
            tokens.expect(f"'{{' after {name.text!r}")
        message.SetInParent()
        self._inside.append(message.DESCRIPTOR)
        while not tokens.accept(closing):
            if tokens.now.kind == END or tokens.sees("}>"):
                self._not_closed(name, closing)
            self._field(message)
        self._inside.pop()
        self._check_required(message, name)

    def _enum(self, field: Field) -> int | None:
        """An enum value, given by name or number; None for an engine that is unknown and skipped."""
        token = self._tokens.now
        if token.kind == STRING:
            hint = hints.unknown_value(token.text[1:-1], field)
            self._tokens.fail(f"{field.name!r} takes a name without quotes, found {token}{hint}", token.at)
        if token.kind == NAME:
            given: str | int = self._tokens.take().text
            value = field.values.get(str(given))
        else:
            given = integer(self._tokens, field)
            value = given if given in field.values.values() else None
        if value is None:
            problem = f"unknown value {given} for {field.name!r}{hints.unknown_value(str(given), field)}"
            if field.name != "engine":  # any other choice changes what is computed
                self._tokens.fail(problem, token.at)
            self._tolerate(problem, token)
        return value

    def _tolerate(self, problem: str, token: Token) -> None:
        """Refuse what a fork of Caffe may know, or only warn where that was asked for."""
        if not self._allow_unknown:
            self._tokens.fail(problem, token.at)
        log.warning("%s: skipped %s", self._tokens.where(token.at), problem)

    def _skip_value(self, name: Token) -> None:
        """Pass over the value of an unknown field, however deep: only its brackets must match."""
        tokens = self._tokens
        tokens.accept(":")
        tokens.accept("-")
        closing: list[str] = []
        while True:
            if closing and tokens.accept(closing[-1]):
                closing.pop()
            elif bracket := tokens.accept("{<["):
                closing.append(_CLOSING[bracket])
            elif closing and (tokens.now.kind == END or tokens.sees("}>]")):
                self._not_closed(name, closing[-1])
            elif not closing and (tokens.now.kind == END or tokens.sees("}>];,")):
                tokens.expect(f"a value of {name.text!r}")
            else:
                tokens.take()
            if not closing:
                break
        while tokens.now.kind == STRING:  # neighbours of a string are parts of it
            tokens.take()

    def _not_closed(self, name: Token, closing: str) -> NoReturn:
        self._tokens.expect(f"{closing!r} to close {name.text!r} of line {self._tokens.line(name.at)}")

    def _check_required(self, message: Message, start: Token) -> None:
        for name in schema.required(message.DESCRIPTOR):
            if not message.HasField(name):
                self._tokens.fail(f"{message.DESCRIPTOR.name} lacks its required field {name!r}", start.at)
