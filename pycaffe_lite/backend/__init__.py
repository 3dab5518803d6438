"""What differs between the devices: `cpu` compiles and runs the numba twins of the kernels."""
