"""The CPU: kernels compiled by numba, kept as object code, and run from a table by threads of our own.

To read: `program`, `launcher` and `pool` run kernels; `native` and `compile` make them, `atoms` and `vector`
are the words Python lacks. `tile` is the micro-kernel under everything fast, `panels` feeds it, `gemm` and
`dot` multiply matrices. `plane`, `band` and `columns` bring images to it. The passes of convolution have
several ways, of which the shape decides: forward `convolve` and `pixels`, weights `weights_grad`, `taps` and
`points`, images `deconvolve`; `thin` and `depthwise` (by `strips` or `packs`) are special cases, and `im2col` is the
plain way, for any number of axes and for float64.
"""
