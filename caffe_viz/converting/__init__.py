"""Convert trained weights to other file formats and back."""

from caffe_viz.converting.formats import FORMATS, format_of, read_tensors
from caffe_viz.converting.tensors import Tensor, Tensors
from caffe_viz.converting.way import Converted, convert

__all__ = ["FORMATS", "Converted", "Tensor", "Tensors", "convert", "format_of", "read_tensors"]
