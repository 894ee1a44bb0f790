"""`python -m caffe_viz.cli`."""

from caffe_viz.cli import main

main()
