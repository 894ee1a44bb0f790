"""`caffe.proto`."""

from caffe_viz.engine.proto import caffe_pb2

__all__ = ["caffe_pb2"]
