"""Images that strangers give to the live view: decoded as the commands do, or refused in a line."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import npy
from PIL import Image

from caffe_viz.errors import InputError
from caffe_viz.images import load_image, png_bytes
from caffe_viz.server.handlers import uploads as module
from caffe_viz.server.handlers.uploads import Uploads
from caffe_viz.server.lru import LRUCache
from caffe_viz.server.messages import Source

CAT = Path(__file__).resolve().parent.parent / "examples" / "cat.png"
NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 4), np.uint8)


def encoded(kind: str, mode: str = "RGB", **more: Any) -> bytes:
    """Noise as a file."""
    stream = io.BytesIO()
    Image.fromarray(NOISE, "RGBA").convert(mode).save(stream, kind, **more)
    return stream.getvalue()


def upright() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by a quarter
    return encoded("JPEG", exif=exif)


def animated() -> bytes:
    frames = [Image.fromarray(np.full((8, 8, 3), 60 * n, np.uint8)) for n in range(4)]
    stream = io.BytesIO()
    frames[0].save(stream, "gif", save_all=True, append_images=frames[1:])
    return stream.getvalue()


def png_head(width: int, height: int) -> bytes:
    """A PNG that says it is so large and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def decoded(data: bytes, name: str = "a.png") -> Any:
    uploads = Uploads()
    uploads.put("1", Source(name, data))
    return uploads.array("1")


@pytest.mark.parametrize(
    "data",
    [
        encoded("PNG"), encoded("PNG", "RGBA"), encoded("PNG", "P"), encoded("PNG", "L"), encoded("PNG", "LA"),
        encoded("JPEG"), encoded("JPEG", "CMYK"), encoded("WEBP"), encoded("TIFF"), encoded("BMP"), upright(),
        animated(), CAT.read_bytes(),
    ],
)  # fmt: skip
def test_an_image_is_what_load_image_makes_of_the_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    np.testing.assert_array_equal(decoded(data), load_image(tmp_path / "a"))


@pytest.mark.parametrize("array", [np.arange(24, dtype=np.float32).reshape(2, 3, 4), NOISE[..., :3]])
def test_a_file_npy_is_its_array_whatever_it_is_called(array: Any) -> None:
    np.testing.assert_array_equal(decoded(npy(array), "a.png"), array)


REFUSED = {
    "bomb": (png_head(50_000, 50_000), "million"),
    "41 megapixels": (png_head(8200, 5000), "8200 x 5000 pixels are more than 40 million"),
    "no pixels": (png_head(0, 0), "a.png"),
    "truncated": (CAT.read_bytes()[:5000], "cannot be read"),
    "empty": (b"", "not an image in a known format"),
    "text": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image in a known format"),
    "postscript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/etc/passwd) run\n", "EPS is not one of"
    ),
    "objects": (npy(np.array([{}], dtype=object)), "Python objects"),
    "text in an array": (npy(np.array(["a"])), "texts"),
    "infinity": (npy(np.array([np.inf])), "NaN or infinity"),
    "an array that ends early": (npy(np.zeros((100, 100)))[:900], "less than its header says"),
    "an array that lies": (
        npy(np.zeros(1)).replace(b"'shape': (1,), }" + b" " * 10, b"'shape': (99999999999,), }"),
        "less than its header says",
    ),
    "half a head": (npy(np.zeros(1))[:9], "cannot be read as an array"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_is_refused_in_a_line(case: str) -> None:
    data, words = REFUSED[case]
    with pytest.raises(InputError) as error:
        decoded(data)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_size_is_looked_at_before_pixels_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(InputError, match="more than 40 million"):
        decoded(png_head(8200, 5000))


def test_an_image_is_decoded_once_and_only_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = module.load_image
    monkeypatch.setattr(module, "load_image", lambda *given: (seen.append(str(given[0])), real(*given))[1])
    uploads = Uploads()
    for name in ("a", "b"):
        uploads.put(name, Source(name, png_bytes(np.zeros((4, 4, 3)))))
    assert seen == []
    for _ in range(2):
        uploads.array("b")
    assert seen == ["b"]


def test_the_last_values_that_fit_are_kept() -> None:
    recent: LRUCache[str] = LRUCache(6, len)
    made: list[str] = []

    def get(word: str) -> str:
        return recent.get(word, lambda: (made.append(word), word)[1])

    for word in ("aaa", "bb", "aaa", "cc", "bb", "ddddddddd", "ddddddddd", "aaa"):
        assert get(word) == word
    # cc takes the room of bb, which was used longest ago; the long one alone is kept too.
    assert made == ["aaa", "bb", "cc", "bb", "ddddddddd", "aaa"]
    assert recent.find("ddddddddd") is None
    assert recent.find("aaa") == "aaa"
