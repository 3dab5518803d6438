"""The grammar of prototxt: fields, blocks and lists, filled into a message."""

from __future__ import annotations

import logging

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from . import hints, schema
from .scalars import integer, scalar
from .schema import Field
from .tokens import END, NAME, STRING, SYMBOL, Token, Tokens

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
        name = self._tokens.take()
        if name.kind != NAME:
            hint = "; comments begin with '#'" if name.text == "/" else ""
            self._tokens.fail(f"expected a field name, found {name}{hint}", name.at)
        field = schema.fields(message.DESCRIPTOR).get(name.text)
        if field is None:
            hint = hints.unknown_field(name.text, self._inside)
            self._tolerate(f"unknown field {name.text!r} in {message.DESCRIPTOR.name}{hint}", name)
            self._skip_value(name)
        else:
            self._values(message, field, name)
        self._tokens.accept(";,")

    def _values(self, message: Message, field: Field, name: Token) -> None:
        tokens = self._tokens
        if not field.repeated and message.HasField(field.name):
            tokens.fail(f"non-repeated field {field.name!r} is specified multiple times", name.at)
        if not tokens.accept(":") and field.kind != "message":
            tokens.fail(f"expected ':' after {field.name!r}, found {tokens.now}", tokens.now.at)
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
                tokens.fail(
                    f"expected ',' or ']' in the list of {field.name!r}, found {tokens.now}", tokens.now.at
                )
            self._one(message, field, name)

    def _one(self, message: Message, field: Field, name: Token) -> None:
        """One value of a field: a block or a scalar."""
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
        tokens, opening = self._tokens, self._tokens.now
        if not tokens.accept("{<"):
            tokens.fail(f"{name.text!r} takes a block: expected '{{', found {opening}", opening.at)
        closing = _CLOSING[opening.text]
        message.SetInParent()
        self._inside.append(message.DESCRIPTOR)
        while not tokens.accept(closing):
            if tokens.now.kind == END or (tokens.now.kind == SYMBOL and tokens.now.text in "}>"):
                line = tokens.line(name.at)
                tokens.fail(
                    f"{name.text!r} of line {line} needs its {closing!r}, found {tokens.now}", tokens.now.at
                )
            self._field(message)
        self._inside.pop()
        self._check_required(message, name)

    def _enum(self, field: Field) -> int | None:
        """An enum value, given by name or number; None for one that is unknown and skipped."""
        token = self._tokens.now
        if token.kind == STRING:
            hint = hints.unknown_value(token.text[1:-1], field)
            self._tokens.fail(f"{field.name!r} takes a name without quotes, found {token}{hint}", token.at)
        if token.kind == NAME:
            value = field.values.get(self._tokens.take().text)
        else:
            number = integer(self._tokens, field)
            value = number if number in field.values.values() else None
        if value is None:
            hint = hints.unknown_value(token.text, field)
            self._tolerate(f"unknown value {token} for {field.name!r}{hint}", token)
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
            token = tokens.take()
            if token.kind == END:
                line = tokens.line(name.at)
                tokens.fail(
                    f"{name.text!r} of line {line} needs its {closing[-1]!r}, found {token}", token.at
                )
            bracket = token.text if token.kind == SYMBOL else ""
            if bracket in _CLOSING:
                closing.append(_CLOSING[bracket])
            elif bracket in _CLOSING.values() and (not closing or closing.pop() != bracket):
                tokens.fail(f"{token} closes nothing", token.at)
            if not closing:
                break
        while token.kind == STRING and tokens.now.kind == STRING:
            tokens.take()

    def _check_required(self, message: Message, start: Token) -> None:
        for name in schema.required(message.DESCRIPTOR):
            if not message.HasField(name):
                self._tokens.fail(f"{message.DESCRIPTOR.name} lacks its required field {name!r}", start.at)
