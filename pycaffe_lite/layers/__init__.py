"""Every layer type, one file each; a file is imported when a net first names its type.

As in pycaffe, `from pycaffe_lite import layers as L` gives `L.Convolution(...)` for NetSpec (net_spec.py).
"""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import suggest
from ..layer import Layer
from ..proto.forks import fork_with_layer

_ALIASES = {"DepthwiseConvolution": "Convolution", "ConvolutionDepthwise": "Convolution"}


@cache
def _files() -> dict[str, str]:
    """Layer type -> module, read from the `type="..."` in the class headers without importing them."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for name in re.findall(r'^class \w+\([^)]*\btype="(\w+)"', path.read_text("utf-8"), re.MULTILINE):
            found[name] = path.stem
    return found


def known() -> list[str]:
    """Names of all layer types, those registered by users included, in alphabetical order."""
    return sorted({*_files(), *Layer.types})


def find(type_name: str) -> type[Layer] | None:
    """The class of a layer type, or None."""
    name = type_name if type_name in Layer.types else _ALIASES.get(type_name, type_name)
    if name not in Layer.types and name in _files():
        importlib.import_module(f".{_files()[name]}", __name__)
    return Layer.types.get(name)


def unknown_hint(type_name: str) -> str:
    """What to tell someone whose layer type is not known: which fork has it, which name is near, or how to bring it."""
    fork = fork_with_layer(type_name)
    near = f"; {fork} has it" if fork else suggest(type_name, known())
    return near or "; a type of your own comes with --import FILE, or by importing its file"


def __getattr__(name: str) -> Any:
    """What makes layers of a type for NetSpec. Types begin with a capital, which tells them from our files."""
    if not name[0].isupper() and name not in Layer.types:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ..net_spec import layer_function

    return layer_function(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *known()})
