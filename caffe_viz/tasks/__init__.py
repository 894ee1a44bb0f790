"""Separate what is to be done from who does it.

A `Work` is what many pieces have in common, such as a net and a recipe; each process gets it once. A piece
is a value that says which part is meant: filters, or images. An `Execution` does the pieces in any order: in
this process (`InProcess`), in the worker processes of an ascent, or on a cluster (`Cluster`). It yields
reports on the pieces; the caller puts them together.
"""

from caffe_viz.tasks.cluster import Cluster
from caffe_viz.tasks.image_chunk import ImageChunk, cut
from caffe_viz.tasks.in_process import InProcess
from caffe_viz.tasks.ranges import Ranges
from caffe_viz.tasks.stopping import stop
from caffe_viz.tasks.work import Execution, FatalPieceError, Tell, Work, WorkerDeath

__all__ = [
    "Cluster",
    "Execution",
    "FatalPieceError",
    "ImageChunk",
    "InProcess",
    "Ranges",
    "Tell",
    "Work",
    "WorkerDeath",
    "cut",
    "stop",
]
