"""Read, upgrade (V0 and V1 to V2) and write the two files of a Caffe network as messages."""

from caffe_viz.netdef.blobs import blob_array, blob_shape, make_blob
from caffe_viz.netdef.embedded_net import is_binary, own_weights
from caffe_viz.netdef.hdf5 import hdf5_opened, is_hdf5
from caffe_viz.netdef.net_pb2 import (
    BlobProto,
    BlobShape,
    LayerParameter,
    NetParameter,
    SolverParameter,
    SolverState,
)
from caffe_viz.netdef.phase import AS_FILED, State, for_phase, in_other_states, phase_of, with_state
from caffe_viz.netdef.read import parse_net, read_blob, read_net, read_solver, read_state, read_weights
from caffe_viz.netdef.stored import StoredLayer, of_this_caffe, stored_layers
from caffe_viz.netdef.unknown import ignored, left_out, of_forks, without_quiet
from caffe_viz.netdef.write import as_text, write_net, write_state, write_weights

__all__ = [
    "AS_FILED",
    "BlobProto",
    "BlobShape",
    "LayerParameter",
    "NetParameter",
    "SolverParameter",
    "SolverState",
    "State",
    "StoredLayer",
    "as_text",
    "blob_array",
    "blob_shape",
    "for_phase",
    "hdf5_opened",
    "ignored",
    "in_other_states",
    "is_binary",
    "is_hdf5",
    "left_out",
    "make_blob",
    "of_forks",
    "of_this_caffe",
    "own_weights",
    "parse_net",
    "phase_of",
    "read_blob",
    "read_net",
    "read_solver",
    "read_state",
    "read_weights",
    "stored_layers",
    "with_state",
    "without_quiet",
    "write_net",
    "write_state",
    "write_weights",
]
