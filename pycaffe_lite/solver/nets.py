"""Which nets a solver trains and tests, from the many ways a SolverParameter can say it."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..logs import tell
from ..net.locate import MESSAGE, locating
from ..net.net import Net
from ..paths import find_path
from ..proto import NetParameter, caffe_pb2, upgrade

TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


def training_field(p: Any) -> str:
    """The field that names the net to train; ConfigError unless it is exactly one."""
    given = [field for field in TRAIN_FIELDS if p.HasField(field)]
    if len(given) != 1:
        raise ConfigError(
            f"the solver must name its training net once, in one of {', '.join(TRAIN_FIELDS)}; "
            f"got {' and '.join(given) or 'none of them'}"
        )
    return given[0]


def test_fields(p: Any) -> list[tuple[str, Any]]:
    """Field and value of every test net; the generic net fills up to the number of test_iter. ConfigError as above."""
    given = [("test_net_param", net) for net in p.test_net_param] + [("test_net", path) for path in p.test_net]
    generic = next(((field, getattr(p, field)) for field in ("net", "net_param") if p.HasField(field)), None)
    missing = len(p.test_iter) - len(given)
    if missing < 0 or (missing and not generic):
        raise ConfigError(
            f"test_iter: give it once for each test net: {len(given)} test net(s), {len(p.test_iter)} test_iter"
            + ("" if given else "; there is no test net: add net or test_net, or remove test_iter")
        )
    given += [generic] * missing if generic else []
    if p.test_state and len(p.test_state) != len(given):
        raise ConfigError(
            f"test_state: give it 0 or {len(given)} times, once for each test net, got {len(p.test_state)}"
        )
    if given and p.test_interval < 1:
        raise ConfigError(f"test_interval: must be at least 1 where there are test nets, got {p.test_interval}")
    for number in p.test_iter:
        if number < 1:
            raise ConfigError(f"test_iter: must be at least 1, got {number}")
    return given


class NetSource(NamedTuple):
    """A net to be made: its message, the file it was read from, and where Caffe's log says that it is from."""

    param: Any
    file: str
    told: str


class NetMaker:
    """Makes the nets of one solver. `source` is the solver's file, `allow_unknown` goes to the parser."""

    def __init__(self, param: Any, source: str = MESSAGE, allow_unknown: bool = False, **options: Any):
        self.param, self.source, self.allow_unknown, self.options = param, source, allow_unknown, options
        self.folder = "" if source == MESSAGE else os.path.dirname(os.path.abspath(source))

    def train(self) -> Net:
        """The net to train; ConfigError unless the solver names exactly one."""
        with locating(self.source):
            field = training_field(self.param)
        value = getattr(self.param, field)
        net = self.find(field, value)
        how = "from" if isinstance(value, str) else "specified in"
        tell("solver.cpp:87", f"Creating training net {how} {net.told}{'.' if how != 'from' else ''}")
        return self.make(net, caffe_pb2.TRAIN, self.param.train_state)

    def tests(self, trained: Net) -> list[Net]:
        """The nets to test, each using the parameters of the trained one."""
        found = self.test_nets()
        states = list(self.param.test_state) or [caffe_pb2.NetState()] * len(found)
        nets = []
        for number, (net, state) in enumerate(zip(found, states)):
            tell("solver.cpp:172", f"Creating test net (#{number}) specified by {net.told}")
            only = bool(self.options.get("share_memory"))  # a person may run its backward, a command does not
            nets.append(self.make(net, caffe_pb2.TEST, state, trained=trained, forward_only=only))
        return nets

    def test_nets(self) -> list[NetSource]:
        """Every test net; ConfigError if what the solver says of them does not fit together."""
        with locating(self.source):
            found = test_fields(self.param)
        return [self.find(*one) for one in found]

    def find(self, field: str, value: Any) -> NetSource:
        """The net that a field of the solver names or holds."""
        if not isinstance(value, str):
            return NetSource(value, self.source, field)
        found = find_path(value, self.folder)
        with locating(self.source):
            if not os.path.exists(found):
                tried = f" (looked there and in {self.folder})" if self.folder and not os.path.isabs(value) else ""
                raise ConfigError(f"{field}: no such file: {value}{tried}")
        return NetSource(upgrade.read_net(found, self.allow_unknown), found, f"{field} file: {value}")

    def make(self, net: NetSource, phase: int, state: Any, **more: Any) -> Net:
        """A net in this phase, unless its own or the solver's state says another: those are merged over it."""
        chosen = NetParameter()
        chosen.CopyFrom(net.param)
        chosen.state.Clear()
        for one in (caffe_pb2.NetState(phase=phase), net.param.state, state):
            chosen.state.MergeFrom(one)
        return Net.from_proto(chosen, net.file, **self.options, **more)
