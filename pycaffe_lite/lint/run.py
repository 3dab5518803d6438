"""Lint a file: find out what it is, look at it in every phase, and say where each finding is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ConfigError, PrototxtError, suggest
from ..net import offline
from ..net.locate import entry_of
from ..paths import find_path
from ..proto import NetParameter, SolverParameter, caffe_pb2, text, upgrade
from ..proto.outline import Outline, read_outline
from .rules import BOTH, ERROR, LEVELS, NET, SOLVER, TESTED, TRAINED, Hit, Rule, all_rules
from .view import NetView, PairView, SolverView, Weights

SOLVER_FIELDS = {field.name for field in SolverParameter.DESCRIPTOR.fields}
NET_FIELDS = {field.name for field in NetParameter.DESCRIPTOR.fields}


@dataclass
class Finding:
    """One finding: where (`file:line:column`, or the file), what, why it matters, what to do, in which phases."""

    level: str
    rule: str
    where: str
    layer: str
    what: str
    why: str
    fix: str
    phases: list[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass
class Options:
    """What a person asked for on the command line."""

    shapes: list[str]
    weights: str = ""
    ignored: Iterable[str] = ()
    level: int = 0
    stages: Iterable[str] = ()
    allow_unknown: bool = False


class Linter:
    """Collects the findings of one file and of those it names."""

    def __init__(self, options: Options):
        self.options, self.findings, self.notes = options, [], []  # type: ignore[var-annotated]
        unknown = [name for name in options.ignored if name not in all_rules()]
        if unknown:
            raise ConfigError(f"--ignore: there is no rule {unknown[0]!r}{suggest(unknown[0], all_rules())}")
        self._rules = [rule for rule in all_rules().values() if rule.name not in set(options.ignored)]
        self._outlines: dict[str, Outline | None] = {}
        self._open = ExitStack()

    def lint(self, path: str) -> list[Finding]:
        """All findings on a net or solver, the worst first. PrototxtError if there is no such file."""
        try:
            with self._open:
                if is_solver(path):
                    self.lint_solver(path)
                else:
                    raw = text.read(path, NetParameter, self.options.allow_unknown)
                    self.lint_net(path, raw, self.weights([self.options.weights]))
        except PrototxtError as error:
            if not os.path.isfile(path):
                raise  # nothing was there to look at
            where, _, what = str(error).partition(": ")
            self.add(Hit(what, "correct it"), REFUSED, where)
        order = {level: place for place, level in enumerate(LEVELS)}
        return sorted(self.findings, key=lambda finding: order[finding.level])

    def weights(self, paths: Iterable[str]) -> Weights:
        """The layers in files that will be loaded one after the other."""
        from ..formats import weights

        found: Weights = {}
        for path in filter(None, paths):
            found |= {layer.name: layer for layer in self._open.enter_context(weights.opened(path))}
        return found

    # Nets --------------------------------------------------------------------------------------------------

    def lint_net(self, path: str, raw: Any, weights: Weights) -> None:
        """A net in its phases: one without a loss is never trained, and one with, but without a word of phases, may
        have another file for TEST."""
        net = upgrade.upgrade_net(raw, path)
        train, test = (self.view(path, raw, net, phase, weights) for phase in (offline.TRAIN, offline.TEST))
        if not train.trains:
            self.judge([test])
        elif not names_phases(net):
            self.judge([train])
        else:
            self.judge([train, test])
            self.apply(BOTH, PairView(train, test), path, None, [])

    def view(self, path: str, raw: Any, net: Any, phase: int, weights: Weights, state: Any = None) -> NetView:
        """A net in one phase (and the state that a solver gives)."""
        level = state.level if state else self.options.level
        stages = list(state.stage) if state else list(self.options.stages)
        chosen = offline.in_state(net, phase, level, stages)
        shapes = offline.parse_shapes(self.options.shapes, chosen) if offline.input_names(chosen) else {}
        folder = offline.folder_of(path) if os.path.exists(path) else ""
        return NetView(chosen, raw, phase, path, folder, shapes, weights)

    def judge(self, views: list[NetView]) -> None:
        """Apply the rules on nets to views of one net."""
        for view in views:
            phase = [view.phase_name]
            state = view.param.state
            if view.problem:
                self.add_problem(view)
                continue
            if view.unknown:
                self.notes.append(f"{view.phase_name}: shapes are not known, so not all was looked at: {view.unknown}")
            self.apply(NET, view, view.source, state, phase)
            if view.trains and view.phase == offline.TRAIN:
                self.apply(TRAINED, view, view.source, state, phase)
            if view.phase == offline.TEST:
                self.apply(TESTED, view, view.source, state, phase)

    def add_problem(self, view: NetView) -> None:
        """A net that cannot be built: what building it says."""
        what = str(view.problem)
        self.add(Hit(what, "correct it"), REFUSED, self.where(view.source, what, view.param.state), [view.phase_name])

    # Solvers -----------------------------------------------------------------------------------------------

    def lint_solver(self, path: str) -> None:
        """A solver, and the nets that it names."""
        param = upgrade.read_solver(path, self.options.allow_unknown)
        views = list(self.nets_of(param, path))
        self.judge(views)
        train, test = (next((v for v in views if v.phase == p), None) for p in (offline.TRAIN, offline.TEST))
        if train and test and train.source == test.source and names_phases(train.raw):
            self.apply(BOTH, PairView(train, test), train.source, None, [])
        self.apply(SOLVER, SolverView(param, path, views), path, None, [])

    def nets_of(self, param: Any, path: str) -> Iterator[NetView]:
        """The nets of a solver: the one it trains, and one for each test_iter."""
        weights = self.weights([*self.weights_of(param, path), self.options.weights])
        trained = [
            self.read(param, name, path)
            for name in ("train_net", "train_net_param", "net", "net_param")
            if param.HasField(name)
        ]
        tested = [(net, path) for net in param.test_net_param]
        tested += [self.read_file(name, "test_net", path) for name in param.test_net]
        generic = [self.read(param, name, path) for name in ("net", "net_param") if param.HasField(name)]
        tested += generic * (len(param.test_iter) - len(tested))
        states = list(param.test_state) + [caffe_pb2.NetState()] * len(tested)
        chosen = [(net, offline.TRAIN, param.train_state) for net in trained[:1]]
        chosen += [(net, offline.TEST, state) for net, state in zip(tested, states)]
        for net, phase, state in chosen:
            if net is not None:
                raw, source = net
                yield self.view(source, raw, upgrade.upgrade_net(raw, source), phase, weights, state)

    def weights_of(self, param: Any, path: str) -> Iterator[str]:
        """The files of weights that a solver names, as far as they are there; a finding for each that is not."""
        for name in filter(None, (name.strip() for given in param.weights for name in given.split(","))):
            found = find_path(name, offline.folder_of(path))
            if os.path.exists(found):
                yield found
            else:
                self.add_missing(name, "weights", path)

    def read(self, param: Any, field: str, path: str) -> tuple[Any, str] | None:
        """The net in a field of a solver."""
        value = getattr(param, field)
        return self.read_file(value, field, path) if isinstance(value, str) else (value, path)

    def read_file(self, name: str, field: str, path: str) -> tuple[Any, str] | None:
        """The net in a file that a solver names; a finding if it cannot be read."""
        found = find_path(name, offline.folder_of(path))
        if not os.path.exists(found):
            self.add_missing(name, field, path)
            return None
        try:
            return text.read(found, NetParameter, self.options.allow_unknown), found
        except PrototxtError as error:
            where, _, what = str(error).partition(": ")
            self.add(Hit(what, "correct it"), REFUSED, where)
            return None

    def add_missing(self, name: str, field: str, path: str) -> None:
        """A file that a solver names, and that is not there."""
        beside = os.path.basename(name)
        fix = "paths start from here, or from the solver's folder"
        if os.path.exists(os.path.join(offline.folder_of(path), beside)):
            fix = f'{field}: "{beside}", which lies beside the solver'
        self.add(Hit(f"there is no file {name!r}", fix, field=field), MISSING, self.where(path, f"{field}: "))

    # Findings ----------------------------------------------------------------------------------------------

    def apply(self, looks_at: str, view: Any, source: str, state: Any, phases: list[str]) -> None:
        """Everything that the rules for this kind of view find in it."""
        for rule in self._rules:
            if rule.looks_at == looks_at:
                for hit in rule.find(view):
                    named = f"layer {hit.layer.name!r}: {hit.field}: " if hit.layer is not None else f"{hit.field}: "
                    self.add(hit, rule, self.where(source, named, state), phases)

    def where(self, source: str, named: str, state: Any = None) -> str:
        """`file:line:column` of the layer or field that a text names, or the file."""
        if source not in self._outlines:
            self._outlines[source] = read_outline(source) if os.path.isfile(source) else None
        outline = self._outlines[source]
        entry = outline and entry_of(outline, named, state)
        return outline.where(entry.at) if outline and entry else source

    def add(self, hit: Hit, rule: Rule, where: str, phases: Iterable[str] = ()) -> None:
        """Note a finding; the same one in another phase is the same."""
        layer = hit.layer.name if hit.layer is not None else ""
        what = f"layer {layer!r} ({hit.layer.type}): {hit.what}" if layer and not hit.general else hit.what
        what = f"{hit.field}: {what}" if hit.field and hit.layer is None else what
        for old in self.findings:
            if (old.rule, old.where, old.what) == (rule.name, where, what):
                old.phases += [phase for phase in phases if phase not in old.phases]
                return
        self.findings.append(
            Finding(hit.level or rule.level, rule.name, where, layer, what, rule.why, hit.fix, list(phases))
        )


def _nothing(view: Any) -> Iterator[Hit]:
    return iter(())


REFUSED = Rule("refused", ERROR, NET, "Caffe's rules do not allow it: the net would not be built.", _nothing)
MISSING = Rule("missing-file", ERROR, SOLVER, "Training would not begin.", _nothing)


def names_phases(net: Any) -> bool:
    """Whether some layer of a net is for one phase only."""
    layers = [*net.layer, *net.layers]
    return any(rule.HasField("phase") for layer in layers for rule in [*layer.include, *layer.exclude])


def is_solver(path: str) -> bool:
    """Whether a file has fields of a solver, and none of a net's own."""
    outline = read_outline(path)
    names = {entry.name for entry in outline.entries} if outline else set()
    return bool(names & SOLVER_FIELDS - NET_FIELDS) and not names & {"layer", "layers", "input"}
