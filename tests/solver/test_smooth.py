"""The displayed loss: Caffe's way to average."""

from __future__ import annotations

import pytest

from pycaffe_lite.solver.smooth import SmoothedLoss

LOSSES = [3.0, 1.0, 4.0, 1.5, 9.0, 2.5, 6.0]


def averages(smoothed: SmoothedLoss, first: int, losses: list[float]) -> list[float]:
    return [smoothed.add(first + i, loss) for i, loss in enumerate(losses)]


@pytest.mark.parametrize("window", [1, 3, 100])
def test_it_is_the_mean_of_the_last_losses(window):
    smoothed = SmoothedLoss(window)
    smoothed.begin(10)
    means = [sum(part) / len(part) for part in (LOSSES[max(0, i + 1 - window) : i + 1] for i in range(len(LOSSES)))]
    assert averages(smoothed, 10, LOSSES) == pytest.approx(means)
    smoothed.begin(17)  # as in Caffe, each call of step begins anew
    assert smoothed.add(17, 5.0) == 5.0


@pytest.mark.parametrize("stop", range(len(LOSSES)))
def test_it_goes_on_from_its_state(stop):
    straight = SmoothedLoss(3)
    straight.begin(10)
    expected = averages(straight, 10, LOSSES)
    stopped, resumed = SmoothedLoss(3), SmoothedLoss(3)
    stopped.begin(10)
    averages(stopped, 10, LOSSES[:stop])
    resumed.restore(stopped.state())
    resumed.begin(10 + stop)
    assert averages(resumed, 10 + stop, LOSSES[stop:]) == expected[stop:]


def test_a_smaller_window_begins_anew():
    wide, narrow = SmoothedLoss(4), SmoothedLoss(2)
    wide.begin(0)
    averages(wide, 0, LOSSES[:4])
    narrow.restore(wide.state())
    narrow.begin(4)
    assert narrow.add(4, 7.0) == 7.0
