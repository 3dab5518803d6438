"""The exam's rows for normalisation, structure and the smaller neuron layers."""

from __future__ import annotations

import numpy as np
from exam import Case


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
    mean, variance = (repeated(x, p / weight if weight else 0 * p, 1) for p in params[:2])
    return [(x - mean) / np.sqrt(variance + layer.param.eps)]


def mvn(bottoms, params, layer):
    p, x = layer.param, bottoms[0]
    axes = tuple(range(1 if p.across_channels else 2, x.ndim))
    y = x - x.mean(axes, keepdims=True)
    return [y / (x.std(axes, keepdims=True) + p.eps) if p.normalize_variance else y]


def prelu(bottoms, params, layer):
    x = bottoms[0]
    return [np.where(x > 0, x, x * repeated(x, params[0], 1 if params[0].ndim else 0))]


LEARNT = [np.array([0.3, -0.4, 2.0]), np.array([1.0, 0.5, 3.0]), np.array([2.5])]
UNUSED = [*LEARNT[:2], np.zeros(1)]  # weight 0: as if nothing had been learnt

CASES: dict[str, list[Case]] = {
    "BatchNorm": [
        Case('type: "BatchNorm"', reference=batch_norm),
        Case('type: "BatchNorm" batch_norm_param { eps: 0.1 }', [(7, 3)], reference=batch_norm),
        Case('type: "BatchNorm"', [(9,)], reference=lambda b, p, layer: [standardized(b[0], (0,), 1e-5)]),
        Case('type: "BatchNorm" batch_norm_param { eps: 1 }', [(1, 1, 1, 1)], reference=batch_norm),
        Case('type: "BatchNorm"', [(1, 1, 3, 5, 2)], reference=batch_norm),
        Case('type: "BatchNorm"', phase="TEST", params=LEARNT, reference=learnt_norm),
        Case('type: "BatchNorm"', [(2, 3, 67, 63)], phase="TEST", params=UNUSED, reference=learnt_norm),
        Case('type: "BatchNorm" batch_norm_param { use_global_stats: true }', params=LEARNT, reference=learnt_norm),
        Case('type: "BatchNorm" batch_norm_param { use_global_stats: false }', phase="TEST", reference=batch_norm),
        Case('type: "BatchNorm" batch_norm_param { scale_bias: true }', reference=batch_norm),
        Case('type: "BatchNorm" batch_norm_param { scale_bias: true }', phase="TEST", params=[*LEARNT, *LEARNT[:2]]),
    ],
    "Scale": [
        Case('type: "Scale" scale_param { bias_term: true }', reference=scaled),
        Case('type: "Scale"', [(3, 5)], reference=scaled),
        Case('type: "Scale" scale_param { axis: -2 num_axes: 2 }', [(1, 2, 3, 5)], reference=scaled),
        Case('type: "Scale" scale_param { axis: 0 num_axes: -1 }', [(2, 3, 3)], reference=scaled, reshape=False),
        Case('type: "Scale" scale_param { num_axes: 0 bias_term: true }', reference=scaled),
        Case('type: "Scale" scale_param { axis: 0 num_axes: 0 }', [(1,)], reference=scaled),
        Case('type: "Scale" scale_param { axis: 0 }', [(2, 3, 4), (2, 3)], reference=scaled),
        Case('type: "Scale" scale_param { bias_term: true }', [(2, 3, 4), (3, 4)], reference=scaled, reshape=False),
        Case('type: "Scale"', [(2, 3, 4), ()], reference=scaled, reshape=False),
        Case('type: "Scale" scale_param { bias_term: true }', [(2, 3, 70, 71)], reference=scaled),
        Case('type: "Scale"', [(3, 5000)], reference=scaled),
    ],
    "Bias": [
        Case('type: "Bias"', reference=biased),
        Case('type: "Bias" bias_param { axis: 0 num_axes: 0 }', [(1, 1)], reference=biased),
        Case('type: "Bias" bias_param { axis: 1 num_axes: -1 }', [(3, 2, 5)], reference=biased),
        Case('type: "Bias" bias_param { axis: 0 }', [(2, 3, 4), (2,)], reference=biased),
        Case('type: "Bias"', [(2, 3, 4), ()], reference=biased, reshape=False),
    ],
    "MVN": [
        Case('type: "MVN"', reference=mvn),
        Case('type: "MVN" mvn_param { across_channels: true }', [(3, 2, 3, 5)], reference=mvn),
        Case('type: "MVN" mvn_param { normalize_variance: false }', [(1, 1, 1, 7)], reference=mvn),
        Case('type: "MVN" mvn_param { across_channels: true normalize_variance: false }', [(2, 9)], reference=mvn),
        Case('type: "MVN"', [(2, 1, 3, 2, 3)], reference=mvn),
    ],
    "PReLU": [
        Case('type: "PReLU"', reference=prelu),
        Case('type: "PReLU" prelu_param { channel_shared: true }', reference=prelu),
        Case('type: "PReLU"', [(3, 1)], reference=prelu),
        Case('type: "PReLU"', [(2, 70, 3, 31)], reference=prelu),
    ],
}  # fmt: skip
