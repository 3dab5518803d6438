"""Structure and normalisation layers on shapes nobody thought of: reference and numeric gradient for random cases."""

from __future__ import annotations

import cases_structure as references
import numpy as np
from exam import check_gradient, check_poison, check_reference, spread
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = st.sampled_from([1, 2, 3, 5, 8, 17])
SHAPES = st.lists(SIZES, min_size=2, max_size=5).map(tuple).filter(lambda shape: np.prod(shape) <= 700)
EXAMPLES = settings(max_examples=30, deadline=None)


def hold(kind, reference, fields, bottoms, **options) -> None:
    """The layer agrees with its reference and with its numeric gradient, and reads what it says."""
    (case,) = references.rows(kind, reference, (fields, bottoms, options))
    check_reference(case)
    check_gradient(case)
    check_poison(case)


@EXAMPLES
@given(SHAPES, st.data())
def test_scale_and_bias(shape, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    count = data.draw(st.integers(0, len(shape) - axis))
    bias = data.draw(st.sampled_from(["", "bias_term: true"]))
    hold("Scale", references.scaled, f"axis: {axis} num_axes: {count} {bias}", [shape])
    hold("Scale", references.scaled, f"axis: {axis} {bias}", [shape, shape[axis : axis + count]])
    hold("Bias", references.biased, f"axis: {axis}", [shape, shape[axis : axis + count]])


@EXAMPLES
@given(SHAPES, st.booleans())
def test_normalisation(shape, shared):
    hold("BatchNorm", references.batch_norm, "eps: 0.5", [shape])
    hold("MVN", references.mvn, f"across_channels: {str(shared).lower()}", [shape])
    hold("PReLU", references.prelu, f"channel_shared: {str(shared).lower()}", [shape])


@EXAMPLES
@given(
    st.tuples(*[st.integers(1, 6)] * 4),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]),
)
def test_lrn(shape, size, region):
    hold("LRN", references.locally_normalized, f"local_size: {size} norm_region: {region} beta: 0.75", [shape])


@EXAMPLES
@given(SHAPES, st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_concat_and_slice(shape, lengths, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = [list(shape) for _ in lengths]
    for part, length in zip(parts, lengths):
        part[axis] = length
    hold("Concat", references.joined, f"axis: {axis}", [tuple(part) for part in parts])
    whole = list(shape)
    whole[axis] = sum(lengths)
    points = " ".join(f"slice_point: {point}" for point in np.cumsum(lengths)[:-1])
    hold("Slice", references.pieces, f"axis: {axis} {points}", [tuple(whole)], tops=len(lengths))


@EXAMPLES
@given(SHAPES, st.integers(2, 4), st.sampled_from(["SUM", "PROD", "MAX"]))
def test_eltwise(shape, count, operation):
    step = 4 / np.prod(shape)  # between the values of a bottom: a part of it keeps those of two bottoms apart
    bottoms = [spread(shape, i) + i / count * step for i in range(count)]
    hold("Eltwise", references.combined, f"operation: {operation}", bottoms)


@EXAMPLES
@given(SHAPES, st.integers(1, 4), st.sampled_from(["SUM", "ASUM", "SUMSQ", "MEAN"]), st.data())
def test_reduction_and_tile(shape, tiles, operation, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    hold("Reduction", references.reduced, f"axis: {axis} operation: {operation} coeff: 0.3", [shape])
    hold("Tile", references.tiled, f"axis: {axis} tiles: {tiles}", [shape])


@EXAMPLES
@given(SHAPES, st.data())
def test_arg_max(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    top_k = data.draw(st.integers(1, shape[axis]))
    values = np.random.default_rng(top_k).integers(0, 4, shape).astype(float)  # many equals
    (case,) = references.rows("ArgMax", references.largest, (f"axis: {axis} top_k: {top_k}", [values]))
    check_reference(case)


@EXAMPLES
@given(SHAPES, st.data())
def test_crop(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    like, offsets = list(shape), []
    for at in range(axis % len(shape), len(shape)):
        offsets.append(data.draw(st.integers(0, shape[at] - 1)))
        like[at] = data.draw(st.integers(1, shape[at] - offsets[-1]))
    fields = " ".join(f"offset: {offset}" for offset in offsets)
    hold("Crop", references.cropped, f"axis: {axis} {fields}", [shape, tuple(like)])
