"""The table of the exam: every layer type with one or more cases. A type missing here fails the suite."""

from __future__ import annotations

import cases_data
import cases_losses
import cases_recurrent
import cases_structure
import cases_vision
import numpy as np
from exam import Case, spread

LABELS = np.array([1, 0, 3, 2, 2], float)


def softmax(x: np.ndarray, axis: int = 1) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def elementwise(formula):
    """A reference that applies a numpy formula to the one bottom."""
    return lambda bottoms, params, layer: [formula(bottoms[0])]


def inner_product(bottoms, params, layer):
    x = bottoms[0].reshape(layer.rows, -1)
    weight = params[0] if layer.param.transpose else params[0].T
    return [x @ weight + (params[1] if len(params) > 1 else 0)]


def log_loss(bottoms, params, layer):
    p = softmax(bottoms[0])
    return [-np.mean([np.log(p[i, int(label)]) for i, label in enumerate(bottoms[1])]), p][: len(layer.message.top)]


CASES: dict[str, list[Case]] = {
    "Input": [Case('type: "Input" input_param { shape { dim: 2 dim: 3 } }', bottoms=(), reshape=False)],
    "ReLU": [
        Case('type: "ReLU"', reference=elementwise(lambda x: np.maximum(x, 0))),
        Case('type: "ReLU" relu_param { negative_slope: 0.25 }', reference=elementwise(lambda x: np.where(x > 0, x, 0.25 * x))),  # noqa: E501
        Case('type: "ReLU" relu_param { negative_slope: -0.5 }', reference=elementwise(lambda x: np.where(x > 0, x, -0.5 * x))),  # noqa: E501
    ],
    "Sigmoid": [Case('type: "Sigmoid"', reference=elementwise(lambda x: 1 / (1 + np.exp(-x))))],
    "TanH": [Case('type: "TanH"', reference=elementwise(np.tanh))],
    "Power": [
        Case('type: "Power" power_param { scale: 2 shift: 0.5 }', reference=elementwise(lambda x: 2 * x + 0.5)),
        Case('type: "Power" power_param { power: 0 scale: 2 }', reference=elementwise(np.ones_like)),
        Case('type: "Power" power_param { power: -1 scale: 0 shift: 2 }', reference=elementwise(lambda x: 0 * x + 0.5)),
        Case('type: "Power" power_param { power: 0.5 scale: 0 }', reference=elementwise(lambda x: 0 * x)),
        Case('type: "Power" power_param { power: 3 shift: 1 }', reference=elementwise(lambda x: (x + 1) ** 3)),
        Case('type: "Power" power_param { power: 0.5 }', [spread((3, 4), low=0.1)], reference=elementwise(np.sqrt)),
    ],
    "Dropout": [
        Case('type: "Dropout" dropout_param { dropout_ratio: 0.25 }', bottoms=[(3, 50)]),
        Case('type: "Dropout"', bottoms=[(3, 50)]),
        Case('type: "Dropout" dropout_param { dropout_ratio: 0 }', reference=elementwise(lambda x: x)),
        Case('type: "Dropout"', phase="TEST", reference=elementwise(lambda x: x)),
    ],
    "Softmax": [
        Case('type: "Softmax"', reference=elementwise(softmax)),
        Case('type: "Softmax" softmax_param { axis: -1 }', reference=elementwise(lambda x: softmax(x, -1))),
        Case('type: "Softmax"', [(1, 1)], reference=elementwise(softmax)),
    ],
    "Split": [Case('type: "Split"', tops=3, reference=lambda b, p, layer: [b[0]] * 3)],
    "Silence": [Case('type: "Silence"', [(2, 3), (4,)], tops=0, reshape=False)],
    "InnerProduct": [
        Case('type: "InnerProduct" inner_product_param { num_output: 6 }', reference=inner_product),
        Case('type: "InnerProduct" inner_product_param { num_output: 5 transpose: true }', reference=inner_product),
        Case('type: "InnerProduct" inner_product_param { num_output: 1 bias_term: false axis: -1 }', reference=inner_product),  # noqa: E501
        Case('type: "InnerProduct" inner_product_param { num_output: 33 }', [(1, 1)], reference=inner_product),
    ],
    "Convolution": [
        Case('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 }'),
        Case('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 group: 2 }', [(1, 4, 5, 6)] * 2, tops=2),  # noqa: E501
        Case('type: "Convolution" convolution_param { num_output: 2 kernel_h: 1 kernel_w: 3 dilation: 2 pad: 2 bias_term: false }', [(2, 1, 4, 5)]),  # noqa: E501
        Case('type: "Convolution" convolution_param { num_output: 1 kernel_size: 1 }', [(1, 1, 1, 1)]),
    ],
    "EuclideanLoss": [
        Case('type: "EuclideanLoss"', [(3, 4), (3, 4)], reference=lambda b, p, layer: [((b[0] - b[1]) ** 2).sum() / 6]),
    ],
    "SoftmaxWithLoss": [
        Case('type: "SoftmaxWithLoss"', [(5, 4), LABELS], reference=log_loss),
        Case('type: "SoftmaxWithLoss" loss_param { ignore_label: 2 normalization: FULL }', [(5, 4), LABELS]),
        Case('type: "SoftmaxWithLoss"', [(2, 3, 2, 2), np.array([[0, 1, 2, 0], [1, 1, 0, 2]], float).reshape(2, 2, 2)]),
        Case('type: "SoftmaxWithLoss" loss_param { ignore_label: 2 }', [(3, 4, 500), np.arange(1500.0).reshape(3, 500) % 4]),  # noqa: E501
        Case('type: "SoftmaxWithLoss"', [(2100, 3), np.arange(2100.0) % 3], reference=log_loss),
    ],
    "Accuracy": [
        Case('type: "Accuracy"', [softmax(spread((5, 4))), LABELS], reference=lambda b, p, layer: [np.mean(b[0].argmax(1) == b[1])]),  # noqa: E501
        Case('type: "Accuracy" accuracy_param { top_k: 2 }', [(5, 4), LABELS], tops=2),
    ],
}  # fmt: skip
CASES |= cases_data.CASES | cases_structure.CASES
CASES |= cases_losses.CASES
CASES |= cases_vision.CASES
CASES |= cases_recurrent.CASES
