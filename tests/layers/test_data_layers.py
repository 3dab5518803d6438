"""DummyData and MemoryData: what is filled when, whose batch comes next, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.errors import CaffeError, ConfigError, DataError
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, text


def dummy(fields: str, tops: str = "top: 'a'") -> Net:
    return net_of(f"type: 'DummyData' {tops} dummy_data_param {{ {fields} }}")


def net_of(layer: str) -> Net:
    return Net.from_proto(text.parse(f"layer {{ name: 'd' {layer} }}", NetParameter()))


def test_constants_are_there_at_once_and_what_the_caller_writes_stays():
    net = dummy("shape { dim: 4 } data_filler { value: 2 }")
    assert (net.blobs["a"].data == 2).all()
    net.blobs["a"].data[...] = 7
    net.forward()
    assert (net.blobs["a"].data == 7).all()


def test_other_fillers_draw_anew_in_every_forward():
    net = dummy("shape { dim: 40 } data_filler { type: 'uniform' }")
    first = net.forward()["a"].copy()
    assert len(set(first)) > 1
    assert not np.array_equal(net.forward()["a"], first)


MEMORY = "type: 'MemoryData' top: 'd' top: 'l' memory_data_param { batch_size: 2 channels: 1 height: 3 width: 2 }"


def test_arrays_are_gone_round_in_batches():
    net = net_of(MEMORY)
    net.set_input_arrays(np.arange(24).reshape(4, 1, 3, 2), np.arange(4)[:, None, None, None])
    seen = [net.forward()["l"].tolist() for _ in range(3)]
    assert seen == [[0, 1], [2, 3], [0, 1]]
    assert (net.blobs["d"].data.ravel() == np.arange(12)).all()


def test_images_are_transformed_and_must_be_used_up_first(caplog):
    net = net_of(MEMORY + " transform_param { scale: 0.5 crop_size: 0 mean_value: 4 }")
    layer = net.layers[0]
    layer.add_images(np.full((4, 1, 3, 2), 10, np.uint8), [5, 6, 7, 8])
    net.forward()
    assert (net.blobs["d"].data == 3).all()
    with pytest.raises(DataError, match="before those added last are used up"):
        layer.add_images(np.zeros((2, 1, 3, 2)), [0, 0])
    net.forward()
    layer.add_images(np.zeros((2, 1, 3, 2)), [0, 0])
    net.set_input_arrays(np.zeros((2, 1, 3, 2)), np.zeros(2))
    assert "layer 'd' (MemoryData): arrays are taken as they are, without transform_param" in caplog.text


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (np.zeros((4, 1, 2, 3)), np.zeros(4), r"data must have shape \(n, 1, 3, 2\), got \(4, 1, 2, 3\)"),
        (np.zeros((4, 6)), np.zeros(4), "data must have shape"),
        (np.zeros((3, 1, 3, 2)), np.zeros(3), "multiple of batch_size 2, got 3"),
        (np.zeros((0, 1, 3, 2)), np.zeros(0), "multiple of batch_size 2, got 0"),
        (np.zeros((4, 1, 3, 2)), np.zeros(2), "each of the 4 samples must have one label, got 2"),
        (np.full((2, 1, 3, 2), "a"), np.zeros(2), "must be numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(data, labels, message):
    with pytest.raises(CaffeError, match=message):
        net_of(MEMORY).set_input_arrays(data, labels)


def test_a_forward_without_arrays_says_what_to_call():
    with pytest.raises(DataError, match=r"call net\.set_input_arrays"):
        net_of(MEMORY).forward()


def test_set_input_arrays_needs_a_memory_data_layer():
    net = dummy("shape { dim: 4 }")
    with pytest.raises(ConfigError, match="must be of type MemoryData, but 'd' is DummyData"):
        net.set_input_arrays(np.zeros(4), np.zeros(4))


@pytest.mark.parametrize(
    ("tops", "fields", "message"),
    [
        (1, "", "shape: must be given 1 or 1 times .* got 0"),
        (1, "shape { dim: 1 } num: 1", "give shape or the old num, channels, height, width, not both"),
        (1, "num: 1", "channels: must be given 1 or 1 times .* got 0"),
        (3, "shape { dim: 1 } shape { dim: 2 }", "shape: must be given 1 or 3 times .* got 2"),
        (
            1,
            "shape { dim: 1 } data_filler {} data_filler {}",
            "data_filler: must be given 0 or 1 or 1 .* got 2",
        ),
        (1, "shape { dim: 1 } data_filler { type: 'gausian' }", "unknown filler .*; did you mean 'gaussian'"),
    ],
)
def test_impossible_dummy_data_is_refused(tops, fields, message):
    with pytest.raises(ConfigError, match=rf"layer 'd' \(DummyData\): .*{message}"):
        dummy(fields, " ".join(f"top: 't{i}'" for i in range(tops))).forward()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("top: 'd' top: 'l' memory_data_param { batch_size: 1 }", "channels: must be at least 1, got 0"),
        ("top: 'd'", "takes exactly 2 top"),
    ],
)
def test_impossible_memory_data_is_refused(layer, message):
    with pytest.raises(ConfigError, match=rf"layer 'd' \(MemoryData\): .*{message}"):
        net_of(f"type: 'MemoryData' {layer}")
