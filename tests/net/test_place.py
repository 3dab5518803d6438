"""Buffers share memory only with those that are dead while they live, and nets do not notice that they do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycaffe_lite import Net, random
from pycaffe_lite.backend.cpu import quota
from pycaffe_lite.device import CPU
from pycaffe_lite.errors import DeviceError
from pycaffe_lite.memory import Memory
from pycaffe_lite.net.place import Buffer, offsets, place
from pycaffe_lite.proto import NetParameter, text

LIVES = st.tuples(st.integers(0, 200), st.integers(0, 12), st.integers(0, 12)).map(
    lambda t: Buffer(Memory(t[0]), min(t[1:]), max(t[1:]))
)


@given(st.lists(LIVES, max_size=15), st.booleans())
def test_what_lives_at_the_same_time_never_overlaps(buffers, share):
    at, total = offsets(buffers, share)
    places = [(start, start + b.size, b) for start, b in zip(at, buffers, strict=True)]
    for i, (low, high, one) in enumerate(places):
        assert low >= 0 and high <= total and low % 16 == 0
        for other_low, other_high, other in places[:i]:
            together = not share or (one.first <= other.last and other.first <= one.last)
            assert not together or high <= other_low or other_high <= low
    needed = max((sum(b.size for b in buffers if b.first <= t <= b.last) for t in range(13)), default=0)
    assert needed <= total <= sum(b.size for b in buffers)


def test_a_chain_needs_two_buffers():
    buffers = [Buffer(Memory(1000), i, i + 1) for i in range(10)]
    assert offsets(buffers, share=True)[1] == 2 * buffers[0].size
    assert offsets(buffers, share=False)[1] == 10 * buffers[0].size


def test_placing_gives_pieces_of_one_arena_and_nothing_to_empty_ones():
    buffers = [Buffer(Memory(n), 0, 0) for n in (5, 0, 20)]
    arena = place(buffers, CPU)
    arena[:] = np.arange(arena.size)
    assert [b.memory.to_host().tolist()[:1] for b in buffers] == [[0], [], [16]]
    assert all(b.memory.to_host().ctypes.data % 64 == 0 for b in buffers if b.memory.count)
    assert place([], CPU) is None


# Nets with shared memory -------------------------------------------------------------------------------------

INPUT = 'layer { name: "x" type: "Input" top: "x" top: "t" input_param { shape { dim: 3 dim: 8 } } }'
KINDS = {
    "ip": 'type: "InnerProduct" inner_product_param { num_output: 8 weight_filler { type: "xavier" } }',
    "relu": 'type: "ReLU"',
    "sigmoid": 'type: "Sigmoid"',
    "tanh": 'type: "TanH"',
    "power": 'type: "Power" power_param { power: 2 scale: 0.5 shift: 0.1 }',
    "dropout": 'type: "Dropout"',
    "softmax": 'type: "Softmax"',
}


@st.composite
def nets(draw) -> str:
    """Branching nets with several losses, in-place layers, side outputs and frozen parts."""
    blobs, lines = ["x"], [INPUT]
    for number in range(draw(st.integers(1, 10))):
        kind = draw(st.sampled_from([*KINDS, "ip", "loss"]))
        bottom = draw(st.sampled_from(blobs[-3:]))
        top = f"b{number}"
        if kind == "loss":
            lines.append(
                f'layer {{ name: "l{number}" type: "EuclideanLoss" bottom: "{bottom}" bottom: "t" top: "{top}" }}'
            )
            continue
        unread = bottom != "x" and not any(f'bottom: "{bottom}"' in line for line in lines)
        if unread and bottom == blobs[-1] and not draw(st.integers(0, 2)):
            top = bottom
        frozen = "param { lr_mult: 0 }" if kind == "ip" and not draw(st.integers(0, 3)) else ""
        lines.append(f'layer {{ name: "l{number}" {KINDS[kind]} {frozen} bottom: "{bottom}" top: "{top}" }}')
        if top not in blobs:
            blobs.append(top)
    lines.append(f'layer {{ name: "loss" type: "EuclideanLoss" bottom: "{blobs[-1]}" bottom: "t" top: "loss" }}')
    return "\n".join(lines)


def built(source: str, **options) -> Net:
    param = text.parse(source, NetParameter())
    param.state.phase = 0
    random.set_random_seed(3)
    return Net.from_proto(param, **options)


def trained(net: Net) -> list[np.ndarray]:
    """Outputs and parameter gradients of three iterations, each with other inputs."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(3):
        for name in net.inputs:
            net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
        net.clear_param_diffs()
        found.append(np.array(net.run_forward()))
        net.run_backward()
        found += [net.blobs[name].data.copy() for name in net.outputs]
        found += [blob.diff.copy() for blobs in net.params.values() for blob in blobs]
    return found


@settings(max_examples=60, deadline=None)
@given(nets())
def test_shared_memory_changes_no_result(source):
    plain, shared = built(source), built(source, share_memory=True)
    for a, b in zip(trained(plain), trained(shared), strict=True):
        np.testing.assert_array_equal(a, b)
    assert shared.memory_bytes["activations"] <= plain.memory_bytes["activations"]


DEEP = "\n".join(
    [
        INPUT,
        *(
            f'layer {{ name: "l{i}" {KINDS["sigmoid"]} bottom: "{f"b{i - 1}" if i else "x"}" top: "b{i}" }}'
            for i in range(30)
        ),
    ]
)


def test_a_net_that_only_runs_forward_needs_a_fraction():
    plain, shared = built(DEEP), built(DEEP, share_memory=True)
    assert shared.memory_bytes["activations"] < plain.memory_bytes["activations"] / 4


def test_a_blob_that_is_to_be_kept_is_kept():
    plain, shared = built(DEEP), built(DEEP, share_memory=True, keep=["b7"])
    for net in (plain, shared):
        net.forward(x=np.ones((3, 8)), t=np.ones((3, 8)))
    np.testing.assert_array_equal(shared.blobs["b7"].data, plain.blobs["b7"].data)


@pytest.mark.parametrize("share", [False, True])
def test_parameters_lie_behind_each_other_for_the_solver(share):
    net = built(INPUT + f'layer {{ name: "a" {KINDS["ip"]} bottom: "x" top: "a" }}', share_memory=share)
    weight, bias = net.params["a"]
    net.fill_parameters()  # before they are overwritten
    net.graph.flat_data[...] = np.arange(net.graph.flat_data.size)
    assert weight.data.reshape(-1).tolist() == list(range(64)) and bias.data.tolist() == list(range(64, 72))


def test_a_plan_that_is_larger_than_memory_is_refused_with_its_numbers(monkeypatch):
    from pycaffe_lite.backend.cpu import quota

    monkeypatch.setattr(quota, "memory", lambda: 2000)
    with pytest.raises(DeviceError, match=r"MB of memory are needed, .* has 0\.0 MB; net '' needs .*: .*activations"):
        built(DEEP)
    monkeypatch.setattr(quota, "memory", lambda: None)
    built(DEEP)


def test_what_no_machine_has_is_refused_too():
    source = INPUT.replace("dim: 3", "dim: 200000000").replace("dim: 8", "dim: 10")
    chain = "\n".join(f'layer {{ name: "p{i}" type: "Power" bottom: "x" top: "p{i}" }}' for i in range(200))
    with pytest.raises(DeviceError, match=r"A batch_size of \d+ with iter_size \d+ should fit, for 200000000 as now"):
        built(source + chain)


def test_a_change_of_shape_to_more_than_there_is_memory_is_refused_and_may_be_taken_back(monkeypatch):
    net = Net.from_prototxt(
        'name: "small" layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 100 } } }'
        'layer { name: "abs" type: "AbsVal" bottom: "x" top: "y" }'
    )
    net.forward()
    monkeypatch.setattr(quota, "memory", lambda: 1_000_000)
    net.blobs["x"].reshape(4000, 100)
    for _ in range(2):  # it goes on being refused
        with pytest.raises(DeviceError, match=r"3\.1 MB of memory are needed.* should fit, for 4000 as now"):
            net.forward()
    net.blobs["x"].reshape(8, 100)
    assert net.forward()["y"].shape == (8, 100)


POOLED = (
    'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } } '
    'layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 3 stride: 2 } } '
    'layer { name: "n" type: "LRN" bottom: "p" top: "n" } '
    'layer { name: "v" type: "Pooling" bottom: "n" top: "v" top: "m" pooling_param { kernel_size: 2 } } '
    'layer { name: "s" type: "SPP" bottom: "n" top: "s" spp_param { pyramid_height: 2 } } '
)


@pytest.mark.parametrize("batch", [2, 1, 5, 0])
def test_without_backward_layers_use_their_scratch_in_turn(device, batch):
    plain, small = built(POOLED), built(POOLED, forward_only=True)
    assert 0 < small.memory_bytes["scratch"] < plain.memory_bytes["scratch"]
    rng = np.random.default_rng(0)
    for _ in range(2):
        for net in (plain, small):
            net.blobs["x"].reshape(batch, 3, 9, 9)
        x = rng.standard_normal((batch, 3, 9, 9))
        wanted = plain.forward(x=x)
        for name, found in small.forward(x=x).items():
            np.testing.assert_array_equal(found, wanted[name])
    rooms = [small.layer_dict[name].argmax0 for name in ("p", "v", "s")]
    if device is CPU and batch:
        assert all(np.shares_memory(room, small.graph.room) for room in rooms)
