"""The commands: arguments and paths in, text and files out. The only package that prints."""

# isort: off  (in the order of the help; importing them enters their commands)
from caffe_viz.cli import files, engines  # noqa: F401

# isort: on
from caffe_viz.cli.app import main

__all__ = ["main"]
