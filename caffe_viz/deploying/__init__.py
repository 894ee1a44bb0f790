"""From the file of a training to the net that is used: Input layers, answers, and how images get in."""

from caffe_viz.deploying.deployed import Deployed, deploy

__all__ = ["Deployed", "deploy"]
