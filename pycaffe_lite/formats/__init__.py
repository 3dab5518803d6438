"""The files Caffe reads and writes.

`weights` gives a net its parameters and writes them, in whichever of `caffemodel`, `hdf5` and `tensors` (.npz,
.safetensors) a file is; all of them come down to what is in `stored`. `solverstate` and `mean` are files of their
own. `blobproto` and, below it, `wire` know the bytes; `files` has what appears whole or not at all.
"""
