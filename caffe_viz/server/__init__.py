"""The live view: explore a network in the browser, unit by unit."""

from __future__ import annotations

from caffe_viz.server.running import Server, serve

__all__ = ["Server", "serve"]
