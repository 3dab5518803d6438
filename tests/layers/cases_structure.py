"""The exam's rows for normalisation, structure and the smaller neuron layers."""

from __future__ import annotations

import numpy as np
from exam import Case, spread

from pycaffe_lite import layers


def rows(kind: str, reference, *table) -> list[Case]:
    """Cases of one type from (fields, bottoms) or (fields, bottoms, options): fields go into the type's own message."""
    made = []
    for fields, bottoms, *options in table:
        message = f"{layers.find(kind).param_field} {{ {fields} }}" if fields else ""
        options = {"reference": reference} | dict(*options)
        made.append(Case(f'type: "{kind}" {message}', bottoms, **options))
    return made


def repeated(x: np.ndarray, operand: np.ndarray, axis: int) -> np.ndarray:
    """`operand` repeated over the axes of x that it does not have; its first is x's `axis`."""
    return operand.reshape((1,) * axis + operand.shape + (1,) * (x.ndim - axis - operand.ndim)) + np.zeros_like(x)


def scaled(bottoms, params, layer):
    x, *operands = [*bottoms, *params]
    axis = layer.param.axis if operands[0].ndim else 0
    y = x * repeated(x, operands[0], axis % x.ndim)
    return [y + repeated(x, operands[1], axis % x.ndim) if len(operands) > 1 else y]


def biased(bottoms, params, layer):
    x, bias = [*bottoms, *params]
    return [x + repeated(x, bias, layer.param.axis if bias.ndim else 0)]


def standardized(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def batch_norm(bottoms, params, layer):
    """The batch's own statistics; then NVIDIA's scale and bias, if there are any."""
    x = bottoms[0]
    y = standardized(x, tuple(a for a in range(x.ndim) if a != 1), layer.param.eps)
    return [y * repeated(x, params[3], 1) + repeated(x, params[4], 1) if len(params) > 3 else y]


def learnt_norm(bottoms, params, layer):
    x, weight = bottoms[0], params[2][0]
    mean, variance, *scale = (repeated(x, p, 1) for p in [*params[:2], *params[3:]])
    part = 1 / weight if weight else 0
    y = (x - part * mean) / np.sqrt(part * variance + layer.param.eps)
    return [y * scale[0] + scale[1] if scale else y]


def mvn(bottoms, params, layer):
    p, x = layer.param, bottoms[0]
    axes = tuple(range(1 if p.across_channels else 2, x.ndim))
    y = x - x.mean(axes, keepdims=True)
    y = y / (x.std(axes, keepdims=True) + p.eps) if p.normalize_variance else y
    return [y.reshape(*y.shape, *[1] * (4 - y.ndim))]


def prelu(bottoms, params, layer):
    x = bottoms[0]
    return [np.where(x > 0, x, x * repeated(x, params[0], 1 if params[0].ndim else 0))]


def joined(bottoms, params, layer):
    p = layer.param
    return [np.concatenate(bottoms, p.concat_dim if p.HasField("concat_dim") else p.axis)]


def pieces(bottoms, params, layer):
    p = layer.param
    cuts = list(p.slice_point) or len(layer.message.top)
    return np.split(bottoms[0], cuts, p.slice_dim if p.HasField("slice_dim") else p.axis)


def same_values(bottoms, params, layer):
    return [bottoms[0]]


def combined(bottoms, params, layer):
    p = layer.param
    if p.operation == p.SUM:
        return [sum(a * x for a, x in zip(p.coeff or [1] * len(bottoms), bottoms))]
    return [np.prod(bottoms, 0) if p.operation == p.PROD else np.max(bottoms, 0)]


def locally_normalized(bottoms, params, layer):
    """Each value by itself, its neighbourhood cut out of a padded copy."""
    p, x = layer.param, bottoms[0]
    across, reach = p.norm_region == p.ACROSS_CHANNELS, p.local_size // 2
    squares = np.pad(x**2, [(0, 0)] + [(reach * on,) * 2 for on in (across, not across, not across)])
    around = [p.local_size if on else 1 for on in (across, not across, not across)]
    y = np.zeros_like(x)
    for n, c, h, w in np.ndindex(x.shape):
        total = squares[n, c : c + around[0], h : h + around[1], w : w + around[2]].sum()
        norm = (p.k if across else 1) + p.alpha / np.prod(around) * total
        y[n, c, h, w] = x[n, c, h, w] * norm**-p.beta
    return [y]


def elementwise(formula):
    """A reference that applies a formula to the one bottom."""
    return lambda bottoms, params, layer: [formula(bottoms[0], layer.param)]


def elu(x, p):
    return getattr(p, "lambda") * np.where(x > 0, x, p.alpha * np.expm1(x))


def swish(x, p):
    return x / (1 + np.exp(-p.beta * x))


def exp(x, p):
    return (np.e if p.base == -1 else p.base) ** (p.shift + p.scale * x)


def log(x, p):
    return np.log(p.shift + p.scale * x) / (1 if p.base == -1 else np.log(p.base))


def reduced(bottoms, params, layer):
    p, x = layer.param, bottoms[0]
    rows = x.reshape(*x.shape[: p.axis % x.ndim], -1)
    if p.operation == p.MEAN:
        return [p.coeff * rows.mean(-1)]
    return [p.coeff * {p.SUM: rows, p.ASUM: abs(rows), p.SUMSQ: rows**2}[p.operation].sum(-1)]


def tiled(bottoms, params, layer):
    return [np.concatenate([bottoms[0]] * layer.param.tiles, layer.param.axis)]


def largest(bottoms, params, layer):
    """Python's sort of (value, index) pairs, column by column."""
    p, x = layer.param, bottoms[0]
    axis = p.axis if p.HasField("axis") else 1
    x = x if p.HasField("axis") else x.reshape(len(x), -1)
    columns = np.moveaxis(x, axis, -1)
    pairs = [sorted(zip(c, range(len(c))), reverse=True)[: p.top_k] for c in columns.reshape(-1, x.shape[axis])]
    values, indices = np.moveaxis(np.array(pairs).reshape(*columns.shape[:-1], p.top_k, 2), -1, 0)
    if p.HasField("axis"):
        return [np.moveaxis(values if p.out_max_val else indices, -1, axis)]
    return [np.stack([indices, values], 1) if p.out_max_val else indices]


def taken(bottoms, params, layer):
    return [bottoms[0][bottoms[1].astype(int)]]


def embedded(bottoms, params, layer):
    return [params[0][bottoms[0].astype(int)] + (params[1] if len(params) > 1 else 0)]


def filtered(bottoms, params, layer):
    return [x[bottoms[-1].reshape(-1) != 0] for x in bottoms[:-1]]


def cropped(bottoms, params, layer):
    p, (x, like) = layer.param, bottoms
    axis = p.axis % x.ndim
    offset = (list(p.offset) or [0]) * (1 if len(p.offset) > 1 else x.ndim - axis)
    window = [slice(o, o + n) for o, n in zip(offset, like.shape[axis:])][: x.ndim - axis]
    return [x[(slice(None),) * axis + tuple(window)]]


X = [(2, 3, 4, 5)]
POSITIVE = [spread((2, 3, 5), 0, 0.1)]
CHOICE = np.array([3.0, 0, 3, 1, 0, 0, 3])
TIES = np.array([[1.0, 3, 3, 2, 3], [0, 0, 0, 0, 0]])
UNEQUAL = [spread((2, 3, 5), i, i / 100 - 1) for i in range(3)]
LEARNT = [np.array([0.3, -0.4, 2.0]), np.array([1.0, 0.5, 3.0]), np.array([2.5])]
UNUSED = [*LEARNT[:2], np.zeros(1)]  # weight 0: as if nothing had been learnt
TEST = {"phase": "TEST"}
ONCE = {"reshape": False}  # the shapes of its parameters or cuts do not go with another batch size

CASES: dict[str, list[Case]] = {
    "BatchNorm": rows(
        "BatchNorm", batch_norm,
        ("", X), ("eps: 0.1", [(7, 3)]), ("eps: 1", [(1, 1, 1, 1)]), ("", [(1, 1, 3, 5, 2)]),
        ("", [(9,)], {"reference": lambda b, p, layer: [standardized(b[0], (0,), 1e-5)]}),
        ("use_global_stats: false", X, TEST),
        ("scale_bias: true", X),
    ) + rows(
        "BatchNorm", learnt_norm,
        ("", X, TEST | {"params": LEARNT}), ("", [(2, 3, 67, 63)], TEST | {"params": UNUSED}),
        ("use_global_stats: true", X, {"params": LEARNT}),
        ("scale_bias: true", X, TEST | {"params": [*LEARNT, *LEARNT[:2]]}),
    ),
    "Scale": rows(
        "Scale", scaled,
        ("bias_term: true", X), ("", [(3, 5)]), ("", [(3, 5000)]), ("bias_term: true", [(2, 3, 70, 71)]),
        ("axis: -2 num_axes: 2", [(1, 2, 3, 5)]), ("axis: 0 num_axes: -1 bias_term: true", [(2, 3, 3)], ONCE),
        ("num_axes: 0 bias_term: true", X), ("axis: 0 num_axes: 0", [(1,)]),
        ("axis: 0", [(2, 3, 4), (2, 3)]), ("bias_term: true", [(2, 3, 4), (3, 4)], ONCE), ("", [(2, 3, 4), ()], ONCE),
    ),
    "Bias": rows(
        "Bias", biased,
        ("", X), ("axis: 0 num_axes: 0", [(1, 1)]), ("axis: 1 num_axes: -1", [(3, 2, 5)]),
        ("axis: 0", [(2, 3, 4), (2,)]), ("", [(2, 3, 4), ()], ONCE),
    ),
    "MVN": rows(
        "MVN", mvn,
        ("", X), ("across_channels: true", [(3, 2, 3, 5)]), ("normalize_variance: false", [(1, 1, 1, 7)]),
        ("across_channels: true normalize_variance: false", [(2, 9)]), ("", [(2, 1, 3, 2, 3)]),
    ),
    "PReLU": rows(
        "PReLU", prelu,
        ("", X), ("channel_shared: true", X), ("", [(3, 1)]), ("", [(2, 70, 3, 31)]),
    ),
    "Concat": rows(
        "Concat", joined,
        ("", [(2, 3, 4), (2, 1, 4), (2, 5, 4)]), ("axis: -1", [(2, 3, 1), (2, 3, 7)]),
        ("concat_dim: 0", [(1, 5), (2, 5)]), ("", [(2, 3, 70, 63), (2, 2, 70, 63)]), ("", [(1, 1)]),
    ),
    "Slice": rows(
        "Slice", pieces,
        ("", [(2, 6, 5)], {"tops": 3}), ("axis: -1 slice_point: 1 slice_point: 4", [(3, 2, 7)], {"tops": 3}),
        ("slice_dim: 0", [(4,)], ONCE | {"tops": 4}), ("slice_point: 2", [(1, 3, 70, 63)], {"tops": 2}), ("", [(1, 1)]),
    ),
    "Flatten": rows(
        "Flatten", same_values,
        ("", X), ("axis: 0 end_axis: -2", X), ("axis: 2 end_axis: 1", [(2, 3, 4)]), ("axis: 0", [(1,)]),
    ),
    "Reshape": rows(
        "Reshape", same_values,
        ("shape { dim: 0 dim: -1 dim: 2 }", X), ("shape { dim: 1 dim: 3 } axis: -3 num_axes: 1", [(2, 3, 2)]),
        ("shape { dim: 1 dim: 1 } axis: -1 num_axes: 0", [(2, 5)]), ("shape { }", [(1, 1)], ONCE),
    ),
    "Eltwise": rows(
        "Eltwise", combined,
        ("", [(2, 3, 5)] * 3), ("coeff: 2 coeff: -0.5 coeff: 0", [(2, 3)] * 3),
        ("operation: PROD", [(2, 3, 5)] * 3), ("operation: PROD", [np.zeros((1, 2)), (1, 2)]),
        ("operation: PROD stable_prod_grad: false", [(2, 3, 5)] * 2),
        ("operation: MAX", UNEQUAL), ("operation: MAX coeff: 1 coeff: 2 coeff: 3", UNEQUAL),
        ("operation: MAX", [np.ones(1), np.zeros(1)]),
    ),
    "LRN": rows(
        "LRN", locally_normalized,
        ("", [(2, 7, 3, 5)]), ("local_size: 3 alpha: 2 beta: 0.4 k: 1.5", [(1, 2, 1, 3)]),
        ("local_size: 9", [(1, 3, 2, 2)]), ("local_size: 1", [(1, 1, 1, 1)]),
        ("norm_region: WITHIN_CHANNEL local_size: 3", [(2, 2, 4, 7)]),
        ("norm_region: WITHIN_CHANNEL beta: 1 k: 3", [(1, 2, 2, 3)]),
    ),
    "AbsVal": rows("AbsVal", elementwise(lambda x, p: abs(x)), ("", X), ("", [(1,)])),
    "BNLL": rows("BNLL", elementwise(lambda x, p: np.logaddexp(0, x)), ("", X), ("", [spread((2, 9), 0, -80, 80)])),
    "ELU": rows(
        "ELU", elementwise(elu),
        ("", X), ("alpha: 0.3 lambda: 1.5", [(7,)]), ("alpha: -0.3", X), ("lambda: -2", X), ("alpha: 0", X),
    ),
    "Swish": rows("Swish", elementwise(swish), ("", X), ("beta: 2.5", X), ("beta: 0", X)),
    "Exp": rows(
        "Exp", elementwise(exp),
        ("", X), ("base: 3 scale: 0.5 shift: 2", X), ("shift: -1", X), ("base: 0.5", X),
    ),
    "Log": rows(
        "Log", elementwise(log),
        ("", POSITIVE), ("base: 10 scale: 2 shift: 0.5", POSITIVE), ("base: 0.5", POSITIVE), ("scale: -1 shift: 3", X),
    ),
    "Clip": rows("Clip", elementwise(lambda x, p: x.clip(p.min, p.max)), ("min: -0.5 max: 1", X), ("min: 9 max: 9", X)),
    "Threshold": rows(
        "Threshold", elementwise(lambda x, p: x > p.threshold),
        ("", X), ("threshold: 0.5", X), ("threshold: 2", [np.array([1.0, 2, 3])]),
    ),
    "Reduction": rows(
        "Reduction", reduced,
        ("", X), ("axis: 1 coeff: -2", X), ("operation: ASUM axis: -1", X), ("operation: SUMSQ axis: 2 coeff: 0.5", X),
        ("operation: MEAN axis: 1", [(3, 70, 71)]), ("operation: MEAN", [(1,)]),
    ),
    "Tile": rows(
        "Tile", tiled,
        ("tiles: 3", X), ("axis: -1 tiles: 2", [(3, 1)]), ("axis: 0 tiles: 4", [(5,)]), ("tiles: 2", [(1, 3, 70, 31)]),
    ),
    "ArgMax": rows(
        "ArgMax", largest,
        ("", X), ("top_k: 3", [TIES]), ("top_k: 2 out_max_val: true", X), ("axis: 1 top_k: 2", X),
        ("axis: -2 out_max_val: true top_k: 4", X), ("", [(4,)]),
    ),
    "BatchReindex": rows(
        "BatchReindex", taken,
        ("", [(4, 3, 5), CHOICE]), ("", [(1,), np.zeros(3)]), ("", [(5, 40), np.array([4.0])]),
    ),
    "Filter": rows(
        "Filter", filtered,
        ("", [(4, 3, 2), (4,), np.array([0.0, 2, 0, -1])], {"tops": 2}), ("", [(3, 2), np.ones((3, 1))]),
        ("", [(3, 2), np.zeros(3)]),
    ),
    "Crop": rows(
        "Crop", cropped,
        ("offset: 1 offset: 2", [(2, 3, 6, 7), (2, 3, 4, 5)]), ("axis: 1 offset: 1", [(2, 4, 5, 6), (1, 2, 3, 4)]),
        ("axis: -1", [(2, 3), (9, 2)]), ("axis: 0", [(4, 3, 5, 2), (4, 2, 5, 1)], ONCE),
        ("axis: 1 offset: 1", [(2, 3, 3, 3, 3), (1, 2, 2, 1, 2)]), ("", X * 2), ("axis: 1", [(2, 3, 4), (1, 2, 3, 9)]),
    ),
    "Parameter": rows("Parameter", lambda b, p, layer: p, ("shape { dim: 2 dim: 3 }", []), ("shape { dim: 1 }", [])),
    "Embed": rows(
        "Embed", embedded,
        ("input_dim: 4 num_output: 5", [CHOICE]),
        ("input_dim: 4 num_output: 33 bias_term: false", [CHOICE.reshape(7, 1)]),
        ("input_dim: 1 num_output: 1", [np.zeros(())], ONCE),
    ),
}  # fmt: skip
