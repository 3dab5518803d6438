"""Losses in vectors, held against the plain kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_pooling import run

from pycaffe_lite.layers.sigmoid_cross_entropy_loss import cross_entropy, cross_entropy_grad
from pycaffe_lite.layers.softmax_with_loss import label_loss_grad

TABLE = [(3, 10, 1), (5, 1000, 1), (2, 17, 1), (2, 3, 40), (1, 21, 300), (4, 2, 2), (1, 1, 16)]
COUNTS = [1, 16, 37, 512, 4096, 9001]
ONE, TWO = np.array([3], np.float32), np.array([7.0])


def both(kernel: Any, args: tuple[Any, ...], *outputs: np.ndarray) -> list[list[np.ndarray]]:
    """What a kernel writes over outputs that hold these, without and with vectors."""
    found = []
    for form in (None, kernel.cpu_form):
        made = [output.copy() for output in outputs]
        run(kernel, form, (*args, *made))
        found.append(made)
    return found


def check_labels(outer: int, channels: int, inner: int) -> None:
    """The gradient of SoftmaxWithLoss, some labels ignored whose probabilities are NaN."""
    random = np.random.default_rng(0)
    prob = random.random((outer, channels, inner), np.float32)
    label = random.integers(-1, channels, (outer, inner)).astype(np.float32)
    prob.transpose(0, 2, 1)[label == -1] = np.nan
    label[label > 0] += 0.5  # what is behind the point does not count
    sizes = (-1, channels, inner, outer * inner)
    (plain,), (fast,) = both(label_loss_grad, (prob, label, ONE, TWO, *sizes), np.full_like(prob, np.nan))
    np.testing.assert_allclose(fast, plain, rtol=1e-6)
    assert (fast.transpose(0, 2, 1)[label == -1] == 0).all()


def check_entropy(count: int) -> None:
    """SigmoidCrossEntropyLoss and its gradient; some targets ignored whose scores are NaN."""
    random = np.random.default_rng(0)
    x = 5 * random.standard_normal(count, np.float32)
    target = np.where(random.random(count) < 0.2, -1, random.random(count)).astype(np.float32)
    x[target == -1] = np.nan
    sums = np.full((count + 4095) // 4096, np.nan)
    plain, fast = both(cross_entropy, (x, target, -1, count), sums, sums)
    np.testing.assert_allclose(fast[0], plain[0], rtol=1e-6)
    np.testing.assert_array_equal(fast[1], plain[1])
    (slow,), (quick,) = both(cross_entropy_grad, (x, target, ONE, TWO, -1, count), np.full_like(x, np.nan))
    np.testing.assert_allclose(quick, slow, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("outer", "channels", "inner"), TABLE)
def test_label_gradients_agree_with_the_plain_kernel(outer: int, channels: int, inner: int) -> None:
    check_labels(outer, channels, inner)


@pytest.mark.parametrize("count", COUNTS)
def test_cross_entropies_agree_with_the_plain_kernel(count: int) -> None:
    check_entropy(count)


@pytest.mark.parametrize("score", [np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40, 0.0, -0.0])
@pytest.mark.parametrize("wanted", [0, 1, 0.25])
def test_scores_beyond_reason_come_out_as_from_the_plain_kernel(score: float, wanted: float) -> None:
    x, target, sums = np.array([score], np.float32), np.array([wanted], np.float32), np.zeros(1)
    plain, fast = both(cross_entropy, (x, target, -1, 1), sums, sums)
    np.testing.assert_allclose(fast, plain, rtol=1e-6)
    slow, quick = both(cross_entropy_grad, (x, target, ONE, TWO, -1, 1), np.zeros(1, np.float32))
    np.testing.assert_allclose(quick, slow, rtol=1e-6)
