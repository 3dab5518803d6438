"""16-bit products and convolutions: rounded as they should be, scaled losses, and refused where they cannot be."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from emulator import COMPILER, EmulatedGpu
from exam import Case, Run, build
from fake_nvidia import PROPERTIES
from test_training import digits, losses, solver_of, weights  # noqa: F401

from pycaffe_lite import cli
from pycaffe_lite import device as devices
from pycaffe_lite.backend.gpu.device import CupyGpu
from pycaffe_lite.backend.gpu.half import narrow, widen
from pycaffe_lite.device import fetch, put
from pycaffe_lite.errors import DeviceError
from pycaffe_lite.kernel import recording
from pycaffe_lite.solver import scaling

pytestmark = pytest.mark.skipif(not COMPILER, reason="no g++, which the emulated GPU compiles with")


def brain(x: np.ndarray) -> np.ndarray:
    """x as bfloat16, in float32: the nearest multiple of 2^-7 of its power of two, ties to even."""
    fraction, exponent = np.frexp(x.astype(np.float64))
    return np.ldexp(np.rint(fraction * 256), exponent - 8).astype(np.float32)


def rounded(x: np.ndarray, precision: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return brain(x) if precision == "bf16" else x.astype(np.float16).astype(np.float32)


def awkward() -> np.ndarray:
    """Random numbers of all sizes, every tie and neighbour of one, the ends of the range."""
    rng = np.random.default_rng(0)
    sizes = rng.standard_normal(4000) * 10.0 ** rng.uniform(-9, 5, 4000)
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    ties = (every[1:] + every[:-1]) / 2
    ends = [0.0, -0.0, 65504, 65519.99, 65520, 1e30, np.inf, 2**-24, 2**-25, 2**-25 * 1.0001, 1.5 * 2**-25, 6e-8]
    near = [np.nextafter(ties.astype(np.float32), np.float32(to)) for to in (0, 1e9)]
    x = np.concatenate([sizes, every, ties, ends, *near]).astype(np.float32)
    return np.concatenate([x, -x])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_numbers_are_rounded_to_the_nearest(precision):
    gpu, x = EmulatedGpu(), awkward()
    x = np.append(x[np.abs(x) < 1e38], [np.nan]).astype(np.float32)
    half, back = gpu.zeros(x.size, np.uint16), gpu.zeros(x.size, np.float32)
    program = gpu.program(np.float32)
    with recording(program):
        code = int(precision == "bf16")
        narrow(gpu.upload(x), code, x.size, half)
        widen(half, code, 0, None, 1, 1, 0, x.size, back)
    program.run()
    np.testing.assert_array_equal(back.get(), rounded(x, precision))
    if precision == "fp16":
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(half.get()[:-1], x[:-1].astype(np.float16).view(np.uint16))


CASES = [
    ('type: "InnerProduct" inner_product_param { num_output: 6 }', "cublasGemmEx"),
    ('type: "InnerProduct" inner_product_param { num_output: 5 transpose: true }', "cublasGemmEx"),
    ('type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 }', "cudnnConvolutionForward"),
    (
        'type: "Convolution" convolution_param { num_output: 6 kernel_size: 2 group: 3 bias_term: false }',
        "cudnnConvolutionForward",
    ),
    ('type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 3 }', "cudnnConvolutionBackwardData"),
]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("body, function", CASES)
def test_layers_round_what_they_multiply(nvidia, body, function, precision):
    """Of inputs that are 16-bit numbers products are exact; of others they are those of the rounded ones."""
    case = Case(body, bottoms=[(2, 3, 7, 6)])
    with devices.using(CupyGpu(precision=precision)):
        here = Run(build(case, np.float32), case)
    there = Run(build(case, np.float32), case)
    plain = there.forward()[0]
    for run in (here, there):
        run.saved = [rounded(value, precision) if value.ndim > 1 else value for value in run.saved]
        for blob in run.inputs:
            blob.data[...] = rounded(blob.data, precision)
    got, want = here.forward()[0], there.forward()[0]
    step = 2.0**-8 if precision == "bf16" else 2.0**-11  # what rounding a result costs
    np.testing.assert_allclose(got, want, atol=step * np.abs(want).max())
    assert np.abs(want - plain).max() > 1e-5, "the inputs were no 16-bit numbers at first"
    for gradients in zip(here.backward(), there.backward()):
        for mine, theirs in zip(*gradients):
            np.testing.assert_allclose(mine, theirs, atol=8 * step * np.abs(theirs).max())
    libraries = nvidia["cublas"].calls + nvidia["cudnn"].calls
    assert function in libraries and "cublasSgemm_v2" not in libraries


@pytest.mark.parametrize("dtype", [np.float64])
def test_nets_of_other_numbers_are_left_alone(nvidia, dtype):
    case = Case(CASES[2][0], bottoms=[(2, 3, 7, 6)])
    with devices.using(CupyGpu(precision="fp16")):
        here = Run(build(case, dtype), case)
    np.testing.assert_allclose(here.forward()[0], Run(build(case, dtype), case).forward()[0], rtol=1e-12)


@pytest.fixture
def halves(nvidia):
    gpu = CupyGpu(precision="fp16", most_kept_data=0)
    with devices.using(gpu):
        yield gpu


def test_lenet_trains_in_fp16_nearly_as_in_fp32(digits, halves):  # noqa: F811
    solver = solver_of(digits)
    with devices.using(devices.CPU):
        there = solver_of(digits)
    assert losses(solver, 4) == pytest.approx(losses(there, 4), rel=5e-3)
    for mine, wanted in zip(weights(solver), weights(there)):
        np.testing.assert_allclose(mine, wanted, atol=2e-3)
    assert solver.update.scaling.state() == [2.0**16, 4, 0]


def test_gradients_that_are_too_large_leave_an_update_out(digits, halves, caplog):  # noqa: F811
    caplog.set_level("INFO", logger="pycaffe_lite")
    solver = solver_of(digits, display=2)
    solver.step(1)
    put(solver.update.scaling.numbers, [2.0**24, 7, 0])
    before = weights(solver)
    solver.step(1)
    scale, since, left_out = solver.update.scaling.state()
    assert (scale, since, left_out) == (2.0**23, 0, 1)
    assert all(np.array_equal(a, b) for a, b in zip(weights(solver), before))
    while solver.update.scaling.state()[1] == 0:
        solver.step(1)
    assert not all(np.array_equal(a, b) for a, b in zip(weights(solver), before))
    solver.step(2)
    assert "fp16: " in caplog.text and "update(s) left out, gradients being too large" in caplog.text


def test_the_scale_grows_again(digits, halves, monkeypatch):  # noqa: F811
    monkeypatch.setattr(scaling, "INTERVAL", 2)
    monkeypatch.setattr(scaling, "FIRST", 8.0)
    solver = solver_of(digits, iter_size=2)
    solver.step(5)
    assert solver.update.scaling.state() == [32, 1, 0]


def test_a_stopped_run_goes_on_with_its_scale(digits, halves, tmp_path):  # noqa: F811
    whole = solver_of(digits, snapshot_prefix=str(tmp_path / "lenet"))
    put(whole.update.scaling.numbers, [2.0**12, 3, 1])
    losses(whole, 2)
    state = whole.snapshot()
    rest = losses(whole, 2)
    resumed = solver_of(digits, random_seed=8)
    resumed.restore(state)
    assert resumed.update.scaling.state() == [2.0**12, 5, 1]
    assert losses(resumed, 2) == rest
    assert fetch(resumed.update.scaling.numbers).tolist() == whole.update.scaling.state()


def test_a_watched_iteration_scales_its_loss_too(digits, halves):  # noqa: F811
    solver, watched = solver_of(digits), solver_of(digits)
    watched.add_callback(lambda: None, lambda: None)
    assert losses(solver, 3) == losses(watched, 3)
    assert all(np.array_equal(a, b) for a, b in zip(weights(solver), weights(watched)))


def test_what_cannot_be_computed_is_refused(nvidia, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(PROPERTIES, "major", 7)
    with pytest.raises(DeviceError, match=r"bf16 needs a GPU of compute capability 8\.0, this has 7\.0: use fp16"):
        CupyGpu(precision="bf16")
    nvidia["cudnn"] = None
    with pytest.raises(DeviceError, match=r"precision fp16 needs cuDNN, which is not installed: pip install"):
        CupyGpu(precision="fp16")
    monkeypatch.setitem(sys.modules, "cupy", None)
    model = tmp_path / "net.prototxt"
    model.write_text('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }')
    assert cli.main(["time", "--model", str(model), "--precision", "fp16"]) == 1
    assert "--precision fp16: needs a GPU, but this runs on the CPU" in capsys.readouterr().err
