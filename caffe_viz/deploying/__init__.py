"""From the file of a training to the net that is used: Input layers, answers, and how images get in."""

from caffe_viz.deploying.beside import preprocess_near, settings_near
from caffe_viz.deploying.deployed import Deployed, deploy

__all__ = ["Deployed", "deploy", "preprocess_near", "settings_near"]
