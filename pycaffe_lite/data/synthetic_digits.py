"""Digits that look handwritten, for trying MNIST's nets where MNIST cannot be had.

Each digit is drawn like a pen would: a template's points are jittered, joined by a smooth curve,
bent and slanted, fitted into MNIST's 20 by 20 box, and the curve is inked into 28 by 28 pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pycaffe_lite.data.digit_strokes import VARIANTS, Variant

SIZE = 28  # of an image
_BOX = 20.0  # the ink fits into a square of this side, as in MNIST
_DOTS = 96  # points of the pen's path; neighbours are closer than the pen is wide
_CHUNK = 2000  # digits drawn at once, to keep the work space small


class _Pen(NamedTuple):
    """A template made ready: ``path = basis @ points`` is the pen's path, in dots."""

    points: np.ndarray  # (points, 2)
    basis: np.ndarray  # (dots, points)
    lifts: np.ndarray  # (dots - 1,) zero where the pen is lifted between two dots, else one


def render(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw digits: images uint8 (count, 28, 28), white on black, and labels uint8 (count,)."""
    pens = [_prepare(variant) for variant in VARIANTS]
    chances = _chances()
    images = np.empty((count, SIZE, SIZE), np.uint8)
    labels = np.empty(count, np.uint8)
    for number, start in enumerate(range(0, count, _CHUNK)):
        # Each chunk has its own generator: the first digits do not depend on how many follow.
        rng = np.random.default_rng((seed, number))
        chosen = rng.choice(len(VARIANTS), size=_CHUNK, p=chances)
        drawn = np.empty((_CHUNK, SIZE, SIZE), np.uint8)
        for variant in np.unique(chosen):
            where = np.flatnonzero(chosen == variant)
            path, ink = _write(pens[variant], len(where), rng)
            drawn[where] = _draw(path, ink, rng)
        stop = min(start + _CHUNK, count)
        images[start:stop] = drawn[: stop - start]
        labels[start:stop] = np.array([v.digit for v in VARIANTS])[chosen[: stop - start]]
    return images, labels


def _chances() -> np.ndarray:
    """How probable each variant is: every digit equally, its variants by weight."""
    digits = np.array([v.digit for v in VARIANTS])
    weights = np.array([v.weight for v in VARIANTS], float)
    return weights / np.bincount(digits, weights)[digits] / 10


def _prepare(variant: Variant) -> _Pen:
    """Turn strokes into the matrix from a digit's distinct points to the dots of its path."""
    strokes = [_parse(stroke) for stroke in variant.strokes.split(" / ")]
    points, index = np.unique(np.concatenate(strokes), axis=0, return_inverse=True)
    lengths = [np.linalg.norm(np.diff(stroke, axis=0), axis=1).sum() for stroke in strokes]
    dots = np.maximum(np.round(_DOTS * np.array(lengths) / sum(lengths)).astype(int), 8)
    dots[0] += _DOTS - dots.sum()
    basis = np.zeros((_DOTS, len(points)))
    lifts = np.ones(_DOTS - 1)
    row = column = 0
    for stroke, n in zip(strokes, dots, strict=True):
        if row:
            lifts[row - 1] = 0
        which = index.ravel()[column : column + len(stroke)]
        np.add.at(basis[row : row + n].T, which, _catmull_rom(len(stroke), n).T)
        row, column = row + n, column + len(stroke)
    return _Pen(points, basis, lifts)


def _parse(stroke: str) -> np.ndarray:
    """The points of one stroke; a corner is there twice, which makes the spline turn sharply."""
    points = []
    for word in stroke.split():
        x, y = word.rstrip("*").split(",")
        points += [(int(x) / 100, int(y) / 100)] * (2 if word.endswith("*") else 1)
    return np.array(points)


def _catmull_rom(points: int, dots: int) -> np.ndarray:
    """The matrix (dots, points) of a Catmull-Rom spline: a smooth curve through every point."""
    at = np.linspace(0, points - 1, dots)
    left = np.minimum(at.astype(int), points - 2)
    t = at - left
    weights = 0.5 * np.stack(
        [
            -t + 2 * t**2 - t**3,
            2 - 5 * t**2 + 3 * t**3,
            t + 4 * t**2 - 3 * t**3,
            -(t**2) + t**3,
        ]
    )
    matrix = np.zeros((dots, points))
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        # Beyond the ends the first and last point are repeated.
        np.add.at(matrix, (np.arange(dots), np.clip(left + offset, 0, points - 1)), weight)
    return matrix


def _write(pen: _Pen, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Write a digit ``count`` times: paths (count, dots, 2) in no particular size, ink (count, dots)."""
    points = pen.points - 0.5 + _normal(rng, 0, 0.045, (count, *pen.points.shape))
    path = _bend(pen.basis @ _stretch(points, rng), rng)
    path = path @ _affine(count, rng)
    steps = np.linalg.norm(np.diff(path, axis=1), axis=2) * pen.lifts
    # A dot stands for half the way from the dot before and half the way to the next.
    ink = np.zeros(path.shape[:2])
    ink[:, :-1] += steps / 2
    ink[:, 1:] += steps / 2
    return path, ink


def _normal(rng: np.random.Generator, mean: float, deviation: float, shape: int | tuple[int, ...]) -> np.ndarray:
    """Normal numbers without the far tails, which would spoil one digit in a hundred."""
    return mean + deviation * np.clip(rng.standard_normal(shape), -2, 2)


def _stretch(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the proportions: one half of the digit larger, the other smaller, in height and width."""
    bias = _normal(rng, 0, 0.45, (len(points), 1, 2))
    return points + bias * (0.25 - points**2)


def _bend(path: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Displace a path by two slow random waves: the hand's own swing."""
    for strength, rate in ((0.13, 2.0), (0.04, 4.5)):
        direction = rng.normal(0, rate, (len(path), 2, 2))
        phase = rng.uniform(0, 2 * np.pi, (len(path), 1, 2))
        path = path + rng.uniform(-strength, strength, (len(path), 1, 2)) * np.sin(path @ direction + phase)
    return path


def _affine(count: int, rng: np.random.Generator) -> np.ndarray:
    """Random matrices (count, 2, 2), for row vectors: width, slant, then a turn."""
    width = np.exp(_normal(rng, -0.12, 0.27, count))
    slant = _normal(rng, 0.2, 0.36, count)  # most people lean to the right
    turn = _normal(rng, 0, 0.18, count)
    shape = np.zeros((count, 2, 2))
    shape[:, 0, 0] = width
    shape[:, 1, 0] = -slant
    shape[:, 1, 1] = 1
    cos, sin = np.cos(turn), np.sin(turn)
    return shape @ np.stack([cos, sin, -sin, cos], axis=1).reshape(count, 2, 2)


def _draw(path: np.ndarray, ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ink paths into images uint8 (count, 28, 28)."""
    count = len(path)
    radius = np.exp(_normal(rng, -0.2, 0.16, (count, 1)))
    path, ink = _fit(path, ink, radius)
    # Along a straight line the dots' Gaussians add up to 1 on the line itself.
    ink *= _pressure(count, rng) / (np.sqrt(2 * np.pi) * radius)
    grid = np.arange(SIZE, dtype=np.float32)
    spread = (0.5 / radius**2).astype(np.float32)[:, None]
    columns, rows = (
        np.exp(-spread * (grid[:, None] - path[:, None, :, axis].astype(np.float32)) ** 2) for axis in (0, 1)
    )
    # A Gaussian is a product of one in x and one in y: adding up all dots is a matrix product.
    density = (rows * ink[:, None].astype(np.float32)) @ columns.transpose(0, 2, 1)
    softness = rng.uniform(0.25, 0.5, (count, 1, 1)).astype(np.float32)
    grey = np.clip((density - 0.3) / softness + 0.5, 0, 1)
    grey += grey * rng.normal(0, 0.06, grey.shape).astype(np.float32)
    return (255 * np.clip(grey, 0, 1)).astype(np.uint8)


def _fit(path: np.ndarray, ink: np.ndarray, radius: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale to MNIST's box, the pen's width included, and put the centre of mass in the middle."""
    low, high = path.min(axis=1), path.max(axis=1)
    room = _BOX - 3 * radius
    scale = (room[:, 0] / (high - low).max(axis=1))[:, None]
    ink = ink * scale
    centre = (path * ink[..., None]).sum(axis=1) / ink.sum(axis=1, keepdims=True)
    return (path - centre[:, None]) * scale[..., None] + (SIZE - 1) / 2, ink


def _pressure(count: int, rng: np.random.Generator) -> np.ndarray:
    """How hard the pen is pressed at each dot (count, dots): about 1, changing slowly."""
    along = np.linspace(0, 1, _DOTS)
    rate = rng.uniform(2, 8, (count, 1))
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    return 1 + rng.uniform(0, 0.25, (count, 1)) * np.sin(rate * along + phase)
