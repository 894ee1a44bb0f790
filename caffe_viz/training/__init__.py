"""Train nets from files: solvers that are checked first, batches of images and arrays, snapshots."""

from caffe_viz.training.feeds import BatchFeed, Images, InputBlobs
from caffe_viz.training.runs import Training
from caffe_viz.training.solvers import load_solver, read_settings

__all__ = ["BatchFeed", "Images", "InputBlobs", "Training", "load_solver", "read_settings"]
