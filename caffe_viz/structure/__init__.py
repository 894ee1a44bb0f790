"""The structure of a network: its graph of layers, the modules in it, and the layout of the drawing."""

from __future__ import annotations

from caffe_viz.structure.graph import Blob, Edge, Graph, Layer, Node, read_graph
from caffe_viz.structure.layout import Layout, lay_out
from caffe_viz.structure.modules import Module

__all__ = ["Blob", "Edge", "Graph", "Layer", "Layout", "Module", "Node", "lay_out", "read_graph"]
