"""The exceptions that caffe-lite raises on purpose; every one is a message a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CaffeError(Exception):
    """Base of every error of ours: its text is complete, and the command line prints it without a traceback."""


class ConfigError(CaffeError, ValueError):
    """A prototxt asks for something impossible; the text names file, layer, field and value."""


class UnknownNameError(ConfigError, KeyError):
    """A blob or layer that the net does not have."""

    __str__ = Exception.__str__  # KeyError's would put the text in quotes


class PrototxtError(ConfigError):
    """A prototxt that is not one; the text begins with ``file:line:column:``."""


class WeightsError(CaffeError, ValueError):
    """A caffemodel or solverstate that cannot be read, or does not fit the net."""


class DataError(CaffeError, ValueError):
    """A database, list or image that is missing, broken, or holds what the net cannot take."""


class PythonLayerError(CaffeError, RuntimeError):
    """Something that a user's Python layer raised: the text shows where, the cause is what was raised."""


class DeviceError(CaffeError, RuntimeError):
    """The device asked for is not there, or cannot do what is asked."""


class DeviceMemoryError(DeviceError):
    """A device has too little memory; `available` bytes of it were at our disposal in all."""

    available = 0
    otherwise = "a larger GPU, or --cpu"  # what else would help


def suggest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'kernel_size'?"`` when a known word is near, else an empty string."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    if not near:
        folded = {k.casefold(): k for k in known}
        near = [folded[m] for m in difflib.get_close_matches(word.casefold(), folded, n=1)]
    return f"; did you mean {near[0]!r}?" if near else ""
