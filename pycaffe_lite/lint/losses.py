"""Rules on losses and what feeds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .rules import HINT, NET, TRAINED, WARNING, Hit, rule
from .view import NetView

INSIDE = {"SoftmaxWithLoss": "Softmax", "InfogainLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
SCORES = (*INSIDE, "HingeLoss")


@rule("score-function-twice", WARNING, NET)
def score_function_twice(net: NetView) -> Iterator[Hit]:
    """The loss computes probabilities from scores itself; given probabilities, it makes them nearly equal, gradients
    nearly vanish, and training stalls."""
    for i, loss in net.each(*INSIDE):
        front = net.maker(i)
        if front is not None and front.type == INSIDE[loss.type]:
            yield Hit(
                f"its scores come from {front.type} {front.name!r}, which it applies itself",
                f"give it the bottom of {front.name!r} instead: bottom: {front.bottom[0]!r}",
                loss,
            )


@rule("probabilities-expected", WARNING, NET)
def probabilities_expected(net: NetView) -> Iterator[Hit]:
    """MultinomialLogisticLoss takes the logarithm of probabilities; of raw scores it makes noise or infinities."""
    for i, loss in net.each("MultinomialLogisticLoss"):
        front = net.maker(i)
        if net.is_linear(front):
            yield Hit(
                f"its bottom comes straight from {front.type} {front.name!r}: scores, not probabilities",
                "use SoftmaxWithLoss",
                loss,
            )


@rule("clipped-scores", WARNING, NET)
def clipped_scores(net: NetView) -> Iterator[Hit]:
    """Scores must be able to fall below 0: a ReLU in front of the loss takes the gradient of every wrong class away
    as soon as its score is 0."""
    for i, loss in net.each(*SCORES):
        front = net.maker(i)
        if front is not None and front.type == "ReLU" and not front.relu_param.negative_slope:
            yield Hit(f"its scores come from ReLU {front.name!r}", f"take {front.name!r} out", loss)


@rule("zero-weights", HINT, TRAINED)
def zero_weights(net: NetView) -> Iterator[Hit]:
    """Without a weight_filler weights start as zeros. Where another layer with weights lies between them and the loss,
    their gradient is then the same for all, or 0, and nothing is learnt: right only if trained weights are loaded."""
    found = [layer for i, layer in enumerate(net.layers) if starts_at_zero(net, i, layer)]
    if found:
        names = ", ".join(layer.name for layer in found[:5]) + (" ..." if len(found) > 5 else "")
        yield Hit(
            f"{len(found)} layer(s) that learn start with weights of 0: {names}",
            'give them weight_filler { type: "msra" } (or xavier), or load weights with --weights',
            found[0],
            general=True,
        )


def starts_at_zero(net: NetView, i: int, layer: Any) -> bool:
    """Whether a layer's weights are zeros that matter: it learns, is not loaded, and another such layer lies above."""
    if not net.is_linear(layer) or not net.learns(layer) or layer.name in net.weights:
        return False
    filler = net.own(layer).weight_filler
    if filler.type != "constant" or filler.value:
        return False
    return any(net.is_linear(net.layers[j]) for j in net.links.above({i}) - {i})
