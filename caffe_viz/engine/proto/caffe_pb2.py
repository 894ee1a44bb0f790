"""Caffe's messages under the name that scripts know: of nets, weights, solvers, snapshots, datums, labels."""

from __future__ import annotations

from typing import Any

from caffe_viz.errors import near
from caffe_viz.netdef import net_pb2

MISSING = ("AnnotatedDatum", "Annotation", "AnnotationGroup", "NormalizedBBox")


def __getattr__(name: str) -> Any:
    if hasattr(net_pb2, name):
        return getattr(net_pb2, name)
    if name in MISSING:
        raise NotImplementedError(
            f"caffe_pb2.{name} is real Caffe's only; the embedded engine has no use for it."
        )
    raise AttributeError(f"caffe_pb2 has no {name!r}.{near(name, net_pb2.DESCRIPTOR.message_types_by_name)}")
