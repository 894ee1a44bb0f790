"""Turn the file of a training into the net to use: Input layers, outputs, and the preprocessing."""

from caffe_viz.deploying.deployed import Deployed, deploy
from caffe_viz.deploying.nearby_files import preprocess_near, settings_near

__all__ = ["Deployed", "deploy", "preprocess_near", "settings_near"]
