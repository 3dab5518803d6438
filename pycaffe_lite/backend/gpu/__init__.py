"""Computing on a GPU: CUDA C from kernels, programs that are captured, matrix products, convolutions."""
