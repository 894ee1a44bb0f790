"""Connect to clusters by the addresses that the command line accepts."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from caffe_viz.errors import InputError, RunError

LOCAL = re.compile(r"local:([1-9][0-9]*)")
REMOTE = re.compile(r"(tcp|tls|ws|wss|ucx)://.+")
WAIT = "30s"
CLOSE_WAIT = 20.0  # seconds in which processes started here may end; then they do with this one


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect a dask client to tcp://.., to a scheduler file, or to local:4, processes started here.

    Raises:
        InputError: The address has another form.
        RunError: Nothing answers there, or dask is not installed.
    """
    local, remote, file = LOCAL.fullmatch(address), REMOTE.fullmatch(address), Path(address)
    if not (local or remote or file.is_file()):
        raise InputError(
            f"--cluster {address}: give tcp://HOST:PORT, a scheduler file, or local:N for N processes here."
        )
    try:
        from distributed.utils import silence_logging_cmgr
    except ImportError:
        raise RunError("clusters need a library: pip install 'caffe-viz[cluster]'.") from None
    with silence_logging_cmgr(logging.CRITICAL):  # what the user must know is said by errors
        if local:
            with _local(int(local[1])) as client:
                yield client
        else:
            with _remote(address if remote else "", file) as client:
                yield client


@contextmanager
def _remote(address: str, file: Path) -> Iterator[Any]:
    from distributed import Client

    where: dict[str, Any] = {"address": address} if address else {"scheduler_file": str(file)}
    try:
        client = Client(**where, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"--cluster {address or file}: no scheduler answers there ({_line(error)}).") from None
    try:
        yield client
    finally:
        with suppress(OSError):  # as TimeoutError
            client.close()


def in_words(client: Any) -> str:
    """Say how many workers there are, and where they can be watched."""
    count = len(client.nthreads())
    told = f"cluster: {count:,} worker{'' if count == 1 else 's'}"
    several = [threads for threads in client.nthreads().values() if threads > 1]
    if several:
        told += f", {len(several):,} with several threads, of which one is used: give them --nthreads 1"
    if client.cluster is not None and not _draws():
        return f"{told}; no dashboard, which needs a package: pip install bokeh"
    return f"{told}; dashboard: {client.dashboard_link}"


@contextmanager
def _local(processes: int) -> Iterator[Any]:
    """Start processes of one thread each that neither pause nor spill to disk: batches have a fixed size.

    A worker that dies is restarted, however long that takes; dask would give up after 15 s.
    """
    import dask
    from distributed import Client, LocalCluster

    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"}):
        try:
            cluster = LocalCluster(
                n_workers=processes, threads_per_worker=1, processes=True, memory_limit=0,
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
                preload=["caffe_viz.tasks.ignore_sigint"],
            )  # fmt: skip
        except RuntimeError as error:  # one was killed before it was there
            raise RunError(
                f"--cluster local:{processes}: a process ended while it started ({_line(error)})."
            ) from None
        try:
            with Client(cluster, set_as_default=False) as client:
                yield client
        finally:
            with suppress(OSError):  # as TimeoutError
                cluster.close(timeout=CLOSE_WAIT)


def _draws() -> bool:
    """Whether dask can show a dashboard here."""
    return find_spec("bokeh") is not None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
