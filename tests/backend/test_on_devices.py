"""Products and convolutions as layers ask for them (`ops`), on every device, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from convolution_cases import TABLE, blobs, reference
from test_gemm import SHAPES

from pycaffe_lite import ops
from pycaffe_lite.device import fetch
from pycaffe_lite.kernel import recording

TOLERANCES = {np.float32: 3e-6, np.float64: 1e-14}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCES)


def record_and_run(device, dtype, recipe, times=1):
    program = device.program(dtype)
    with recording(program):
        recipe()
    for _ in range(times):
        program.run()
    return program


@DTYPES
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("trans_a, trans_b", [(False, False), (True, False), (False, True), (True, True)])
def test_gemm(device, dtype, accumulate, trans_a, trans_b):
    rng = np.random.default_rng(0)
    for m, n, k in [shape for shape in SHAPES if np.prod(shape) < 2e6]:
        a, b, c = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n), (m, n)))
        left, right = (device.upload(np.ascontiguousarray(x.T if t else x)) for x, t in ((a, trans_a), (b, trans_b)))
        out = device.upload(c if accumulate else np.full_like(c, np.nan))
        record_and_run(device, dtype, lambda: ops.gemm(left, right, out, m, n, k, trans_a, trans_b, accumulate))  # noqa: B023
        true = a.astype(float) @ b + (c if accumulate else 0)
        error = np.abs(fetch(out) - true).max() / max(1.0, np.abs(true).max())
        assert error < TOLERANCES[dtype] * k**0.5, (m, n, k)


@DTYPES
@pytest.mark.parametrize("shape", TABLE, ids=str)
def test_convolution(device, shape, dtype):
    of = ops.Convolution(*shape)
    host = blobs(of, dtype) | {"dw": np.ones((of.outputs, of.channels // of.group, *of.kernel), dtype)}
    host["db"] = np.ones(of.outputs, dtype)
    on = {name: device.upload(array) for name, array in host.items()}

    def all_four():
        of.forward(on["x"], on["w"], on["b"], on["y"])
        of.backward_data(on["dy"], on["w"], on["dx"])
        of.backward_weights(on["x"], on["dy"], on["dw"])
        of.backward_bias(on["dy"], on["db"])

    record_and_run(device, dtype, all_four, times=3)  # eagerly, captured, replayed
    y, dx, dw, db = reference(of, *(host[name] for name in ("x", "w", "b", "dy")))
    for name, true in {"y": y, "dx": dx, "dw": 1 + 3 * dw, "db": 1 + 3 * db}.items():
        error = np.abs(fetch(on[name]) - true).max() / max(1.0, np.abs(true).max())
        assert error < TOLERANCES[dtype] * max(1.0, of.depth**0.5), name


def test_a_convolution_may_leave_out_its_bias_and_take_the_relu(device):
    of = ops.Convolution(*TABLE[3])
    host = blobs(of, np.float32)
    x, w, y = (device.upload(host[name]) for name in ("x", "w", "y"))
    record_and_run(device, np.float32, lambda: of.forward(x, w, None, y, relu=True))
    true = np.maximum(reference(of, host["x"], host["w"], 0 * host["b"], host["dy"])[0], 0)
    assert np.abs(fetch(y) - true).max() < 1e-5
