#!/usr/bin/env python3
"""The same as `caffe-viz serve`."""

from caffe_viz.cli import main

if __name__ == "__main__":
    main("serve")
