"""Which layers of a net belong to its phase, level and stages: Caffe's Net::FilterNet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .. import logs
from ..errors import ConfigError
from ..proto import LayerParameter, NetParameter, NetState, NetStateRule
from ..proto.schema import copy_without

as_caffe = partial(logs.tell, "net.cpp:294")


def select(net: NetParameter, tell: Callable[[str], None] = as_caffe) -> NetParameter:
    """The net with only the layers that its `state` includes; `tell` gets a line for every rule not met."""
    selected = copy_without(net, "layer")
    selected.layer.extend(layer for layer in net.layer if included(layer, net.state, tell))
    return selected


def included(layer: LayerParameter, state: NetState, tell: Callable[[str], None]) -> bool:
    """Whether a net of this state has the layer."""
    if layer.include and layer.exclude:
        raise ConfigError(f"layer {layer.name!r} ({layer.type}): specify include rules or exclude rules, not both")
    if layer.include:
        return any(_meets(state, rule, layer.name, tell) for rule in layer.include)
    return not any(_meets(state, rule, layer.name, tell) for rule in layer.exclude)


def _meets(state: NetState, rule: NetStateRule, layer_name: str, tell: Callable[[str], None]) -> bool:
    problem = why_not(state, rule)
    if problem:
        tell(f"The NetState {problem} specified by a rule in layer {layer_name}")
    return not problem


def why_not(state: NetState, rule: NetStateRule) -> str:
    """What keeps a state from meeting a rule, in the words of Caffe's log; empty if it meets the rule."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return f"phase ({state.phase}) differed from the phase ({rule.phase})"
    if rule.HasField("min_level") and state.level < rule.min_level:
        return f"level ({state.level}) is above the min_level ({rule.min_level})"  # sic: Caffe says "above"
    if rule.HasField("max_level") and state.level > rule.max_level:
        return f"level ({state.level}) is above the max_level ({rule.max_level})"
    for stage in rule.stage:
        if stage not in state.stage:
            return f"did not contain stage '{stage}'"
    for stage in rule.not_stage:
        if stage in state.stage:
            return f"contained a not_stage '{stage}'"
    return ""
