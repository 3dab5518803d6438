"""Eltwise: bottoms of one shape combined element by element: their sum, product or maximum."""

from __future__ import annotations

import numpy as np

from ..kernel import T, expression, kernel
from ..layer import Layer, Shapes, at_least
from ..logs import log
from ..proto import caffe_pb2

OPERATION = caffe_pb2.EltwiseParameter

weighted_sum = expression("weighted_sum", "y", "a b", "p * a + q * b", "p q")
scaled = expression("scaled", "y", "x", "factor * x", "factor")
product = expression("product", "y", "a b", "a * b")
product_grad_by_division = expression("product_grad_by_division", "dx", "x y dy", "y / x * dy")


@kernel("a: T*, b: T*, count: int -> y: T*, winner: int*")
def larger(i, a, b, count, y, winner):
    """y = the larger of a and b, winner = 0 where that is a; equals go to b, as in Caffe."""
    y[i] = a[i] if a[i] > b[i] else b[i]
    winner[i] = 0 if a[i] > b[i] else 1


larger.cuda("winner[i] = a[i] > b[i] ? 0 : 1; y[i] = a[i] > b[i] ? a[i] : b[i];")


@kernel("x: T*, place: int, count: int -> y: T*, winner: int*")
def larger_yet(i, x, place, count, y, winner):
    """The same for bottom number `place`; equals stay with the earlier bottom."""
    wins = x[i] > y[i]
    winner[i] = place if wins else winner[i]
    y[i] = x[i] if wins else y[i]


larger_yet.cuda("if (x[i] > y[i]) { y[i] = x[i]; winner[i] = place; }")


@kernel("dy: T*, winner: int*, place: int, count: int -> dx: T*")
def larger_grad(i, dy, winner, place, count, dx):
    """dx = dy where bottom number `place` was the largest."""
    dx[i] = dy[i] if winner[i] == place else T(0)


larger_grad.cuda("dx[i] = winner[i] == place ? dy[i] : (T)0;")


class Eltwise(Layer, type="Eltwise", param="eltwise_param"):
    """SUM (with a coefficient for each bottom), PROD or MAX."""

    bottoms = at_least(2)

    def setup(self):
        p, count = self.param, len(self.message.bottom)
        if p.coeff and p.operation == OPERATION.PROD:
            raise self.error(f"eltwise_param.coeff: only for operation SUM, got {list(p.coeff)} with PROD")
        if len(p.coeff) not in (0, count):
            raise self.error(f"eltwise_param.coeff: give it 0 or {count} times (once per bottom), got {len(p.coeff)}")
        if p.coeff and p.operation == OPERATION.MAX:
            log.warning("layer %r (Eltwise): eltwise_param.coeff: left aside with MAX, as in Caffe", self.name)
        self.coeff = list(p.coeff) or [1.0] * count
        self.backward_reads = ()
        if p.operation == OPERATION.PROD:
            self.backward_reads = ("bottom",) if p.stable_prod_grad else ("bottom", "top")

    def shapes(self, bottom):
        for index, other in enumerate(bottom):
            if other != bottom[0]:
                raise self.error(f"bottom {index}: its shape {other} must be that of bottom 0, {bottom[0]}")
        scratch = {"winner": (bottom[0], np.int32)} if self.param.operation == OPERATION.MAX else {}
        return Shapes(top=[bottom[0]], scratch=scratch)

    def forward(self, bottom, top):
        (a, b, *rest), y, count = [x.data for x in bottom], top[0].data, top[0].count
        if self.param.operation == OPERATION.MAX:
            larger(a, b, count, y, self.winner)
            for place, x in enumerate(rest, 2):
                larger_yet(x, place, count, y, self.winner)
        elif self.param.operation == OPERATION.PROD:
            product(a, b, count, y)
            for x in rest:
                product(y, x, count, y)
        else:
            weighted_sum(a, b, *self.coeff[:2], count, y)
            for x, factor in zip(rest, self.coeff[2:]):
                weighted_sum(y, x, 1, factor, count, y)

    def backward(self, top, propagate_down, bottom):
        dy, count = top[0].diff, top[0].count
        for place, (x, wanted) in enumerate(zip(bottom, propagate_down)):
            if not wanted:
                continue
            if self.param.operation == OPERATION.MAX:
                larger_grad(dy, self.winner, place, count, x.diff)
            elif self.param.operation == OPERATION.SUM:
                if not x.shares_diff_with(top[0]):
                    scaled(dy, self.coeff[place], count, x.diff)
            elif self.param.stable_prod_grad:
                self.product_grad(dy, place, bottom)
            else:
                product_grad_by_division(x.data, top[0].data, dy, count, x.diff)

    def product_grad(self, dy, place, bottom):
        """dx = dy times all other bottoms: exact even where x is 0."""
        dx, count = bottom[place].diff, bottom[place].count
        for other in (b for i, b in enumerate(bottom) if i != place):
            product(dy, other.data, count, dx)
            dy = dx
