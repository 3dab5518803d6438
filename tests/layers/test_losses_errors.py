"""What the losses refuse, in words; and InfogainLoss's matrix in a file."""

from __future__ import annotations

import numpy as np
import pytest
from exam import Case, build

from pycaffe_lite.errors import ConfigError, DataError
from pycaffe_lite.proto import BlobProto

PAIR = [(3, 4), (3, 4)]


@pytest.mark.parametrize(
    ("kind", "bottoms", "message"),
    [
        ("HingeLoss", [(3, 4)], "takes exactly 2 bottom"),
        ("HingeLoss", [(3, 4), (2,)], r"same first axis, got shapes \(3, 4\) and \(2,\)"),
        ("HingeLoss", [(3, 4), (3, 2)], r"labels: 3 are needed, .* shape \(3, 2\) \(6\)"),
        ("MultinomialLogisticLoss", [(3, 4), (3, 4)], "labels: 3 are needed"),
        ("MultinomialLogisticLoss", [(3, 4), (1, 3)], "same first axis"),
        ("SigmoidCrossEntropyLoss", [(3, 4), (3, 5)], r"same count, got shapes \(3, 4\) and \(3, 5\)"),
        ("SigmoidCrossEntropyLoss", [(3, 4), (4, 3)], "same first axis"),
        ("SigmoidCrossEntropyLoss", [(), ()], r"must have a first axis, the batch, got shapes \(\) and \(\)"),
        ("ContrastiveLoss", PAIR, "takes exactly 3 bottom"),
        ("ContrastiveLoss", [(3, 4), (3, 5), (3,)], "same count"),
        ("ContrastiveLoss", [*PAIR, (2,)], "same first axis"),
        (
            "ContrastiveLoss",
            [(3, 4, 2), (3, 4, 2), (3,)],
            r"bottom 0: must have shape \(N, C\), .* \(3, 4, 2\)",
        ),
        ("ContrastiveLoss", [*PAIR, (3, 2)], "bottom 2: must have one number for each pair"),
        ("InfogainLoss", [(3, 4), (3,)], "infogain_loss_param.source: must name the file of H"),
        ("InfogainLoss", [(3, 4), (2,), (4, 4)], "same first axis"),
        ("InfogainLoss", [(3, 4), (3, 2), (4, 4)], "labels: 3 are needed"),
        ("SoftmaxWithLoss", [(3, 4), (1, 3)], "same first axis"),
        ("SoftmaxWithLoss", [(3, 4, 2), (3, 3)], r"labels: 6 are needed, .* shape \(3, 3\) \(9\)"),
        ("InfogainLoss", [(3, 4), (3,), (4, 3)], r"H \(bottom 2\): must have 4 x 4 values .* \(4, 3\)"),
    ],
)
def test_wrong_bottoms_are_refused(kind, bottoms, message):
    with pytest.raises(ConfigError, match=rf"layer 'l' \({kind}\): .*{message}"):
        build(Case(f'type: "{kind}"', bottoms))


@pytest.mark.parametrize(
    ("fields", "bottoms", "message"),
    [
        ("axis: 2", [(3, 4), (3,), (4, 4)], r"axis: must be in \[-2, 1\] for shape \(3, 4\), got 2"),
        ("source: 'nowhere.binaryproto'", [(3, 4), (3,)], "source: cannot be read: .*nowhere.binaryproto"),
    ],
)
def test_wrong_infogain_fields_are_refused(fields, bottoms, message):
    with pytest.raises(ConfigError, match=rf"layer 'l' \(InfogainLoss\): infogain_loss_param\.{message}"):
        build(Case(f'type: "InfogainLoss" infogain_loss_param {{ {fields} }}', bottoms))


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "SigmoidCrossEntropyLoss"])
def test_what_only_a_fork_computes_is_refused(kind):
    with pytest.raises(ConfigError, match=r"loss_param.label_smoothing: is NVIDIA's, and not supported"):
        build(Case(f'type: "{kind}" loss_param {{ label_smoothing: 0.1 }}', [(3, 1), (3, 1)]))


def test_infogain_loss_takes_no_normalize():
    body = 'type: "InfogainLoss" loss_param { normalize: false }'
    with pytest.raises(ConfigError, match=r"loss_param.normalize: this type takes only its successor"):
        build(Case(body, [(3, 4), (3,), (4, 4)]))


@pytest.mark.parametrize("kind", ["HingeLoss", "MultinomialLogisticLoss", "InfogainLoss"])
@pytest.mark.parametrize("label", [-1, 4, 1e9])
def test_labels_outside_the_classes_are_refused(kind, label):
    net = build(Case(f'type: "{kind}"', [(2, 4), np.array([0, label]), (4, 4)][: 2 + (kind == "InfogainLoss")]))
    with pytest.raises(DataError, match=r"label .* \(number 1 in the batch\) is outside the 4 classes 0 to 3"):
        net.run_forward()
    net.run_backward()  # touches nothing outside either


def test_labels_get_no_gradient():
    case = Case('type: "HingeLoss" propagate_down: true propagate_down: true', [(2, 4), np.zeros(2)])
    net = build(case)
    net.run_forward()
    with pytest.raises(ConfigError, match=r"cannot back-propagate to bottom 1 \('x1'\)"):
        net.run_backward()


@pytest.mark.parametrize("tops", [1, 2])
def test_the_infogain_matrix_may_come_from_a_file(tmp_path, tops):
    h = np.random.default_rng(0).random((4, 4), np.float32)
    proto = BlobProto(data=h.ravel())
    proto.shape.dim.extend([1, 1, 4, 4])
    (tmp_path / "h.binaryproto").write_bytes(proto.SerializeToString())
    inputs = [(3, 4), np.array([2.0, 0, 3])]
    body = 'type: "InfogainLoss"'
    given = build(Case(body, [*inputs, h], tops=tops))
    read = build(Case(f'{body} infogain_loss_param {{ source: "{tmp_path}/h.binaryproto" }}', inputs, tops=tops))
    for net in (given, read):
        net.run_forward()
        net.run_backward()
    assert given.blobs["y0"].data == pytest.approx(read.blobs["y0"].data)
    assert np.allclose(given.blobs["x0"].diff, read.blobs["x0"].diff)


def test_an_infogain_matrix_of_another_size_is_refused(tmp_path):
    proto = BlobProto(data=[1, 2], num=1, channels=1, height=1, width=2)
    (tmp_path / "h").write_bytes(proto.SerializeToString())
    with pytest.raises(ConfigError, match=r"H \(.*/h\): must have 4 x 4 values"):
        build(Case(f'type: "InfogainLoss" infogain_loss_param {{ source: "{tmp_path}/h" }}', [(3, 4), (3,)]))
