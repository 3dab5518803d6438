"""Which nets a solver trains and tests, from the many ways a SolverParameter can say it."""

from __future__ import annotations

import os
from typing import Any

from ..errors import ConfigError
from ..logs import tell
from ..net.net import Net
from ..proto import NetParameter, caffe_pb2, upgrade

TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


def find_file(path: str, folder: str) -> str:
    """The path as it is, or else relative to the solver's folder."""
    if os.path.exists(path) or os.path.isabs(path):
        return path
    beside = os.path.join(folder, path)
    return beside if os.path.exists(beside) else path


class NetMaker:
    """Makes the nets of one solver. `folder` is the solver file's, `allow_unknown` goes to the parser."""

    def __init__(self, param: Any, folder: str = "", allow_unknown: bool = False, **options: Any):
        self.param, self.folder, self.allow_unknown, self.options = param, folder, allow_unknown, options

    def read(self, path: str, field: str) -> tuple[Any, str]:
        found = find_file(path, self.folder)
        if not os.path.exists(found):
            tried = f" (looked there and in {self.folder})" if self.folder and not os.path.isabs(path) else ""
            raise ConfigError(f"{field}: no such file: {path}{tried}")
        return upgrade.read_net(found, allow_unknown=self.allow_unknown), found

    def train(self) -> Net:
        """The net to train; ConfigError unless the solver names exactly one."""
        p = self.param
        given = [f for f in TRAIN_FIELDS if p.HasField(f)]
        if len(given) != 1:
            raise ConfigError(
                f"the solver must name its training net once, in one of {', '.join(TRAIN_FIELDS)}; "
                f"got {' and '.join(given) or 'none of them'}"
            )
        if given[0].endswith("param"):
            net, source = getattr(p, given[0]), "<message>"
        else:
            net, source = self.read(getattr(p, given[0]), given[0])
        tell(
            "solver.cpp:87",
            f"Creating training net from {given[0]} file: {getattr(p, given[0])}"
            if source != "<message>"
            else f"Creating training net specified in {given[0]}.",
        )
        return self.make(net, source, caffe_pb2.TRAIN, p.train_state)

    def tests(self, trained: Net) -> list[Net]:
        """The nets to test, each using the parameters of the trained one."""
        sources = self.test_sources()
        states = list(self.param.test_state) or [caffe_pb2.NetState()] * len(sources)
        nets = []
        for number, ((net, source), state) in enumerate(zip(sources, states)):
            tell("solver.cpp:172", f"Creating test net (#{number}) specified by {source}")
            nets.append(self.make(net, source, caffe_pb2.TEST, state, trained=trained))
        return nets

    def test_sources(self) -> list[tuple[Any, str]]:
        """Every test net as (NetParameter, where from); the generic net fills up to the number of test_iter."""
        p = self.param
        sources = [(net, "<message>") for net in p.test_net_param]
        sources += [self.read(path, "test_net") for path in p.test_net]
        generic = p.HasField("net") or p.HasField("net_param")
        wanted = len(p.test_iter)
        if wanted < len(sources) or (not generic and wanted != len(sources)):
            raise ConfigError(
                f"test_iter: give it once for each test net: {len(sources)} test net(s), {wanted} test_iter"
                + ("" if sources else "; there is no test net: add net or test_net, or remove test_iter")
            )
        if generic and wanted > len(sources):
            one = (p.net_param, "<message>") if p.HasField("net_param") else self.read(p.net, "net")
            sources += [one] * (wanted - len(sources))
        if p.test_state and len(p.test_state) != len(sources):
            raise ConfigError(
                f"test_state: give it 0 or {len(sources)} times, once for each test net, got {len(p.test_state)}"
            )
        if sources and p.test_interval < 1:
            raise ConfigError(f"test_interval: must be at least 1 where there are test nets, got {p.test_interval}")
        for count in p.test_iter:
            if count < 1:
                raise ConfigError(f"test_iter: must be at least 1, got {count}")
        return sources

    def make(self, net: Any, source: str, phase: int, state: Any, **more: Any) -> Net:
        """A net in this phase; the solver's state is merged over the net's own, as Caffe does."""
        chosen = NetParameter()
        chosen.CopyFrom(net)
        chosen.state.phase = phase
        merged = caffe_pb2.NetState(phase=phase)
        merged.MergeFrom(net.state)
        merged.MergeFrom(state)
        merged.phase = phase
        chosen.state.CopyFrom(merged)
        return Net.from_proto(chosen, source, **self.options, **more)
