"""Videos as numbered frames, decoded in order or from the nearest key frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from caffe_viz.errors import CaffeVizWarning, InputError, RunError
from caffe_viz.images.pixels import Floats

SUFFIXES = frozenset(
    {
        ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv",
        ".ts", ".webm", ".wmv",
    }
)  # fmt: skip
# What a file may be, whatever its name: not a list of other files or addresses, which FFmpeg would follow.
KINDS = "asf,avi,flv,matroska,mov,mp4,mpeg,mpegts,mpegvideo,ogg,webm"

TIMES_JUMP = 0x0200  # AVFMT_TS_DISCONT of a format


def is_video(path: Path) -> bool:
    """Whether the file has the suffix of a video."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def frames_of(path: Path) -> tuple[Path, str] | None:
    """Split FILE#FRAMES, where FILE is a video; None for anything else."""
    file, sign, frames = str(path).rpartition("#")
    return (Path(file), frames) if sign and not path.exists() and is_video(Path(file)) else None


def chosen(path: Path, frames: str, count: int) -> range:
    """Return which of `count` frames FILE#12 or FILE#0:300:10 means. Raises InputError on anything else."""
    try:
        ends = [int(text) if text else None for text in frames.split(":")]
        found = range(count)[slice(*ends)] if len(ends) > 1 else range(count)[int(frames) :][:1]
    except (ValueError, TypeError):
        raise InputError(
            f"{path}#{frames}: give a frame, such as #12, or several, such as #0:300:10."
        ) from None
    if not found or frames.startswith("-"):
        raise InputError(f"{path}#{frames}: there are frames 0 to {count - 1}.")
    return found


def one_frame(path: Path) -> Floats | None:
    """Return the frame that FILE#12 means, None if it is no video. Raises InputError for several frames."""
    file, frames = (path, ":") if is_video(path) else frames_of(path) or (path, "")
    if not frames:
        return None
    video = Video(file)
    found = chosen(file, frames, len(video))
    if len(found) > 1:
        raise InputError(f"{path} is a video: give one of its frames, such as {file}#{found[0]}.")
    return video.frame(found[0])


class Video:
    """The frames of a file by number, in display order; its length is the number of frames.

    Of a file that ends early you get the frames before that, and a CaffeVizWarning.

    Raises:
        InputError: The file cannot be read, or has no frames.
        RunError: The library is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._av, self._lock = path, _library(), Lock()
        self._container, self._stream = self._opened()
        packets = [p for p in self._packets() if p.size and not p.is_discard]
        if not packets:
            raise InputError(f"{path} has no frames that can be read.")
        self._need_all(len(packets))
        times = [packet.pts for packet in packets]
        # AVI only has the times of packets, in decoding order; those of MPEG may jump.
        kind = self._container.format
        loose = kind.name == "avi" or kind.flags & TIMES_JUMP or None in times or len({*times}) < len(times)
        keys = [] if loose else [packet.pts for packet in packets if packet.is_keyframe]
        self._counted = bool(loose)
        self._times = np.sort(np.array(range(len(times)) if loose else times, np.int64))
        self._keys = np.searchsorted(self._times, np.sort(np.array(keys, np.int64)))
        self._place: int = -1  # the number of the last frame that was decoded, which is kept
        self._frame: Any = None
        self._decoded = self._numbered(self._from(0))

    def __len__(self) -> int:
        return len(self._times)

    def frame(self, number: int) -> Floats:
        """Return a frame as (H, W, 3) RGB in 0..1, upright. Raises InputError if it cannot be decoded."""
        with self._lock:
            self._reach(number)
            if self._place != number or self._frame.is_corrupt:
                raise InputError(f"{self.path}#{number} is damaged: the frame cannot be decoded.")
            rgb = self._frame.to_ndarray(format="rgb24")
            turns = round(self._frame.rotation / 90)
        return np.asarray(np.rot90(rgb, turns) / np.float32(255), np.float32)

    def _reach(self, number: int) -> None:
        """Decode up to a frame, or to the next one that can be decoded."""
        before = np.searchsorted(self._keys, number, "right")
        key = int(self._keys[before - 1]) if before else 0
        if number < self._place or key > self._place + 1:
            self._place = key - 1
            self._decoded = self._numbered(self._from(key))
        while self._place < number:
            self._place, self._frame = next(self._decoded, (len(self), None))

    def _from(self, key: int) -> int:
        """Continue reading at the key frame of that number."""
        if key:
            self._container.seek(int(self._times[key]), stream=self._stream)
        else:
            self._container.close()
            self._container, self._stream = self._opened()
        return key

    def _numbered(self, first: int) -> Iterator[tuple[int, Any]]:
        frames = (frame for packet in self._packets() for frame in self._frames(packet))
        for count, frame in enumerate(frames, first):
            counted = self._counted or frame.pts is None
            yield (count if counted else int(np.searchsorted(self._times, frame.pts)), frame)

    def _frames(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except self._av.FFmpegError:  # its frame is missing
            return []

    def _packets(self) -> Iterator[Any]:
        """All packets that can be read; the last is empty, which makes the decoder return the rest."""
        try:
            yield from self._container.demux(self._stream)
        except self._av.FFmpegError:
            return

    def _need_all(self, found: int) -> None:
        """Warn if there are fewer frames than the file says."""
        if found < self._stream.frames:
            warnings.warn(
                f"{self.path} ends early: {found:,} of its {self._stream.frames:,} frames are there.",
                CaffeVizWarning, stacklevel=3,
            )  # fmt: skip

    def _opened(self) -> tuple[Any, Any]:
        options = {"format_whitelist": KINDS, "protocol_whitelist": "file"}
        try:
            container = self._av.open(str(self.path.absolute()), options=options, metadata_errors="ignore")
        except self._av.FFmpegError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(f"{self.path} cannot be read as a video: {reason}.") from None
        stream = container.streams.best("video")
        if stream is None:
            raise InputError(f"{self.path} has no pictures in it.")
        stream.thread_type = "AUTO"
        return container, stream


def _library() -> Any:
    try:
        import av
    except ImportError:
        raise RunError("videos need a library: pip install 'caffe-viz[video]'.") from None
    return av
