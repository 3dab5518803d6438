"""The dictionaries of a net: by name, in the net's order, with a suggestion for a name that is not there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NoReturn, TypeVar

from ..errors import UnknownNameError, suggest

T = TypeVar("T")
FEW = 12  # names that an error may list


class Named(OrderedDict[str, T]):
    """What is called by name: `what` ("blob", "layer") and `owner` go into the error for an unknown one."""

    def __init__(self, items: Iterable[tuple[str, T]], what: str, owner: str):
        super().__init__(items)
        self.what, self.owner = what, owner

    def __missing__(self, name: str) -> NoReturn:
        hint = suggest(str(name), self)
        if not hint and 0 < len(self) <= FEW:
            hint = f"; it has {', '.join(self)}"
        raise UnknownNameError(f"{self.owner} has no {self.what} {name!r}{hint}")

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: {value!r}' for name, value in self.items())}}}"
