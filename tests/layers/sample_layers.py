"""Python layers as people write them, for the exam and the tests."""

from __future__ import annotations

import numpy as np

import pycaffe_lite as caffe


class TimesTen(caffe.Layer):
    """y = 10 x."""

    def setup(self, bottom, top):
        if len(bottom) != len(top):
            raise ValueError(f"{len(bottom)} bottoms, but {len(top)} tops")

    def reshape(self, bottom, top):
        for b, t in zip(bottom, top):
            t.reshape(*b.data.shape)

    def forward(self, bottom, top):
        for b, t in zip(bottom, top):
            t.data[...] = 10 * b.data

    def backward(self, top, propagate_down, bottom):
        for b, t, wanted in zip(bottom, top, propagate_down):
            if wanted:
                b.diff[...] = 10 * t.diff


class Affine(caffe.Layer):
    """y = a x + b, the first values of a and b in param_str."""

    def setup(self, bottom, top):
        for value in self.param_str.split():
            self.blobs.add_blob(1)
            self.blobs[-1].data[...] = float(value)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        a, b = self.blobs
        top[0].data[...] = a.data[0] * bottom[0].data + b.data[0]

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] += (top[0].diff * bottom[0].data).sum()
        self.blobs[1].diff[0] += top[0].diff.sum()
        if propagate_down[0]:
            bottom[0].diff[...] = self.blobs[0].data[0] * top[0].diff


class Square(caffe.Layer):
    """A loss: half the sum of squares, over the batch."""

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[0] = (bottom[0].data ** 2).sum() / 2 / bottom[0].num

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff[0] * bottom[0].data / bottom[0].num


class Counter(caffe.Layer):
    """Data: 0, 1, 2 ... so many at a time as param_str says."""

    def setup(self, bottom, top):
        top[0].reshape(int(self.param_str))
        self.next = 0

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        count = top[0].data.size
        top[0].data[...] = np.arange(self.next, self.next + count)
        self.next += count


class Positive(caffe.Layer):
    """Only the values that are above 0: how many there are is known when it runs."""

    def reshape(self, bottom, top):
        top[0].reshape(int((bottom[0].data > 0).sum()))

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data[bottom[0].data > 0]


class Broken(caffe.Layer):
    """Raises where param_str says."""

    def setup(self, bottom, top):
        self.stumble("setup")

    def reshape(self, bottom, top):
        top[0].reshape(1)
        self.stumble("reshape")

    def forward(self, bottom, top):
        self.stumble("forward")

    def backward(self, top, propagate_down, bottom):
        self.stumble("backward")

    def stumble(self, where):
        if where == self.param_str:
            raise KeyError("this is mine")


class Doubled(caffe.Layer):
    """In place: what is there becomes twice that."""

    def reshape(self, bottom, top):
        assert bottom[0] is top[0]

    def forward(self, bottom, top):
        top[0].data[...] *= 2

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] *= 2
