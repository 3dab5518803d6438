"""NetSpec: nets written in Python. `layers.Convolution(...)` makes a layer, `NetSpec.to_proto()` the NetParameter.

    n = NetSpec()
    n.data, n.label = L.Data(source="train_lmdb", batch_size=64, backend=P.Data.LMDB, ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    open("net.prototxt", "w").write(str(n.to_proto()))

Nothing is checked before `to_proto`: its errors say where in the script the layer was made.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from . import layers as layers
from . import params as params
from .errors import ConfigError, UnknownNameError, suggest
from .params import Parameters as Parameters
from .proto import LayerParameter, NetParameter
from .proto.assign import assign
from .proto.assign import assign as assign_proto  # noqa: F401  pycaffe's name of it
from .proto.schema import fields

_LAYER = fields(LayerParameter.DESCRIPTOR)
_BLOCKS = {f.message.name: name for name, f in _LAYER.items() if f.message and name.endswith("_param")}


class Top:
    """One output of a layer, to be given to other layers as a bottom: output number `n` of `fn`."""

    def __init__(self, fn: Function, n: int):
        self.fn, self.n = fn, n

    def to_proto(self) -> NetParameter:
        """The net that computes this top."""
        return to_proto(self)

    def __repr__(self) -> str:
        return f"<top {self.n} of {self.fn!r}>"

    def _update(self, params: Mapping[str, Any]) -> None:
        self.fn._update(params)


class Function:
    """A layer in the making: its type, the tops it takes, and the fields it was given.

    `ntop` is the number of its tops; with `in_place` they have the names of its bottoms.
    """

    def __init__(self, type_name: str, inputs: tuple[Top, ...], params: dict[str, Any]):
        for index, one in enumerate(inputs):
            if not isinstance(one, Top):
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(one)})")
        self.type_name, self.inputs, self.params = type_name, inputs, dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        if not isinstance(self.ntop, int) or self.ntop < 0:
            raise ConfigError(f"{type_name}: ntop: must be a number of tops, got {self.ntop!r}")
        if self.in_place and self.ntop > len(inputs):
            raise ConfigError(f"{type_name}: in_place: has {len(inputs)} bottoms to write its {self.ntop} tops over")
        self.tops = tuple(Top(self, n) for n in range(self.ntop))
        self.place = _callers_place()

    def fill(self, layer: LayerParameter) -> None:
        """Set the fields: those that the type's own block (`convolution_param`) knows there, others in the layer.

        As in pycaffe, a keyword that ends in `param` is always a field of the layer. None means: not given.
        ConfigError for what is no field, or no value for it.
        """
        block = block_of(self.type_name)
        own = fields(_LAYER[block].message) if block else {}
        try:
            for name, value in self.params.items():
                if value is None:
                    continue
                if block and name in own and not name.endswith("param"):
                    assign(getattr(layer, block), name, value, f"{block}.")
                elif name in _LAYER:
                    assign(layer, name, value)
                else:
                    raise ConfigError(f"{name}: {self._no_field(name, block, list(own))}")
        except ConfigError as error:
            who = f"layer {layer.name!r} ({self.type_name})" if layer.name else self.type_name
            raise ConfigError(f"{self.place}: {who}: {error}") from None

    def _no_field(self, name: str, block: str | None, own: list[str]) -> str:
        if block:
            text = f"neither {block} nor LayerParameter has such a field"
        else:
            text = "LayerParameter has no such field, and the type has no block of its own"
        return text + suggest(name, [*own, *_LAYER])

    def _update(self, params: Mapping[str, Any]) -> None:
        self.params.update(params)

    def __repr__(self) -> str:
        return f"{self.type_name}({', '.join(f'{name}={value!r}' for name, value in self.params.items())})"


def block_of(type_name: str) -> str | None:
    """The field of a LayerParameter that holds a type's parameters: `convolution_param` for Convolution."""
    if f"{type_name}Parameter" in _BLOCKS:
        return _BLOCKS[f"{type_name}Parameter"]
    kind = layers.find(type_name)  # Deconvolution has that of Convolution, a type of one's own what it says
    return kind.param_field if kind else None


def _callers_place() -> str:
    """File and line of the script that is making a layer."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


class Layers:
    """`Layers().Convolution(bottom, ..., num_output=10)` makes a Convolution layer, and so on for any type."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return layer_function(name)

    def __dir__(self) -> list[str]:
        return layers.known()


def layer_function(type_name: str) -> Callable[..., Any]:
    """What makes layers of a type: it returns their Top, a tuple of Tops, or with ntop=0 the Function."""

    def make(*inputs: Top, **params: Any) -> Top | tuple[Top, ...] | Function:
        function = Function(type_name, inputs, params)
        if function.ntop == 1:
            return function.tops[0]
        return function.tops or function

    make.__name__ = make.__qualname__ = type_name
    make.__doc__ = _help(type_name)
    return make


def _help(type_name: str) -> str:
    block = block_of(type_name)
    own = list(fields(_LAYER[block].message)) if block else []
    return (
        f"A {type_name} layer on these tops. Keywords of its own: {', '.join(own) or 'none'}.\n\n"
        "Those of all layers: name, ntop, in_place, loss_weight, param, include, exclude, propagate_down ...\n"
        f"`caffe-lite layers {type_name}` explains them."
    )


class UnknownTop(UnknownNameError, AttributeError):
    """A NetSpec has no top of this name."""


class NetSpec:
    """A net as a namespace: `n.conv1 = L.Convolution(n.data, ...)` names a top, and with it its layer.

    `n["conv1"]` is the same; `tops` holds them all. Layers whose tops are not named get names such as Convolution1.
    """

    tops: OrderedDict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, (Top, Function)):
            hint = f"; as there are {len(value)} tops, give it {len(value)} names" if isinstance(value, tuple) else ""
            raise ConfigError(f"{name}: must be what a layer returns, got {type(value).__name__}{hint}")
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self.tops:
            raise UnknownTop(f"this NetSpec has no top {name!r}{suggest(name, self.tops)}")
        return self.tops[name]

    def __delattr__(self, name: str) -> None:
        self.__getattr__(name)
        del self.tops[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.__setattr__(name, value)

    def __getitem__(self, name: str) -> Any:
        return self.__getattr__(name)

    def __delitem__(self, name: str) -> None:
        self.__delattr__(name)

    def __contains__(self, name: str) -> bool:
        return name in self.tops

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.tops]

    def __repr__(self) -> str:
        return f"<NetSpec of {len(self.tops)} tops: {', '.join(self.tops)}>"

    def update(self, name: str, params: Mapping[str, Any]) -> None:
        """Give the layer of a top further fields, or others."""
        self[name]._update(params)

    def to_proto(self) -> NetParameter:
        """The net of all named tops and whatever they need; ConfigError for fields or values that Caffe has not."""
        return _net({top: name for name, top in self.tops.items()}, self.tops.values())


def to_proto(*tops: Top | Function) -> NetParameter:
    """The net that computes these tops; all names are made up, from the types: Data1, Convolution1 ..."""
    return _net({}, tops)


def _net(names: dict[Any, str], wanted: Any) -> NetParameter:
    writer = _Writer(names)
    for top in wanted:
        writer.add(top.fn if isinstance(top, Top) else top)
    net = NetParameter()
    net.layer.extend(writer.layers.values())
    return net


class _Writer:
    """A net in the making: its layers so far, and the names of tops and layers."""

    def __init__(self, names: dict[Any, str]):
        self.names, self.taken = names, set(names.values())
        self.counts: Counter[str] = Counter()
        self.layers: dict[Function, Any] = {}

    def add(self, function: Function) -> None:
        """Write a layer, behind all that it needs. (No recursion: nets may be deeper than Python's stack.)"""
        waiting, opened = [function], set()
        while waiting:
            function = waiting[-1]
            missing = [top.fn for top in function.inputs if top.fn not in self.layers]
            if function in self.layers or not missing:
                waiting.pop()
                if function not in self.layers:
                    self.layers[function] = self.layer(function)
                continue
            opened.add(function)
            if any(one in opened for one in missing):
                raise ConfigError(f"{function.place}: {function.type_name}: takes, by way of others, its own top")
            waiting += reversed(missing)

    def layer(self, function: Function) -> LayerParameter:
        layer = LayerParameter(type=function.type_name)
        layer.bottom.extend(self.layers[top.fn].top[top.n] for top in function.inputs)
        layer.top.extend(layer.bottom if function.in_place else [self.name(top) for top in function.tops])
        layer.name = self.name(function.tops[0] if function.tops and function not in self.names else function)
        function.fill(layer)
        return layer

    def name(self, part: Top | Function) -> str:
        """The name of a top, or of a layer without tops; the next free one of its type if it has none."""
        if part not in self.names:
            type_name = part.fn.type_name if isinstance(part, Top) else part.type_name
            self.counts[type_name] += 1
            while f"{type_name}{self.counts[type_name]}" in self.taken:
                self.counts[type_name] += 1
            self.names[part] = f"{type_name}{self.counts[type_name]}"
        return self.names[part]
