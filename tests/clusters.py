"""Small clusters for tests, and what they work on: fixtures, which a module of tests takes over by name.

Its own fixture `folder` has what `write_toy` writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fork_server
import numpy as np
import pytest
from PIL import Image

from caffe_viz.netdef import NetParameter, make_blob, write_weights
from caffe_viz.network import Network

fork_server.for_dask()
PATIENCE = 120  # seconds
TOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 10 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2" convolution_param { num_output: 8 kernel_size: 3 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc" inner_product_param { num_output: 5 } }
"""


def write_toy(folder: Path) -> None:
    """deploy.prototxt and net.caffemodel."""
    rng = np.random.default_rng(0)
    weights = NetParameter()
    for name, shape in (("conv1", (10, 3, 3, 3)), ("conv2", (8, 10, 3, 3)), ("fc", (5, 8 * 8 * 8))):
        kernels = rng.normal(size=shape).astype(np.float32) / 9
        weights.layer.add(name=name, blobs=[make_blob(kernels), make_blob(np.zeros(shape[0], np.float32))])
    write_weights(weights, folder / "net.caffemodel")
    (folder / "deploy.prototxt").write_text(TOY)


def write_noise(photos: Path, count: int) -> None:
    """0.png, 1.png, .. of the toy's size."""
    rng = np.random.default_rng(0)
    photos.mkdir()
    for n in range(count):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(photos / f"{n}.png")


@contextmanager
def parcels_apart(folder: Path) -> Iterator[None]:
    """Those of this process are in here/; those of the workers of `grown` in there/, as on another machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "here"))
        yield


@pytest.fixture(scope="module")
def net(folder: Path) -> Network:
    """On the embedded engine."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    return Network(folder / "deploy.prototxt", folder / "net.caffemodel", engine="torch")


@pytest.fixture(scope="module")
def grown(folder: Path) -> Iterator[Callable[[int], Any]]:
    """As of `started`."""
    with started(folder / "there") as of:
        yield of


@pytest.fixture(scope="module")
def client(grown: Callable[[int], Any]) -> Any:
    """Of two workers, which are started again when they die; a piece may kill one."""
    return grown(2)


@contextmanager
def started(cache: Path) -> Iterator[Callable[[int], Any]]:
    """What gives the client of a cluster of so many workers, whose cache folder is another one than ours."""
    import dask
    from distributed import Client, LocalCluster

    patient = {"distributed.deploy.lost-worker-timeout": "1 day"}  # dask gives a slow start up after 15 s
    with dask.config.set({"distributed.scheduler.allowed-failures": 1, **patient}):
        made = LocalCluster(
            n_workers=0, threads_per_worker=1, dashboard_address=":0", memory_limit=0, silence_logs=50,
            env={"XDG_CACHE_HOME": str(cache)},
        )  # fmt: skip
        with closing_in_time(made), Client(made) as client:

            def of(workers: int) -> Any:
                made.scale(workers)
                until(lambda: len(made.scheduler.workers) == workers)
                return client

            yield of


@contextmanager
def closing_in_time(cluster: Any) -> Iterator[None]:
    """Its end, which would wait without end for a worker that died as it began."""
    try:
        yield
    finally:
        cluster.close(timeout=PATIENCE)


def until(true: Callable[[], bool]) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def same(a: Any, b: Any) -> None:
    """All fields of the two are equal."""
    for name, value in vars(a).items():
        np.testing.assert_array_equal(value, getattr(b, name), err_msg=name)
