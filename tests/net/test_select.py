"""Layers are part of a net, or not, by the rules that Caffe follows."""

from __future__ import annotations

import pytest

from pycaffe_lite.errors import ConfigError
from pycaffe_lite.net.select import select
from pycaffe_lite.proto import NetParameter, NetState
from pycaffe_lite.proto.text import parse

TRAIN, TEST = "phase: TRAIN", "phase: TEST"


def included(rules, state):
    """Whether a layer with these rules is in a net with this state, and what was said about it."""
    net = parse(f'state {{ {state} }} layer {{ name: "x" {rules} }}', NetParameter())
    said = []
    return bool(select(net, said.append).layer), said


@pytest.mark.parametrize(
    "rules, state, expected",
    [
        ("", TRAIN, True),
        ("include { phase: TRAIN }", TRAIN, True),
        ("include { phase: TRAIN }", TEST, False),
        ("include { phase: TRAIN }", "", False),  # TEST by default
        ("exclude { phase: TRAIN }", TRAIN, False),
        ("exclude { phase: TRAIN }", TEST, True),
        ("include { }", TEST, True),
        ("exclude { }", TEST, False),
        ("include { phase: TRAIN } include { phase: TEST }", TEST, True),
        ("exclude { phase: TRAIN } exclude { phase: TEST }", TEST, False),
        ("include { min_level: 2 }", "level: 2", True),
        ("include { min_level: 2 }", "level: 1", False),
        ("include { max_level: -1 }", "level: -1", True),
        ("include { max_level: -1 }", "", False),
        ("include { min_level: 1 max_level: 3 }", "level: 2", True),
        ("include { stage: 'a' }", "stage: 'a' stage: 'b'", True),
        ("include { stage: 'a' stage: 'c' }", "stage: 'a' stage: 'b'", False),
        ("include { not_stage: 'a' }", "stage: 'b'", True),
        ("include { not_stage: 'a' not_stage: 'b' }", "stage: 'b'", False),
        ("exclude { stage: 'deploy' }", "stage: 'deploy'", False),
        ("include { phase: TEST stage: 'a' }", "phase: TRAIN stage: 'a'", False),
    ],
)
def test_rules(rules, state, expected):
    assert included(rules, state)[0] is expected


@pytest.mark.parametrize(
    "rules, state, line",
    [
        ("include { phase: TRAIN }", TEST, "phase (1) differed from the phase (0)"),
        ("include { min_level: 2 }", "level: 1", "level (1) is above the min_level (2)"),
        ("include { max_level: 2 }", "level: 3", "level (3) is above the max_level (2)"),
        ("include { stage: 'a' }", "", "did not contain stage 'a'"),
        ("include { not_stage: 'a' }", "stage: 'a'", "contained a not_stage 'a'"),
    ],
)
def test_caffes_words_tell_which_rule_was_not_met(rules, state, line):
    assert included(rules, state)[1] == [f"The NetState {line} specified by a rule in layer x"]


def test_both_kinds_of_rules():
    net = parse('layer { name: "x" type: "ReLU" include { } exclude { } }', NetParameter())
    with pytest.raises(ConfigError) as caught:
        select(net)
    assert str(caught.value) == "layer 'x' (ReLU): specify include rules or exclude rules, not both"


def test_everything_else_is_kept():
    text = 'name: "n" force_backward: true layer { name: "a" } layer { name: "b" include { phase: TRAIN } }'
    net = parse(text, NetParameter())
    expected = parse('name: "n" force_backward: true layer { name: "a" }', NetParameter())
    assert select(net) == expected
    assert len(net.layer) == 2
    net.state.CopyFrom(NetState(phase=0))
    assert select(net) == net
