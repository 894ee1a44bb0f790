"""The seam between what is to be done and who does it.

A `Work` is what many pieces have in common, such as a net and a recipe; it goes to each process once. A
piece is a value that says which part is meant: filters, or images. A `Run` has the pieces done, in any
order: in this process (`Here`), by the crew of an ascent, or on a cluster (`Cluster`). What is told of a
piece are its reports; how they are put together is the affair of whoever asked.
"""

from caffe_viz.tasks.cluster import Cluster
from caffe_viz.tasks.here import Here
from caffe_viz.tasks.pictures import Pictures, cut
from caffe_viz.tasks.ranges import Ranges
from caffe_viz.tasks.stopping import stop
from caffe_viz.tasks.work import Deadly, Death, Run, Tell, Work

__all__ = ["Cluster", "Deadly", "Death", "Here", "Pictures", "Ranges", "Run", "Tell", "Work", "cut", "stop"]
