"""The weights that the authors of Caffe publish, fetched once and checked by their SHA-1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from caffe_viz.errors import InputError, RunError, near

TIMEOUT = 60  # seconds without an answer


class Published(NamedTuple):
    """Where a caffemodel is, and its SHA-1."""

    url: str
    sha1: str


_SITE = "http://dl.caffe.berkeleyvision.org"
PUBLISHED = {
    "caffenet": Published(
        f"{_SITE}/bvlc_reference_caffenet.caffemodel", "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46"
    ),
    "alexnet": Published(f"{_SITE}/bvlc_alexnet.caffemodel", "9116a64c0fbe4459d18f4bb6b56d647b63920377"),
    "googlenet": Published(f"{_SITE}/bvlc_googlenet.caffemodel", "405fc5acd08a3bb12de8ee5e23a96bec22f08204"),
}
Report = Callable[[int, int, str], None]  # bytes done, bytes in all (0: unknown), note


def download(name: str, folder: str | Path | None = None, report: Report | None = None) -> Path:
    """The path of the published caffemodel of `name`, fetched into `folder` (None: the user's cache).

    A file that is there already and has the right SHA-1 is taken as it is. Whatever goes wrong, Ctrl-C
    included, leaves no file.

    Raises:
        InputError: no weights of that name are published.
        RunError: the download failed, or what came has another SHA-1.
    """
    if name not in PUBLISHED:
        raise InputError(f"there are no published weights of {name!r}.{near(name, PUBLISHED)}")
    import pooch

    url, sha1 = PUBLISHED[name]
    folder = Path(pooch.os_cache("caffe_viz") if folder is None else folder)
    pooch.get_logger().setLevel("ERROR")  # the caller says what there is to say
    fetch = pooch.HTTPDownloader(progressbar=_Bar(report) if report else False, timeout=TIMEOUT)
    try:
        return Path(
            pooch.retrieve(url, f"sha1:{sha1}", fname=url.rpartition("/")[2], path=folder, downloader=fetch)
        )
    except ValueError:  # pooch's word for another hash
        raise RunError(f"{url}: what came has not the SHA-1 {sha1} and was thrown away. Try again.") from None
    except OSError as error:  # also of requests
        raise RunError(f"{url} could not be fetched into {folder}: {error}. Try again later.") from None


class _Bar:
    """What pooch takes for a progress bar."""

    total = 0

    def __init__(self, report: Report) -> None:
        self.report, self.done = report, 0

    def update(self, count: int) -> None:
        self.done += count
        self.report(self.done, self.total, "")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Nothing to do: the bar is the caller's."""
