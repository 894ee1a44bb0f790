"""Look inside Caffe networks."""

__version__ = "0.1.0"
