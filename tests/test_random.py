"""Random numbers: Philox against its authors' answers, and one seed for everything."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pycaffe_lite import Net, random
from pycaffe_lite.kernel import kernel
from pycaffe_lite.proto import NetParameter, text
from pycaffe_lite.random import philox

# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, and the four words they make.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def joined(low: int, high: int) -> int:
    return low | high << 32


@pytest.mark.parametrize("counter, key, words", KNOWN)
def test_philox_gives_the_answers_of_its_authors(counter, key, words):
    block, step = joined(*counter[:2]), joined(*counter[2:])
    assert tuple(philox(joined(*key), step, block * 4 + word) for word in range(4)) == words


@kernel("keys: long*, steps: long*, indices: long*, count: int -> bits: long*")
def draw(i, keys, steps, indices, count, bits):
    bits[i] = philox(keys[i], steps[i], indices[i])


def compiled(keys, steps, indices) -> np.ndarray:
    bits = np.zeros(len(indices), np.int64)
    draw(*(np.ascontiguousarray(a, np.int64) for a in np.broadcast_arrays(keys, steps, indices)), len(indices), bits)
    return bits


def test_compiled_philox_is_the_same_function():
    rng = np.random.default_rng(0)
    keys, steps, indices = (rng.integers(0, 2**62, 500) for _ in range(3))
    want = [philox(int(k), int(s), int(i)) for k, s, i in zip(keys, steps, indices)]
    assert compiled(keys, steps, indices).tolist() == want


def test_philox_is_uniform_and_indices_are_independent():
    bits = compiled(12345, 7, np.arange(1 << 18))
    assert bits.min() >= 0 and bits.max() < 2**32
    for shift in (0, 8, 16, 24):  # chi-square of each byte: 255 degrees of freedom
        counts = np.bincount(bits >> shift & 0xFF, minlength=256)
        expected = len(bits) / 256
        chi = ((counts - expected) ** 2 / expected).sum()
        assert 160 < chi < 370, f"byte at {shift}: {chi}"
    unit = (bits + 0.5) / 2**32 - 0.5
    for lag in (1, 2, 3, 4, 1024):
        assert abs((unit[lag:] * unit[:-lag]).mean()) * 12 < 5 / math.sqrt(len(bits))


@pytest.mark.parametrize("other", [(12346, 7), (12345, 8)])
def test_another_key_or_counter_gives_other_numbers(other):
    first, second = compiled(12345, 7, np.arange(10000)), compiled(*other, np.arange(10000))
    assert np.count_nonzero(first == second) < 5
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_streams_repeat_from_the_same_seed_and_differ_from_each_other():
    def taken(seed):
        random.set_random_seed(seed)
        return [random.new_key(), random.new_key(), *random.new_generator().integers(0, 2**40, 3)]

    first = taken(5)
    assert first == taken(5)
    assert len({*first, *taken(6)}) == 10
    assert all(0 <= key < 2**62 for key in first[:2])


def test_a_negative_seed_means_a_new_one_each_time():
    keys = []
    for _ in range(2):
        random.set_random_seed(-1)
        keys.append(random.new_key())
    assert keys[0] != keys[1]


NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 6 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" } } }
layer { name: "d" type: "Dropout" bottom: "b" top: "d" }
"""


def run(seed: int) -> list[np.ndarray]:
    random.set_random_seed(seed)
    param = text.parse(NET, NetParameter())
    param.state.phase = 0
    net = Net.from_proto(param)
    net.blobs["x"].data[...] = 1
    outputs = [net.forward()["d"].copy() for _ in range(2)]
    return [b.data for blobs in net.params.values() for b in blobs] + outputs


def test_the_same_seed_makes_the_same_net_and_the_same_dropout():
    first, again, other = run(3), run(3), run(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first[0], other[0]) and not np.array_equal(first[-1], other[-1])
    assert not np.array_equal(first[-1], first[-2]), "each forward drops other values"
