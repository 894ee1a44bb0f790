"""The two files of a Caffe network as messages: read (V0, V1, V2), upgraded to V2, written."""

from caffe_viz.netdef.blobs import blob_array, blob_shape, make_blob
from caffe_viz.netdef.net_pb2 import (
    BlobProto,
    BlobShape,
    LayerParameter,
    NetParameter,
    SolverParameter,
    SolverState,
)
from caffe_viz.netdef.phase import for_phase
from caffe_viz.netdef.read import parse_net, read_blob, read_net, read_solver, read_state, read_weights
from caffe_viz.netdef.stored import StoredLayer, of_this_caffe, stored_layers
from caffe_viz.netdef.unknown import ignored, left_out, of_forks, without_quiet
from caffe_viz.netdef.write import as_text, write_net, write_state, write_weights

__all__ = [
    "BlobProto",
    "BlobShape",
    "LayerParameter",
    "NetParameter",
    "SolverParameter",
    "SolverState",
    "StoredLayer",
    "as_text",
    "blob_array",
    "blob_shape",
    "for_phase",
    "ignored",
    "left_out",
    "make_blob",
    "of_forks",
    "of_this_caffe",
    "parse_net",
    "read_blob",
    "read_net",
    "read_solver",
    "read_state",
    "read_weights",
    "stored_layers",
    "without_quiet",
    "write_net",
    "write_state",
    "write_weights",
]
