"""Blobs of many images: rows of a blob by blob, kept while they come, then written as one file."""

from caffe_viz.extraction.extraction import POOLS, Extraction, Rows
from caffe_viz.extraction.filing import Filing
from caffe_viz.extraction.formats import FORMATS, need_format, write

__all__ = ["FORMATS", "POOLS", "Extraction", "Filing", "Rows", "need_format", "write"]
