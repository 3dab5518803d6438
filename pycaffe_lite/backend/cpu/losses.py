"""Losses of many values in vectors: SigmoidCrossEntropyLoss, and what SoftmaxWithLoss gives back."""

from __future__ import annotations

from typing import Any

from ...kernel import T, device_function, inline_function, kernel
from ...ops import BLOCK, BLOCK_WORK, BLOCKS
from .atoms import offset
from .channels import put, some
from .vector import (
    LANES,
    above,
    add,
    choose,
    divide,
    exponential,
    multiply,
    multiply_add,
    splat,
    steps,
    subtract,
    total,
    truncated,
    whole,
)

SHORT = 512  # values that are summed in float32
WIDE = 16 * LANES  # columns that are done together: a line of memory alone would be fetched slowly


@inline_function
def where_equal(a, b, yes, no):  # type: ignore[no-untyped-def]
    """One of two vectors, by whether whole numbers are equal."""
    return choose(above(a, b), no, choose(above(b, a), no, yes))


@device_function
def log_one_more(x):  # type: ignore[no-untyped-def]
    """log(1 + x), as in `squash.py`."""
    s = divide(x, add(x, splat(T(2))))
    q = multiply(s, s)
    p = multiply_add(q, splat(T(1 / 15)), splat(T(1 / 13)))
    p = multiply_add(p, q, splat(T(1 / 11)))
    p = multiply_add(p, q, splat(T(1 / 9)))
    p = multiply_add(p, q, splat(T(1 / 7)))
    p = multiply_add(p, q, splat(T(1 / 5)))
    p = multiply_add(p, q, splat(T(1 / 3)))
    p = multiply_add(multiply(p, q), s, s)
    return add(p, p)


@kernel("x: T*, target: T*, ignore: int, count: int -> partial: double*, valid: double*", over=BLOCKS, work=BLOCK_WORK)
def cross_entropy_block(i, x, target, ignore, count, partial, valid):  # type: ignore[no-untyped-def]
    """Sums over block i of losses, and of valid targets."""
    end, zero, one = min(count, (i + 1) * BLOCK), splat(T(0)), splat(T(1))
    losses, targets = 0.0, 0.0
    for first in range(i * BLOCK, end, SHORT):
        sums, counted = zero, zero
        for j in range(first, min(first + SHORT, end), LANES):
            value, wanted = some(offset(x, j), end - j), some(offset(target, j), end - j)
            positive = choose(above(zero, value), zero, one)
            # as Caffe writes it: exp cannot overflow, and infinity gives NaN
            e = exponential(subtract(value, multiply(add(value, value), positive)))
            loss = subtract(log_one_more(e), multiply(value, subtract(wanted, positive)))
            there = above(whole(end - j), steps(0, 1))
            counts = choose(there, where_equal(truncated(wanted), whole(ignore), zero, one), zero)
            sums, counted = add(sums, choose(above(counts, zero), loss, zero)), add(counted, counts)
        losses += total(sums)
        targets += total(counted)
    partial[i] = losses
    valid[i] = targets


@kernel(
    "x: T*, target: T*, dloss: T*, normalizer: double*, ignore: int, count: int -> dx: T*", over=BLOCKS, work=BLOCK_WORK
)
def cross_entropy_block_grad(i, x, target, dloss, normalizer, ignore, count, dx):  # type: ignore[no-untyped-def]
    """dx = (s(x) - target) * dloss / normalizer in block i."""
    zero, one, scale = splat(T(0)), splat(T(1)), splat(T(dloss[0] / normalizer[0]))
    end = min(count, (i + 1) * BLOCK)
    for j in range(i * BLOCK, end, LANES):
        wanted = some(offset(target, j), end - j)
        sigmoid = divide(one, add(one, exponential(subtract(zero, some(offset(x, j), end - j)))))
        slope = multiply(subtract(sigmoid, wanted), scale)
        put(offset(dx, j), where_equal(truncated(wanted), whole(ignore), zero, slope), end - j)


LABELS = "prob: T*, label: T*, dloss: T*, normalizer: double*, ignore: int, outer: int, channels: int"


@kernel(f"{LABELS} -> dx: T*", over="outer", work="channels // 4 + 8")
def label_row_grad(i, prob, label, dloss, normalizer, ignore, outer, channels, dx):  # type: ignore[no-untyped-def]
    """dx = (prob - [channel is the label]) * dloss / normalizer in a row of channels."""
    wanted, start = int(label[i]), i * channels
    scale, zero, one = splat(T(dloss[0] / normalizer[0])), splat(T(0)), splat(T(1))
    for j in range(0, channels, LANES):
        hit = where_equal(steps(j, 1), whole(wanted), one, zero)
        slope = multiply(subtract(some(offset(prob, start + j), channels - j), hit), scale)
        put(offset(dx, start + j), zero if wanted == ignore else slope, channels - j)


@kernel(
    f"{LABELS}, inner: int -> dx: T*", over=f"outer * ((inner + {WIDE - 1}) // {WIDE})", work=f"channels * {WIDE // 8}"
)
def label_strip_grad(i, prob, label, dloss, normalizer, ignore, outer, channels, inner, dx):  # type: ignore[no-untyped-def]
    """The same in WIDE columns."""
    strips = (inner + WIDE - 1) // WIDE
    image, first = i // strips, i % strips * WIDE
    last = min(first + WIDE, inner)
    scale, zero, one = splat(T(dloss[0] / normalizer[0])), splat(T(0)), splat(T(1))
    for c in range(channels):
        start = (image * channels + c) * inner
        for j in range(first, last, LANES):
            wanted = truncated(some(offset(label, image * inner + j), last - j))
            hit = where_equal(wanted, whole(c), one, zero)
            slope = multiply(subtract(some(offset(prob, start + j), last - j), hit), scale)
            put(offset(dx, start + j), where_equal(wanted, whole(ignore), zero, slope), last - j)


def cross_entropy(*args: Any) -> bool:
    """Launch what `layers.sigmoid_cross_entropy_loss.cross_entropy` is called with."""
    cross_entropy_block(*args)
    return True


def cross_entropy_grad(*args: Any) -> bool:
    """Launch what `layers.sigmoid_cross_entropy_loss.cross_entropy_grad` is called with."""
    cross_entropy_block_grad(*args)
    return True


def label_loss_grad(*args: Any) -> bool:
    """Launch what `layers.softmax_with_loss.label_loss_grad` is called with."""
    *labels, channels, inner, count, dx = args
    if inner == 1:
        label_row_grad(*labels, count, channels, dx)
    else:
        label_strip_grad(*labels, count // inner, channels, inner, dx)
    return True
