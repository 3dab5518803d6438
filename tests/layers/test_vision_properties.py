"""Windows of any size over images of any size: the vision layers against the slow references of the exam."""

from __future__ import annotations

import numpy as np
from cases_vision import columns, deconvolved, pooled
from exam import Case, Run, build, check_reference, close, spread, values
from hypothesis import given, settings
from hypothesis import strategies as st

small = st.integers(1, 4)
MORE = settings(max_examples=60, deadline=None)


def per_axis(name, values):
    return " ".join(f"{name}: {value}" for value in values)


@st.composite
def geometry(draw, axes=(1, 2, 3)):
    """A batch of images, and a kernel, stride, dilation and pad for each of their axes."""
    count = draw(st.sampled_from(axes))
    kernel, stride, dilation, pad = (draw(st.tuples(*[of] * count)) for of in (small, small, small, st.integers(0, 2)))
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    size = [draw(st.integers(max(1, e - 2 * p), e + 7)) for e, p in zip(extent, pad)]
    fields = [per_axis(*f) for f in zip(("kernel_size", "stride", "dilation", "pad"), (kernel, stride, dilation, pad))]
    return (draw(st.integers(1, 3)), draw(small), *size), " ".join(fields), (kernel, stride, dilation, pad)


@MORE
@given(geometry())
def test_im2col(made):
    shape, fields, _ = made
    check_reference(Case(f'type: "Im2col" convolution_param {{ {fields} }}', [shape], reference=columns))


@MORE
@given(geometry(), small, st.booleans(), st.data())
def test_deconvolution(made, outputs, bias, data):
    (batch, channels, *size), fields, (kernel, stride, dilation, pad) = made
    axes = zip(size, kernel, stride, dilation, pad)
    if any(s * (n - 1) + d * (k - 1) + 1 - 2 * p < 1 for n, k, s, d, p in axes):
        return  # refused: nothing would be left
    group = data.draw(st.sampled_from([g for g in (1, 2, 3, 4) if channels % g == 0]))
    fields += f" num_output: {outputs * group} group: {group} bias_term: {str(bias).lower()}"
    case = Case(f'type: "Deconvolution" convolution_param {{ {fields} }}', [(batch, channels, *size)])
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-4)):  # two implementations
        run = Run(build(case, dtype), case)
        (top,) = run.forward()
        (want,) = deconvolved(values(case), [p.astype(float) for p in run.saved], run.layer)
        close(top.astype(float), want.reshape(top.shape), f"{dtype.__name__}, top", tolerance)


@MORE
@given(st.data(), st.sampled_from(["MAX", "AVE", "STOCHASTIC"]), st.sampled_from(["CEIL", "FLOOR"]))
def test_pooling(data, pool, rounding):
    axes = data.draw(st.integers(1, 2 if pool == "STOCHASTIC" else 4))
    kernel, stride = data.draw(small), data.draw(small)
    pad = 0 if pool == "STOCHASTIC" else data.draw(st.integers(0, kernel - 1))
    size = data.draw(st.tuples(*[st.integers(max(1, kernel - 2 * pad), 9)] * axes))
    fields = f"pool: {pool} round_mode: {rounding} kernel_size: {kernel} stride: {stride} pad: {pad}"
    image = spread((data.draw(st.integers(1, 2)), data.draw(small), *size), low=0.1)
    tops = 2 if pool == "MAX" else 1
    check_reference(
        Case(f'type: "Pooling" pooling_param {{ {fields} }}', [image], tops=tops, phase="TEST", reference=pooled)
    )


def test_windows_without_a_maximum(device):
    """Of nothing but NaN: the lowest number, as in Caffe, so that divergence shows. Outside the image: 0."""
    nan = np.nan
    image = np.array([[nan, nan, 3, nan, 5], [nan, nan, nan, nan, 6]]).reshape(1, 1, 2, 5)
    net = build(Case('type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', [image]), np.float32)
    net.run_forward()
    assert net.blobs["y0"].data.ravel().tolist() == [np.finfo(np.float32).min, 3, 6]
    net.blobs["y0"].diff[...] = [7, 8, 9]
    net.run_backward()
    assert net.blobs["x0"].diff.ravel().tolist() == [0, 0, 8, 0, 0, 0, 0, 0, 0, 9]

    case = Case('type: "Pooling" pooling_param { kernel_size: 1 stride: 2 }', [np.full((1, 1, 2, 2), -np.inf)])
    net = build(case, np.float32)
    net.run_forward()
    assert net.blobs["y0"].data.ravel().tolist() == [np.finfo(np.float32).min, 0, 0, 0]
