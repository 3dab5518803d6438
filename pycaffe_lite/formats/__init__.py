"""The files Caffe reads and writes, one module a format."""
