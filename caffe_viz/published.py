"""Download published weights and check them by their SHA-1; see prototxt/README.md."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_dir

from caffe_viz.errors import InputError, RunError, near

Progress = Callable[[int, int], None]

BVLC = "http://dl.caffe.berkeleyvision.org/"
SQUEEZENET = "https://github.com/DeepScale/SqueezeNet/raw/master/"
# Folder in prototxt/ -> address and SHA-1 of its weights.
PUBLISHED: dict[str, tuple[str, str]] = {
    "alexnet": (BVLC + "bvlc_alexnet.caffemodel", "9116a64c0fbe4459d18f4bb6b56d647b63920377"),
    "caffenet": (BVLC + "bvlc_reference_caffenet.caffemodel", "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46"),
    "googlenet": (BVLC + "bvlc_googlenet.caffemodel", "405fc5acd08a3bb12de8ee5e23a96bec22f08204"),
    "squeezenet_v1.0": (
        SQUEEZENET + "SqueezeNet_v1.0/squeezenet_v1.0.caffemodel",
        "579d0beb658e43c45937bf8bb5e4034fea4e1f69",
    ),
    "squeezenet_v1.1": (
        SQUEEZENET + "SqueezeNet_v1.1/squeezenet_v1.1.caffemodel",
        "3397f026368a45ae236403ccc81cfcbe8ebe1bd0",
    ),
    "vgg16": (
        "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
        "9363e1f6d65f7dba68c4f27a1e62105cdf6c4e24",
    ),
}
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 16  # bytes between two calls of `progress`


def download(name: str, folder: str | Path | None = None, *, progress: Progress | None = None) -> Path:
    """Download the published weights of network `name`, and return the path of the file.

    A file that is there already, with the right SHA-1, is not fetched again; one with another SHA-1 is
    replaced. The file is written whole and checked, or not at all.

    Args:
        name: A network of prototxt/, such as "caffenet".
        folder: Where to put the file. Default: the user's cache folder.
        progress: Called with (bytes so far, total bytes); the total is 0 if the server does not tell it.

    Raises:
        InputError: No weights are published under that name.
        RunError: They cannot be fetched or written, or the server sent something else.
    """
    import pooch
    import requests

    if name not in PUBLISHED:
        raise InputError(f"no published weights are known for {name!r}.{near(name, PUBLISHED)}")
    url, sha1 = PUBLISHED[name]
    path = _place(name, folder)

    def fetch(address: str, partial: str, _: object) -> None:
        bar = _Bar(progress) if progress else False
        pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT)(address, partial, None)
        Path(partial).chmod(0o644)  # pooch's partial files are for the owner alone, and stay so when renamed

    try:
        with _quiet(pooch.get_logger()):
            pooch.retrieve(url, f"sha1:{sha1}", path.name, path.parent, downloader=fetch)
    except requests.RequestException as error:
        raise RunError(
            f"{url}: {_reason(error)}; nothing was kept. Try again, or put the file at {path} yourself."
        ) from None
    except OSError as error:
        raise RunError(
            f"{url}: {path} cannot be written: {error.strerror or error}. Give another folder or make room."
        ) from None
    except ValueError:  # what pooch raises where the hash differs
        raise RunError(
            f"{url}: what came is not the published file, its SHA-1 is not {sha1}; nothing was kept. Try "
            f"again, from another network if a login page answers in its place."
        ) from None
    return path


def kept(name: str) -> Path | None:
    """Return the weights of `name` in the user's cache folder, if `download` has put them there."""
    path = _place(name) if name in PUBLISHED else None
    return path if path is not None and path.is_file() else None


def _place(name: str, folder: str | Path | None = None) -> Path:
    return Path(folder or user_cache_dir("caffe_viz")) / PUBLISHED[name][0].rsplit("/", 1)[-1]


class _Bar:
    """The progress bar that pooch expects, which calls a function."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.total = 0
        self.done = 0

    def update(self, count: int) -> None:
        self.done += count  # of the last chunk pooch counts more than came
        self.progress(min(self.done, self.total) if self.total else self.done, self.total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing is held."""


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    """Why a request failed, in a few words."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT:g} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off in the middle"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection to the server, or it broke off"
    return " ".join(str(error).split()).rstrip(".")
