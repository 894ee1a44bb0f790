#!/usr/bin/env python3
"""The same as `caffe-viz convert`."""

from caffe_viz.cli import main

if __name__ == "__main__":
    main("convert")
