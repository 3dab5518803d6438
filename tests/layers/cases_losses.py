"""Exam rows of the losses other than SoftmaxWithLoss and EuclideanLoss."""

from __future__ import annotations

import numpy as np
from exam import Case, spread

LABELS = np.array([1, 0, 3, 2, 2], float)
SCORES = spread((5, 4))
PROBABILITIES = spread((5, 4), low=0.05, high=0.95)
TARGETS = spread((5, 4), 1, 0, 1).round(1)
IGNORING = np.where(spread((5, 4), 2) > 0, 7.0, TARGETS)
ALIKE = np.array([1, 0, 0, 1, 0], float)
GAIN = spread((4, 4), 3, 0.1, 1)
MAP = np.array([[0, 1, 2, 0], [1, 1, 0, 2]], float).reshape(2, 2, 2)


def cross_entropy(x, target):
    p = 1 / (1 + np.exp(-x))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


def binary(divide):
    """Reference of SigmoidCrossEntropyLoss: `divide(sum, targets)` normalises; 7 is the label to ignore."""
    return lambda b, p, layer: [divide(cross_entropy(*b)[b[1] != 7].sum(), b[1])]


def log_loss(bottoms, params, layer):
    p = bottoms[0].reshape(len(bottoms[0]), -1)
    return [-np.mean([np.log(max(row[int(label)], 1e-20)) for row, label in zip(p, bottoms[1].ravel())])]


def hinge(power):
    def reference(bottoms, params, layer):
        x, label = bottoms[0].reshape(len(bottoms[1]), -1).copy(), bottoms[1].astype(int).ravel()
        x[np.arange(len(x)), label] *= -1
        return [(np.maximum(0, 1 + x) ** power).sum() / len(x)]

    return reference


def contrastive(bottoms, params, layer):
    a, b, similar = bottoms
    square = ((a - b).reshape(len(a), -1) ** 2).sum(1)
    margin = layer.param.margin
    apart = margin - square if layer.param.legacy_version else (margin - np.sqrt(square)).clip(0) ** 2
    return [np.where(similar.reshape(-1) != 0, square, apart.clip(0)).sum() / (2 * len(a))]


def infogain(bottoms, params, layer):
    x, labels, h = bottoms
    x = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    p = np.exp(x - x.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    rows = [h.reshape(len(p[0]), -1)[int(label)] for label in labels.ravel()]
    return [-(rows * np.log(p)).sum() / len(p)]


def loss(kind, bottoms, fields="", **rest):
    return Case(f'type: "{kind}" {fields}', bottoms, **rest)


def sigmoid_loss(targets, fields, divide):
    return loss("SigmoidCrossEntropyLoss", [SCORES, targets], fields, reference=binary(divide))


def pair_loss(fields, **rest):
    pairs = [(5, 3), spread((5, 3), 1, -1, 1), ALIKE]
    return loss("ContrastiveLoss", pairs, f"contrastive_loss_param {{ {fields} }}", reference=contrastive, **rest)


def by_valid(total, targets):
    return total / (targets != 7).sum()


SQUARED = "hinge_loss_param { norm: L2 }"

CASES: dict[str, list[Case]] = {
    "SigmoidCrossEntropyLoss": [
        sigmoid_loss(TARGETS, "", lambda total, t: total / 5),
        sigmoid_loss(TARGETS, "loss_param { normalization: FULL }", lambda total, t: total / 20),
        sigmoid_loss(TARGETS, "loss_param { normalization: NONE }", lambda total, t: total),
        sigmoid_loss(IGNORING, "loss_param { ignore_label: 7 normalization: VALID }", by_valid),
        sigmoid_loss(IGNORING, "loss_param { ignore_label: 7 normalize: true }", by_valid),
        sigmoid_loss(IGNORING, "loss_param { ignore_label: 7 normalize: false }", lambda total, t: total / 5),
        loss("SigmoidCrossEntropyLoss", [np.array([[-90.0]]), np.ones((1, 1))], reference=lambda *a: [90.0]),
        loss(
            "SigmoidCrossEntropyLoss",
            [(3, 2, 3, 1), spread((3, 6), 1, 0, 1)],
            reference=lambda b, p, layer: [cross_entropy(b[0].reshape(3, 6), b[1]).sum() / 3],
        ),
    ],
    "MultinomialLogisticLoss": [
        loss("MultinomialLogisticLoss", [PROBABILITIES, LABELS], reference=log_loss),
        loss("MultinomialLogisticLoss", [np.full((1, 1, 1), 0.25), np.zeros((1, 1))], reference=log_loss),
        loss("MultinomialLogisticLoss", [np.zeros((1, 3)), np.ones(1)], gradient=False, reference=log_loss),
    ],
    "HingeLoss": [
        loss("HingeLoss", [SCORES, LABELS], reference=hinge(1)),
        loss("HingeLoss", [SCORES, LABELS], SQUARED, reference=hinge(2)),
        loss("HingeLoss", [(1, 1), np.zeros(1)], reference=hinge(1)),
        loss("HingeLoss", [(3, 2, 1, 5), np.array([[9], [0], [4.0]])], SQUARED, reference=hinge(2)),
    ],
    "ContrastiveLoss": [
        pair_loss("margin: 3", tolerance=1e-4),
        pair_loss("margin: 0.5", tolerance=1e-4),
        pair_loss("margin: 4 legacy_version: true"),
        loss("ContrastiveLoss", [(1, 1, 1, 1), np.full((1, 1), 0.3), np.ones((1, 1))], reference=contrastive),
    ],
    "InfogainLoss": [  # H has no batch axis, so these cannot be reshaped to another batch size
        loss("InfogainLoss", [SCORES, LABELS, GAIN], reference=infogain, reshape=False),
        loss("InfogainLoss", [(2, 3, 2, 2), MAP, GAIN[:3, :3]], reference=infogain, reshape=False),
        loss("InfogainLoss", [(1, 1), np.zeros(1), np.ones((1, 1))], reference=infogain, reshape=False),
        loss(
            "InfogainLoss",
            [SCORES, LABELS, GAIN.reshape(1, 1, 4, 4)],
            "infogain_loss_param { axis: -1 } loss_param { ignore_label: 2 normalization: FULL }",
            reshape=False,
        ),
    ],
}
