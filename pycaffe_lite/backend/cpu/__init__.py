"""The CPU: kernels compiled by numba, kept as object code, and run from a table by threads of our own.

To read: `program`, `launcher` and `pool` run kernels; `native` and `compile` make them, `atoms` and `vector`
are the words Python lacks. `tile` is the micro-kernel under everything fast, `panels` feeds it, `gemm` and
`dot` multiply matrices. `plane`, `band` and `columns` bring images to it, `convolve` or `pixels`,
`weights_grad` or `taps`, and `deconvolve` are the three passes of convolution, `thin`, `depthwise` and `strips` its
special cases; `im2col` is the plain way, for any number of axes and for float64.
"""
