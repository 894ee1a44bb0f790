"""A layer of type Python, as pycaffe takes it."""

import caffe
import numpy as np


class Clamp(caffe.Layer):
    """Values between -limit and limit; the limit is the param_str."""

    def setup(self, bottom, top):
        self.limit = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = np.clip(bottom[0].data, -self.limit, self.limit)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * (abs(bottom[0].data) < self.limit)
