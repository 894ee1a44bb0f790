"""Videos and folders of frames as sequences of images: exact frames in any order, whatever the container."""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, ran, refused
from PIL import Image

from caffe_viz import InputError, RunError, load_image
from caffe_viz.images import ImageCollection
from caffe_viz.images.videos import Video, chosen
from caffe_viz.netdef import parse_net, write_weights
from caffe_viz.parity import seeded_weights

FRAMES = 60
TOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 6 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def picture(number: int) -> Any:
    """(48, 64, 3): a red corner, and the bits of a frame's number as bars beside it."""
    image = np.full((48, 64, 3), 20, np.uint8)
    image[:16, :16] = (255, 0, 0)
    for bit in range(6):
        image[:, 16 + 8 * bit : 24 + 8 * bit] = 230 if number >> bit & 1 else 20
    return image


def number_of(frame: Any) -> int:
    """Which frame it is, by its bars."""
    bars = frame[:, 16:].reshape(48, 6, 8, 3).mean((0, 2, 3))
    return int(sum(1 << bit for bit in range(6) if bars[bit] > 0.5))


def film(path: Path, codec: str, pixels: str = "yuv420p", **options: str) -> Path:
    """The pictures of 0, 1, .. as a video."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as file:
        stream = file.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for n in range(FRAMES):
            image = picture(n)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    return path


FILMS: dict[str, tuple[str, dict[str, str]]] = {
    "h264.mp4": ("libx264", {"g": "12"}), "mpeg4.mp4": ("mpeg4", {}), "h264.mkv": ("libx264", {"g": "12"}),
    "vp8.webm": ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "8"}), "h264.avi": ("libx264", {}),
    "mjpeg.avi": ("mjpeg", {}), "mpeg2.mpg": ("mpeg2video", {}), "mpeg2.ts": ("mpeg2video", {}),
}  # fmt: skip


def made(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(encoded(name))
    return path


@cache
def encoded(name: str) -> bytes:
    codec, options = FILMS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = film(Path(folder) / name, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p", **options)
        return path.read_bytes()


@pytest.mark.parametrize("name", FILMS)
def test_frames_come_by_number_in_any_order(tmp_path: Path, name: str) -> None:
    video = Video(made(tmp_path, name))
    assert len(video) == FRAMES
    order = [*range(FRAMES), *np.random.default_rng(0).permutation(FRAMES)[:20].tolist()]
    for n in order:
        frame = video.frame(n)
        assert (frame.shape, frame.dtype) == ((48, 64, 3), np.float32)
        assert number_of(frame) == n
    red = video.frame(0)[4:12, 4:12].mean((0, 1))
    assert red[0] > 0.8
    assert red[1:].max() < 0.2


def test_frames_are_those_of_opencv(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    path = made(tmp_path, "h264.mp4")
    reader, video = cv2.VideoCapture(str(path)), Video(path)
    for n in range(FRAMES):
        found, bgr = reader.read()
        assert found
        assert (
            np.abs(255 * video.frame(n) - bgr[..., ::-1]).max() <= 3
        )  # how chroma is spread is their own affair
    assert not reader.read()[0]


def test_frames_far_on_are_not_decoded_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, decoded = Video(made(tmp_path, "h264.mp4")), list[int]()
    plain = Video._frames

    def counted(self: Video, packet: Any) -> list[Any]:
        found = plain(self, packet)
        decoded.append(len(found))
        return found

    monkeypatch.setattr(Video, "_frames", counted)
    video.frame(50)
    assert sum(decoded) <= 24  # from the key frame 48 on, as many as the decoder's threads take
    decoded.clear()
    for n in range(50, 58):
        video.frame(n)
    assert sum(decoded) <= 24


def test_some_frames(tmp_path: Path) -> None:
    path = made(tmp_path, "mpeg4.mp4")
    assert [entry.frame for entry in ImageCollection.of(f"{path}#5").entries] == [5]
    assert [entry.frame for entry in ImageCollection.of(f"{path}#10:40:10").entries] == [10, 20, 30]
    assert len(ImageCollection.of(f"{path}#::2")) == 30
    collection = ImageCollection.of(path, tmp_path / "mpeg4.mp4#3")
    assert (collection.name(0), collection.name(60), len(collection)) == (f"{path}#0", f"{path}#3", 61)
    assert number_of(load_image(f"{path}#40")) == 40
    with pytest.raises(InputError, match=r"is a video: give one of its frames, such as .*mpeg4\.mp4#0"):
        load_image(path)
    for frames, words in (("60", "frames 0 to 59"), ("-1", "frames 0 to 59"), ("50:40", "frames 0 to 59"), ("x", "as #12"), ("1:2:0", "as #12"), ("1:2:3:4", "as #12")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            ImageCollection.of(f"{path}#{frames}")
    assert chosen(path, "3", 4) == range(3, 4)


def test_collections_of_videos_differ(tmp_path: Path) -> None:
    path = made(tmp_path, "mpeg4.mp4")
    assert ImageCollection.of(f"{path}#0:5").digest != ImageCollection.of(f"{path}#0:6").digest


def test_frames_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.png", "frame10.png", "frame010.png", "frame100.png", "last.png"]
    for name in names:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    found = [entry.file.name for entry in ImageCollection.of(tmp_path).entries]
    assert found == ["frame1.png", "frame2.png", "frame010.png", "frame10.png", "frame100.png", "last.png"]


def test_a_video_in_a_folder_is_no_image_of_it(tmp_path: Path) -> None:
    made(tmp_path, "mpeg4.mp4")
    with pytest.raises(InputError, match="A video is given by its own name"):
        ImageCollection.of(tmp_path)


# --- damaged, foreign, turned -------------------------------------------------------


def opened(path: Path) -> tuple[Video | None, list[str]]:
    """The video, if there is one, and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            return Video(path), [str(one.message) for one in said]
        except InputError as error:
            return None, [str(error)]


def seen(video: Video, number: int) -> int | None:
    """What a frame shows; None if it cannot be decoded."""
    try:
        return number_of(video.frame(number))
    except InputError as error:
        assert "is damaged: the frame cannot be decoded" in str(error)  # noqa: PT017
        return None


@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_what_is_left_of_a_truncated_video_is_kept(tmp_path: Path, name: str, kept: float) -> None:
    path = made(tmp_path, name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    video, said = opened(path)
    if video is None:
        assert kept < 0.5 or name == "h264.avi"
        assert "\n" not in said[0]
        assert str(path) in said[0]
        return
    found = [seen(video, n) for n in range(len(video))]
    assert sum(shown == n for n, shown in enumerate(found)) >= (2 if kept >= 0.5 else 0)
    assert sum(shown not in (n, None) for n, shown in enumerate(found)) <= 1  # the one that is cut
    if name.endswith(".mp4"):
        assert said == [f"{path} ends early: {len(video)} of its 60 frames are there."]


def test_damaged_frames_are_passed_over(tmp_path: Path) -> None:
    """Zeros in a packet: its frame is missing, and those that are made of it until the next key frame."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = made(tmp_path, "mpeg4.mp4")
    with av.open(str(path)) as file:
        packet = bytes([packet for packet in file.demux(video=0) if packet.size][20])
    data = path.read_bytes()
    start = data.index(packet[-100:])
    path.write_bytes(data[:start] + bytes(100) + data[start + 100 :])
    video = Video(path)
    found = [seen(video, n) for n in range(len(video))]
    missing = [n for n, shown in enumerate(found) if shown is None]
    assert missing == [20, 21, 22, 23]
    assert [shown for shown in found if shown is not None] == [n for n in range(FRAMES) if n not in missing]
    toy(tmp_path)
    answers = json.loads(here(*classify(tmp_path, path), "--json"))["images"]
    assert [n for n, one in enumerate(answers) if "failed" in one] == missing
    assert all("top" in one for n, one in enumerate(answers) if n not in missing)


def test_a_list_of_other_files_is_not_followed(tmp_path: Path) -> None:
    """What FFmpeg makes of a file is what is in it, not its name."""
    secret = made(tmp_path, "mpeg2.ts")
    lists = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile {secret.name}\n",
    }
    for kind, text in lists.items():
        path = tmp_path / f"{kind}.mp4"
        path.write_text(text)
        with pytest.raises(InputError, match=f"{kind}.mp4 cannot be read as a video"):
            Video(path)


def test_a_turned_video_is_upright(tmp_path: Path) -> None:
    """The matrix of a track as a telephone writes it that was held upright: turn by 90 degrees clockwise."""
    path = made(tmp_path, "mpeg4.mp4")
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = [0, one, 0, -one, 0, 0, 48 << 16, 0, 1 << 30]
    data[place : place + 36] = b"".join(n.to_bytes(4, "big", signed=True) for n in matrix)
    path.write_bytes(bytes(data))
    frame = Video(path).frame(0)
    assert frame.shape == (64, 48, 3)
    assert frame[4:12, -12:-4, 0].mean() > 0.8  # the red corner is top right
    assert frame[4:12, 4:12, 0].mean() < 0.3


def test_without_the_library_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path, "mpeg4.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    for read in (ImageCollection.of, load_image):
        with pytest.raises(RunError, match=r"pip install 'caffe-viz\[video\]'"):
            read(path)


@pytest.mark.parametrize("content", [b"", b"no film", b"\0" * 5000])
def test_what_is_no_video_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    toy(tmp_path)
    said = refused(*classify(tmp_path, path))
    assert "a.mp4 cannot be read as a video" in said
    assert said.count("\n") == 1


# --- commands -----------------------------------------------------------------------


def toy(folder: Path) -> None:
    (folder / "deploy.prototxt").write_text(TOY)
    (folder / "preprocess.toml").write_text('channel_order = "RGB"\nmean = 0\nscale = 0.01\nresize = false\n')
    write_weights(seeded_weights(parse_net(TOY), 1), folder / "net.caffemodel")


def classify(folder: Path, image: object) -> list[str]:
    given = (folder / "deploy.prototxt", folder / "net.caffemodel", "--engine", "torch", "--image", image)
    return ["classify", *map(str, given)]


@pytest.mark.filterwarnings("error::caffe_viz.CaffeVizWarning")
def test_commands_take_a_video(tmp_path: Path) -> None:
    path = made(tmp_path, "h264.mp4")
    toy(tmp_path)
    two = [tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel", "--engine", "torch", "--image"]
    answers = json.loads(here(*classify(tmp_path, path), "--json"))["images"]
    assert [one["image"] for one in answers] == [f"{path}#{n}" for n in range(FRAMES)]
    frame = load_image(f"{path}#33")
    Image.fromarray(np.rint(255 * frame).astype(np.uint8)).save(tmp_path / "33.png")
    alone = json.loads(here(*classify(tmp_path, tmp_path / "33.png"), "--json"))["images"][0]
    for a, b in zip(alone["top"], answers[33]["top"], strict=True):
        assert (a["index"], a["value"]) == (b["index"], pytest.approx(b["value"], rel=1e-3))
    made_of = json.loads(
        here("features", *two, f"{path}#0:60:5", "--blob", "fc", "-o", tmp_path / "f.npz", "--json")
    )
    assert made_of["rows"] == 12
    best = json.loads(here("top", *two, path, "--layer", "fc", "-o", tmp_path / "out", "--json"))["filters"][
        0
    ]
    assert best["places"][0]["image"].startswith(f"{path}#")
    code, _, errors = ran("activations", *two, f"{path}#7", "-o", tmp_path / "out")
    assert (code, errors) == (0, "")
    assert "is a video: give one of its frames" in refused("activations", *two, path, "-o", tmp_path / "out")
