"""What a solver.prototxt says, for any engine: its nets, its learning rates, and what Caffe refuses in it."""

from caffe_viz.solving.nets import net_to_train, nets_to_test
from caffe_viz.solving.rates import POLICIES, learning_rate, next_step
from caffe_viz.solving.settings import TYPES, check_solver

__all__ = ["POLICIES", "TYPES", "check_solver", "learning_rate", "net_to_train", "nets_to_test", "next_step"]
