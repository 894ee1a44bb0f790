"""The commands: arguments and paths in, text and files out. The only package that prints."""

# Importing them enters their commands; `usage.GROUPS` has them in the order of the help.
# isort: off
from caffe_viz.cli import files, drawing, engines, ascending, preprocessing, images, dense  # noqa: F401
from caffe_viz.cli import attribution, evaluation, features, comparing, training, reporting, serving  # noqa: F401
from caffe_viz.cli import extracting, deploying, exporting, converting  # noqa: F401

# isort: on
from caffe_viz.cli.app import main

__all__ = ["main"]
