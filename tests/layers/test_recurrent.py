"""Recurrent layers: what goes on from one forward to the next, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from exam import Case, build, spread

from pycaffe_lite.errors import ConfigError, DataError

KINDS = {"RNN": 1, "LSTM": 2}


def net_of(kind, steps, fields="num_output: 4", extra=(), tops=1):
    bottoms = [spread((steps, 2, 3)), np.ones((steps, 2)), *extra]
    return build(Case(f'type: "{kind}" recurrent_param {{ {fields} }}', bottoms, tops=tops))


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_goes_on_until_it_is_reset(kind):
    net = net_of(kind, 2)

    def run():
        net.run_forward()
        return net.blobs["y0"].data.copy()

    first, second = run(), run()
    assert not np.allclose(first, second)
    net.layer_dict["l"].reset()
    assert np.array_equal(run(), first)
    net.blobs["x1"].data[0] = 0  # a sequence that begins does not see it either
    assert np.array_equal(run(), first)


@pytest.mark.parametrize("kind", KINDS)
def test_two_forwards_of_half_a_sequence_are_one_of_the_whole(kind):
    whole, half = net_of(kind, 6), net_of(kind, 3)
    whole.run_forward()
    for part in (slice(0, 3), slice(3, 6)):
        half.blobs["x0"].data[...] = whole.blobs["x0"].data[part]
        half.run_forward()
        assert np.allclose(half.blobs["y0"].data, whole.blobs["y0"].data[part])


@pytest.mark.parametrize(("kind", "states"), KINDS.items())
def test_no_gradient_passes_through_exposed_states(kind, states):
    hidden = [spread((1, 2, 4), 7 + i) for i in range(states)]
    net = net_of(kind, 3, "num_output: 4 expose_hidden: true", hidden, tops=1 + states)
    net.run_forward()
    for i, top in enumerate(net.layer_dict["l"].message.top):
        net.blobs[top].diff[...] = 1 if i == 0 else np.nan
    net.run_backward()
    assert np.isfinite(net.blobs["x0"].diff).all()
    for i in range(states):
        assert (net.blobs[f"x{2 + i}"].diff == 0).all()


@pytest.mark.parametrize(
    ("kind", "bottoms", "marker"),
    [
        ("RNN", [(2, 3, 4), (2, 3)], 1),
        ("LSTM", [(2, 3, 4), (2, 3)], 1),
        ("LSTMUnit", [(1, 3, 1), (1, 3, 4), (1, 3)], 2),
    ],
)
@pytest.mark.parametrize("value", [0.5, -1, 2, np.nan])
def test_markers_other_than_0_and_1_are_refused(kind, bottoms, marker, value):
    cont = np.ones(bottoms[marker])
    cont[-1, 1] = value
    bottoms = [*bottoms[:marker], cont]
    fields = "" if kind == "LSTMUnit" else "recurrent_param { num_output: 2 }"
    net = build(Case(f'type: "{kind}" {fields}', bottoms, tops=2 if kind == "LSTMUnit" else 1))
    with pytest.raises(
        DataError, match=rf"bottom {marker} \('x{marker}'\) must be 0 .* step {len(cont) - 1} of stream 1"
    ):
        net.run_forward()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "bottoms", "message"),
    [
        ("", [(2, 3), (2, 3)], "num_output: must be at least 1, got 0"),
        ("num_output: 2", [(2,), (2,)], r"bottom 0: must have shape \(time steps, streams, ...\), .* got \(2,\)"),
        ("num_output: 2", [(2, 3), (2, 3, 1)], r"bottom 1: the markers must have shape \(2, 3\), .* \(2, 3, 1\)"),
        ("num_output: 2", [(2, 3), (3, 2)], "bottom 1: the markers must have shape"),
        ("num_output: 2", [(2, 3), (2, 3), (2, 4)], "bottom 2: the static input must be for 3 streams, got shape"),
        ("num_output: 2", [(2, 3)], "takes 2 to 3 bottom"),
        ("num_output: 2", [(2, 3)] * 4, "takes 2 to 3 bottom"),
        ("num_output: 2 expose_hidden: true", [(2, 3)] * 2, "takes [34] to [45] bottom"),
    ],
)
def test_impossible_recurrent_layers_are_refused(kind, fields, bottoms, message):
    tops = 1 + ("expose" in fields) * KINDS[kind]
    with pytest.raises(ConfigError, match=rf"layer 'l' \({kind}\): .*{message}"):
        build(Case(f'type: "{kind}" recurrent_param {{ {fields} }}', bottoms, tops=tops))


@pytest.mark.parametrize(("kind", "states"), KINDS.items())
def test_states_of_another_shape_are_refused(kind, states):
    with pytest.raises(ConfigError, match=r"the hidden state must have shape \(1, 2, 4\), got \(2, 4\)"):
        net_of(kind, 3, "num_output: 4 expose_hidden: true", [(2, 4)] * states, tops=1 + states)


@pytest.mark.parametrize(
    ("bottoms", "message"),
    [
        ([(2, 3, 1), (1, 3, 4), (1, 3)], r"bottom 0: must have shape \(1, N, D\), got \(2, 3, 1\)"),
        ([(1, 3, 1), (1, 3, 3), (1, 3)], r"bottom 1: must have shape \(1, 3, 4\), got \(1, 3, 3\)"),
        ([(1, 3, 1), (1, 3, 4), (3,)], r"bottom 2: must have shape \(1, 3\), got \(3,\)"),
        ([(1, 3, 1), (1, 3, 4)], "takes exactly 3 bottom"),
    ],
)
def test_impossible_units_are_refused(bottoms, message):
    with pytest.raises(ConfigError, match=rf"layer 'l' \(LSTMUnit\): .*{message}"):
        build(Case('type: "LSTMUnit"', bottoms, tops=2))
