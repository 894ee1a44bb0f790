"""Answers that are kept: in how many bytes, for how long, and what of them is still there when they are damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caffe_viz.server.cache import Cache
from caffe_viz.server.messages import EncodedAnswer, Picture


def answer(size: int, mark: int = 0) -> EncodedAnswer:
    """An answer of `size` bytes."""
    picture = Picture(bytes([mark]) * (size - 12), "png", 7, 5, "a \u00e9\nb", "name")
    return EncodedAnswer('{"n": 1}', (picture,), b"data", "npz")


def test_what_was_put_is_there() -> None:
    cache = Cache(1000)
    cache.put("a", answer(100))
    assert cache.get("a") == answer(100)
    assert cache.get("b") is None
    assert cache.size == 100


def test_the_least_used_goes_when_it_is_full() -> None:
    cache = Cache(1000)
    for n, key in enumerate("abc"):
        cache.put(key, answer(300, n))
    cache.get("a")
    cache.put("d", answer(300))
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert cache.size == 900


def test_it_never_holds_more_than_its_limit() -> None:
    cache = Cache(1000)
    for n in range(300):
        cache.put(str(n % 7), answer(13 + 37 * n % 1200, n % 256))
        assert cache.size <= 1000
        assert cache.size == sum(found.size for key in map(str, range(7)) if (found := cache.get(key)))
    assert cache.get(str(299 % 7))


def test_one_that_is_too_large_is_not_kept_nor_what_it_replaces() -> None:
    cache = Cache(1000)
    cache.put("a", answer(500))
    cache.put("b", answer(500))
    cache.put("a", answer(1001))
    assert cache.get("a") is None
    assert cache.get("b") == answer(500)
    assert cache.size == 500


def test_a_folder_keeps_them_for_the_next_server(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    Cache(1000, folder).put("a/data", answer(300, 7))
    again = Cache(1000, folder)
    assert again.get("a/data") == answer(300, 7)
    assert again.size == 300
    assert again.get("a") is None
    assert Cache(100, folder).get("a/data") == answer(300, 7)  # with no room in memory


def test_the_folder_is_bounded_and_the_least_used_goes(tmp_path: Path) -> None:
    one = len(_file(tmp_path / "one", "a"))
    folder = tmp_path / "folder"
    cache = Cache(0, folder, 3 * one + one // 2)
    for n, key in enumerate("abc"):
        cache.put(key, answer(300))
        for path in folder.iterdir():  # older than the next by more than the disk's clock tells
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9 * (3 - n)))
    cache.get("a")
    cache.put("d", answer(300))
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert len(list(folder.iterdir())) == 3
    cache.put("e", answer(4 * one))  # larger than all that it may take
    assert len(list(folder.iterdir())) == 3
    Cache(0, folder, 2 * one).put("e", answer(300))  # those of an earlier server count
    assert len(list(folder.iterdir())) == 1


def _file(folder: Path, key: str) -> bytes:
    Cache(0, folder).put(key, answer(300))
    (path,) = folder.iterdir()
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["empty", "short", "changed", "other", "folder"])
def test_a_damaged_file_counts_as_absent_and_is_written_anew(tmp_path: Path, damage: str) -> None:
    whole = _file(tmp_path, "a")
    (path,) = tmp_path.iterdir()
    middle = len(whole) // 2
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes(
            {"empty": b"", "short": whole[:-1], "changed": changed, "other": b"{}\n" * 40}[damage]
        )
    cache = Cache(0, tmp_path)
    assert cache.get("a") is None
    cache.put("a", answer(300))
    assert (cache.get("a") is None) == (damage == "folder")


def test_a_folder_that_cannot_be_written_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = Cache(1000, tmp_path / "file")
    cache.put("a", answer(100))
    assert cache.get("a") == answer(100)
    assert cache.get("b") is None
