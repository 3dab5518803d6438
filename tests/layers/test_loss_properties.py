"""Losses, metrics and layers with indices on shapes nobody thought of, against slow loops over Caffe's formulas."""

from __future__ import annotations

import cases_losses as losses
import cases_recurrent as recurrent
import cases_structure as structure
import numpy as np
from exam import Case, check_gradient, check_poison, check_reference, spread
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = st.sampled_from([1, 1, 2, 3, 5, 17])
SHAPES = st.lists(SIZES, min_size=1, max_size=5).map(tuple).filter(lambda shape: np.prod(shape) <= 500)
BATCHES = SHAPES.filter(lambda shape: len(shape) > 1)  # a batch, and something in it
EXAMPLES = settings(max_examples=20, deadline=None)
NORMALIZATIONS = st.sampled_from(["FULL", "VALID", "BATCH_SIZE", "NONE"])


def hold(case: Case) -> None:
    """The layer agrees with its reference and with its numeric gradient, and reads what it says."""
    check_reference(case)
    check_gradient(case)
    check_poison(case)


def whole(data, high: int, shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers from 0 to high - 1, as floats."""
    return np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, high, shape).astype(float)


def columns(scores: np.ndarray, labels: np.ndarray, axis: int) -> list[tuple[np.ndarray, int]]:
    """All columns of the scores along an axis, with their labels."""
    lines = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
    return list(zip(lines, labels.reshape(-1).astype(int)))


def softmax(line: np.ndarray) -> np.ndarray:
    return np.exp(line - line.max()) / np.exp(line - line.max()).sum()


def divisor(mode: str, outer: int, inner: int, valid: int) -> float:
    return max(1.0, {"FULL": outer * inner, "VALID": valid, "BATCH_SIZE": outer, "NONE": 1}[mode])


@EXAMPLES
@given(BATCHES, NORMALIZATIONS, st.integers(-1, 2), st.data())
def test_losses_over_classes(shape, mode, ignore, data):
    axis = data.draw(st.integers(1, len(shape) - 1))
    classes, outer, inner = shape[axis], int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
    labels = whole(data, classes, (*shape[:axis], *shape[axis + 1 :]))
    gains = np.eye(classes), spread((classes, classes), 3, 0.1, 1)
    fields = f"loss_param {{ normalization: {mode} ignore_label: {ignore} }}"
    for kind, gain, field in zip(("SoftmaxWithLoss", "InfogainLoss"), gains, ("softmax", "infogain_loss")):

        def reference(bottoms, params, layer, gain=gain):
            kept = [(line, label) for line, label in columns(*bottoms[:2], axis) if label != ignore]
            total = -sum(gain[label] @ np.log(softmax(line)) for line, label in kept)
            return [total / divisor(mode, outer, inner, len(kept))]

        matrix = [gain] if kind == "InfogainLoss" else []
        body = f'type: "{kind}" {field}_param {{ axis: {axis - len(shape)} }} {fields}'
        hold(Case(body, [shape, labels, *matrix], reference=reference))


@EXAMPLES
@given(BATCHES, st.integers(1, 3), st.integers(-1, 2), st.booleans(), st.data())
def test_accuracy(shape, top_k, ignore, ties, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    classes = shape[axis]
    labels = whole(data, classes, (*shape[:axis], *shape[axis + 1 :]))
    scores = whole(data, 3, shape) if ties else spread(shape)

    def reference(bottoms, params, layer):
        judged = [  # the label's own score counts too, and equal scores count against it
            (label, sum(line >= line[label]) <= k) for line, label in columns(*bottoms, axis) if label != ignore
        ]
        hits = [[hit for label, hit in judged if label == c] for c in range(classes)]
        return [np.mean([hit for _, hit in judged] or [0]), [np.mean(hit or [0]) for hit in hits]]

    k = min(top_k, classes)
    body = f'type: "Accuracy" accuracy_param {{ axis: {axis} top_k: {k} ignore_label: {ignore} }}'
    check_reference(Case(body, [scores, labels], tops=2, phase="TEST", reference=reference))


@EXAMPLES
@given(SHAPES, NORMALIZATIONS, st.integers(-1, 1), st.data())
def test_sigmoid_cross_entropy(shape, mode, ignore, data):
    targets = whole(data, 2, shape)

    def reference(bottoms, params, layer):
        kept = [(x, t) for x, t in zip(bottoms[0].ravel(), bottoms[1].ravel()) if int(t) != ignore]
        total = sum(losses.cross_entropy(x, t) for x, t in kept)
        return [total / divisor(mode, shape[0], int(np.prod(shape[1:])), len(kept))]

    fields = f"loss_param {{ normalization: {mode} ignore_label: {ignore} }}"
    hold(Case(f'type: "SigmoidCrossEntropyLoss" {fields}', [shape, targets], reference=reference))


@EXAMPLES
@given(BATCHES, st.sampled_from([1, 2]), st.data())
def test_losses_of_a_label_for_each_row(shape, power, data):
    labels = whole(data, int(np.prod(shape[1:])), shape[:1])
    norm = f"hinge_loss_param {{ norm: L{power} }}"
    hold(Case(f'type: "HingeLoss" {norm}', [shape, labels], reference=losses.hinge(power)))
    probabilities = spread(shape, 4, 0.1, 0.9)
    hold(Case('type: "MultinomialLogisticLoss"', [probabilities, labels], reference=losses.log_loss))


@EXAMPLES
@given(SIZES, SIZES, st.booleans(), st.sampled_from([0.5, 2, 9]), st.data())
def test_pairs(rows, width, legacy, margin, data):
    fields = f"contrastive_loss_param {{ margin: {margin} legacy_version: {str(legacy).lower()} }}"
    pair = [spread((rows, width)), spread((rows, width), 1) + 0.3, whole(data, 2, (rows,))]
    hold(Case(f'type: "ContrastiveLoss" {fields}', pair, reference=losses.contrastive, tolerance=1e-3))
    half = Case('type: "EuclideanLoss"', pair[:2])
    half.reference = lambda b, p, layer: [((b[0] - b[1]) ** 2).sum() / rows / 2]
    hold(half)


@EXAMPLES
@given(SHAPES, SIZES, SIZES, st.data())
def test_rows_by_index(shape, rows, width, data):
    fields = f"input_dim: {rows} num_output: {width}"
    hold(structure.rows("Embed", structure.embedded, (fields, [whole(data, rows, shape)]))[0])
    items = (rows, *shape[1:])
    hold(structure.rows("BatchReindex", structure.taken, ("", [items, whole(data, rows, (width,))]))[0])
    hold(structure.rows("Filter", structure.filtered, ("", [items, whole(data, 2, (rows,))]))[0])


@EXAMPLES
@given(SHAPES, SIZES, st.booleans(), st.data())
def test_inner_product_and_softmax(shape, outputs, transpose, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))

    def reference(bottoms, params, layer):
        x = bottoms[0].reshape(int(np.prod(shape[: axis % len(shape)])), -1)
        return [x @ (params[0] if transpose else params[0].T) + params[1]]

    fields = f"num_output: {outputs} axis: {axis} transpose: {str(transpose).lower()}"
    hold(Case(f'type: "InnerProduct" inner_product_param {{ {fields} }}', [shape], reference=reference))
    case = Case(f'type: "Softmax" softmax_param {{ axis: {axis} }}', [shape])
    case.reference = lambda b, p, layer: [np.apply_along_axis(softmax, axis, b[0])]
    hold(case)


@EXAMPLES
@given(st.sampled_from(["LSTM", "RNN"]), st.tuples(*[st.integers(1, 4)] * 4), st.integers(0, 3), st.data())
def test_recurrent(kind, sizes, static, data):
    steps, streams, depth, size = sizes
    bottoms = [(steps, streams, depth), whole(data, 2, (steps, streams)), *[(streams, static)] * bool(static)]
    reference = getattr(recurrent, kind.lower())
    hold(recurrent.recurrent(kind, f"num_output: {size}", bottoms, reference))
