"""One exam for every layer: `check_layer` builds a net around a layer and puts it through all questions.

Questions: does it agree with a slow obvious reference, do its gradients agree with numeric ones (float64,
random projection), does backward read only what the layer says it reads (all else is drowned in NaN), do
in-place and plain nets agree, do parameter gradients accumulate and bottom gradients overwrite, is
propagate_down respected, does it survive a reshape, and does the same seed give the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pycaffe_lite import device as devices
from pycaffe_lite import random
from pycaffe_lite.device import put
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2, text

Reference = Callable[..., Sequence[np.ndarray]]


@dataclass
class Case:
    """A layer to examine: the inside of `layer { }` without name, bottoms and tops, and its bottoms.

    A bottom is an array, or a shape, which is filled with distinct values that keep away from kinks.
    `reference(bottoms, params, layer)` returns the tops; leave it out where the golden arrays say it all.
    """

    body: str
    bottoms: Sequence[Any] = ((2, 3, 4, 5),)
    tops: int = 1
    phase: str = "TRAIN"
    reference: Reference | None = None
    params: Sequence[Any] | None = None
    reshape: bool = True
    gradient: bool = True
    tolerance: float = 1e-5
    name: str = field(default="")
    before: Callable[[Net], None] | None = None  # what the caller of the net does before running it


def spread(shape: Sequence[int], seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Distinct values in [low, high] in random order: no ties, and none at a kink."""
    count = int(np.prod(shape, dtype=np.int64))
    order = np.random.default_rng(seed).permutation(count)
    return ((order + 0.37) / max(count, 1) * (high - low) + low).reshape(shape)


def build(case: Case, dtype: Any = np.float64, extra: str = "", in_place: bool = False, **options: Any) -> Net:
    """The net of a case: Input layers x0, x1 ..., the layer `l`, tops y0, y1 ..."""
    inputs = values(case)
    lines = ["force_backward: true"]
    for i, value in enumerate(inputs):
        dims = " ".join(f"dim: {d}" for d in value.shape)
        lines.append(f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}')
    if in_place:  # something in front whose top may be overwritten
        lines.append('layer { name: "in" type: "Power" bottom: "x0" top: "y0" }')
    bottoms = " ".join(f'bottom: "{"y0" if in_place and i == 0 else f"x{i}"}"' for i in range(len(inputs)))
    tops = " ".join(f'top: "y{i}"' for i in range(case.tops))
    lines.append(f'layer {{ name: "l" {bottoms} {tops} {case.body} {extra} }}')
    param = text.parse("\n".join(lines), NetParameter())
    param.state.phase = getattr(caffe_pb2, case.phase)
    random.set_random_seed(7)
    net = Net.from_proto(param, dtype=dtype, **options)
    for i, blob in enumerate(net.layer_dict["l"].blobs):
        blob.data[...] = case.params[i] if case.params is not None else spread(blob.shape, 50 + i, -1, 1)
    set_inputs(net, inputs)
    if case.before:
        case.before(net)
    return net


def values(case: Case) -> list[np.ndarray]:
    """The bottoms of a case as arrays."""
    return [b if isinstance(b, np.ndarray) else spread(b, i) for i, b in enumerate(case.bottoms)]


def set_inputs(net: Net, arrays: Sequence[np.ndarray]) -> None:
    for i, array in enumerate(arrays):
        net.blobs[f"x{i}"].data[...] = array


class Run:
    """Forward and backward of one net, repeatable: what running changes (state, statistics) is put back."""

    def __init__(self, net: Net, case: Case):
        self.net, self.case, self.layer = net, case, net.layer_dict["l"]
        self.inputs = [net.blobs[f"x{i}"] for i in range(len(case.bottoms))]
        self.tops = [net.blobs[f"y{i}"] for i in range(case.tops)]
        self.saved = [b.data.copy() for b in self.layer.blobs]

    def weights(self) -> list[np.ndarray]:
        """What the tops count for in the objective; their shapes may depend on values (Filter), so after forward."""
        return [spread(t.shape, 90 + i, 0.5, 1.5) for i, t in enumerate(self.tops)]

    def forward(self) -> list[np.ndarray]:
        for blob, value in zip(self.layer.blobs, self.saved):
            blob.data[...] = value
        if hasattr(self.layer, "state"):
            put(self.layer.state, 0)
        self.net.run_forward()
        return [t.data.copy() for t in self.tops]

    def backward(self, clear: bool = True) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Gradients of sum(weights * tops): of the bottoms, and of the parameters."""
        if clear:
            self.net.clear_param_diffs()
        for blob in self.inputs:
            blob.diff[...] = np.nan  # bottoms are overwritten, never added to
        for blob, weight in zip(self.tops, self.weights()):
            blob.diff[...] = weight
        self.net.run_backward()
        return [b.diff.copy() for b in self.inputs], [b.diff.copy() for b in self.layer.blobs]

    def objective(self) -> float:
        tops = self.forward()
        return float(sum((w * t).sum() for w, t in zip(self.weights(), tops)))

    def has_gradient(self, index: int) -> bool:
        return self.layer.differentiable and index not in self.layer.no_gradient_to


def check_layer(case: Case) -> None:
    """Put a layer through all questions; AssertionError names the first that it fails."""
    check_reference(case)
    if devices.current() is not devices.CPU:
        check_against_cpu(case)
    check_repeatable(case)
    if case.reshape:
        check_reshape(case)
    run = Run(build(case), case)
    if run.layer.differentiable and case.gradient:
        check_gradient(case)
        check_poison(case)
        check_accumulation(case)
        check_propagate_down(case)
        check_single_precision(case)
        if (run.layer.in_place or run.layer.diff_in_place) and case.tops == 1:
            check_in_place(case)


def close(a: Any, b: Any, what: str, tolerance: float = 1e-9) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    wrong = ~(np.abs(a - b) <= tolerance * np.maximum(1, np.abs(b)))
    assert not wrong.any(), f"{what}: {int(wrong.sum())} of {a.size} differ, first {a[wrong][0]!r} for {b[wrong][0]!r}"


def check_reference(case: Case) -> None:
    """The tops are what the slow obvious formula says."""
    run = Run(build(case), case)
    tops = run.forward()
    assert all(np.isfinite(t).all() for t in tops), "forward: not finite"
    if case.reference:
        wanted = case.reference(values(case), run.saved, run.layer)
        for i, (got, want) in enumerate(zip(tops, wanted, strict=True)):
            close(got, np.asarray(want).reshape(got.shape), f"reference, top {i}")


def check_against_cpu(case: Case) -> None:
    """This device computes what the CPU computes: the two bodies of every kernel agree."""
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        here = Run(build(case, dtype), case)
        with devices.using(devices.CPU):
            there = Run(build(case, dtype), case)
        results = [(run.forward(), *(run.backward() if case.gradient else ())) for run in (here, there)]
        for got, want in zip(*results):
            for i, (a, b) in enumerate(zip(got, want, strict=True)):
                scale = max(1.0, float(np.abs(b).max(initial=0, where=np.isfinite(b))))
                assert np.array_equal(np.isnan(a), np.isnan(b)), f"{dtype.__name__} against the CPU, array {i}: NaN"
                close(
                    np.nan_to_num(a) / scale,
                    np.nan_to_num(b) / scale,
                    f"{dtype.__name__} against the CPU, array {i}",
                    tolerance,
                )


def check_gradient(case: Case, step: float = 1e-6) -> None:
    """Analytic and numeric derivative agree along random directions."""
    run = Run(build(case), case)
    run.forward()
    bottoms, params = run.backward()
    rng = np.random.default_rng(3)
    learnt = run.net.layer_dict["l"].param_propagate_down
    places = [
        (partial(getattr, run.inputs[i], "data"), g, f"bottom {i}")
        for i, g in enumerate(bottoms)
        if run.has_gradient(i)
    ]
    places += [(partial(run.saved.__getitem__, i), g, f"parameter {i}") for i, g in enumerate(params) if learnt[i]]
    for values_of, gradient, what in places:
        assert np.isfinite(gradient).all(), f"gradient of {what}: not finite"
        for _ in range(3):
            direction = rng.standard_normal(gradient.shape)
            original = values_of().copy()
            values_of()[...] = original + step * direction
            above = run.objective()
            values_of()[...] = original - step * direction
            below = run.objective()
            values_of()[...] = original
            numeric, analytic = (above - below) / (2 * step), float((gradient * direction).sum())
            scale = max(1.0, abs(numeric), float(np.abs(gradient).sum()) * 0.01)
            assert abs(numeric - analytic) <= case.tolerance * scale * 10, (
                f"gradient of {what}: analytic {analytic:.9g}, numeric {numeric:.9g}"
            )


def check_poison(case: Case) -> None:
    """Backward gives the same values when all forward values it does not declare are NaN."""
    run = Run(build(case), case)
    run.forward()
    honest = run.backward()
    run.forward()
    declared = run.layer.backward_reads
    for blob in run.inputs if "bottom" not in declared else ():
        blob.data[...] = np.nan
    shared = run.layer.shares_data
    for blob in run.tops if "top" not in declared and not shared else ():
        blob.data[...] = np.nan
    again = run.backward()
    for i, (a, b) in enumerate(zip(again[0], honest[0])):
        if run.has_gradient(i):
            close(a, b, f"bottom {i} gradient with undeclared values poisoned ({declared} declared)", 0)
    for i, (a, b) in enumerate(zip(again[1], honest[1])):
        close(a, b, f"parameter {i} gradient with undeclared values poisoned", 0)


def check_accumulation(case: Case) -> None:
    """A second backward doubles parameter gradients and leaves bottom gradients as they were."""
    run = Run(build(case), case)
    run.forward()
    once = run.backward()
    twice = run.backward(clear=False)
    for i, (a, b) in enumerate(zip(twice[0], once[0])):
        if run.has_gradient(i):
            close(a, b, f"bottom {i} gradient of a second backward")
    for i, (a, b) in enumerate(zip(twice[1], once[1])):
        close(a, 2 * b, f"parameter {i} gradient after two backwards")


def check_propagate_down(case: Case) -> None:
    """A bottom whose gradient is not wanted is left alone, and the others do not change."""
    run = Run(build(case), case)
    run.forward()
    full = run.backward()
    for skipped in range(len(case.bottoms)):
        if not run.has_gradient(skipped) or run.layer.shares_diff:
            continue
        other = Run(build(case, without=["gradients"]), case)  # who shares one was decided from propagate_down
        node = next(n for n in other.net.graph.nodes if n.layer.name == "l")
        node.propagate_down[skipped] = False
        other.forward()
        gradients = other.backward()
        assert np.isnan(gradients[0][skipped]).all(), f"propagate_down false for bottom {skipped}: it was written"
        for i, (a, b) in enumerate(zip(gradients[0], full[0])):
            if i != skipped and run.has_gradient(i):
                close(a, b, f"bottom {i} gradient without that of bottom {skipped}")
        for i, (a, b) in enumerate(zip(gradients[1], full[1])):
            close(a, b, f"parameter {i} gradient without that of bottom {skipped}")


def check_in_place(case: Case) -> None:
    """Written in place, aliased or not, the layer gives what it gives with a top of its own."""
    plain = Run(build(case), case)
    wanted = plain.forward()[0], plain.backward()[0][0]
    for alias in (True, False):
        run = Run(build(case, in_place=True, alias_in_place=alias), case)
        close(run.forward()[0], wanted[0], f"in place (aliased: {alias}), top")
        close(run.backward()[0][0], wanted[1], f"in place (aliased: {alias}), bottom gradient")


def check_single_precision(case: Case) -> None:
    """float32, what people train with, agrees with float64."""
    double, single = Run(build(case), case), Run(build(case, np.float32), case)
    for i, (a, b) in enumerate(zip(single.forward(), double.forward())):
        close(a.astype(float), b, f"float32 against float64, top {i}", 2e-4)
    for got, want in zip(single.backward(), double.backward()):
        for i, (a, b) in enumerate(zip(got, want)):
            if np.isfinite(b).all():
                scale = max(1.0, float(np.abs(b).max(initial=0)))
                close(a.astype(float) / scale, b / scale, f"float32 against float64, gradient {i}", 2e-4)


def check_reshape(case: Case) -> None:
    """After a run with another batch size and back, the results are the same."""
    run = Run(build(case), case)
    wanted = run.forward()
    arrays = values(case)
    for blob, array in zip(run.inputs, arrays):
        blob.reshape(array.shape[0] + 1, *array.shape[1:])
        blob.data[...] = np.concatenate([array, array[:1]])
    run.net.run_forward()
    for blob, array in zip(run.inputs, arrays):
        blob.reshape(array.shape)
        blob.data[...] = array
    for i, (a, b) in enumerate(zip(run.forward(), wanted)):
        close(a, b, f"top {i} after reshaping there and back", 0)


def check_repeatable(case: Case) -> None:
    """The same seed gives the same bits."""
    first, second = (Run(build(case, np.float32), case).forward() for _ in range(2))
    for i, (a, b) in enumerate(zip(first, second)):
        assert np.array_equal(a, b, equal_nan=True), f"top {i} differs between two runs from the same seed"
