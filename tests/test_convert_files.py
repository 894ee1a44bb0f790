"""Files of weights at their limits: without weights, too large for Caffe, and damaged where values are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from caffe_viz.converting import way
from caffe_viz.converting.caffemodel import write_caffemodel
from caffe_viz.converting.formats import read_tensors
from caffe_viz.converting.hdf5 import read_hdf5, write_hdf5
from caffe_viz.converting.json_text import read_json
from caffe_viz.converting.npz import read_npz, write_npz
from caffe_viz.converting.safetensor import read_safetensors, write_safetensors
from caffe_viz.converting.tensors import Tensor, Tensors, in_order
from caffe_viz.errors import InputError, RunError


def tensor(values: Any, name: str = "a", number: int = 0) -> Tensor:
    array = np.asarray(values, np.float32)
    return Tensor(name, number, array.shape, lambda: array)


def refusal(call: Any, *arguments: Any, kind: type[Exception] = InputError) -> str:
    with pytest.raises(kind) as caught:
        call(*arguments)
    return str(caught.value)


def test_files_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "w"
    np.savez(path.with_suffix(".npz"))
    path.with_suffix(".json").write_text(json.dumps({"layers": {"a": []}}))
    write_safetensors(Tensors([]), path.with_suffix(".safetensors"))
    for read, suffix in ((read_npz, ".npz"), (read_json, ".json"), (read_safetensors, ".safetensors")):
        assert (
            refusal(read, path.with_suffix(suffix), None) == f"{path.with_suffix(suffix)} holds no weights."
        )


class TestTooLarge:
    """Caffe's blobs and files hold at most 2 GiB; nothing is read before that is known."""

    def large(self, count: int) -> Tensor:
        return Tensor("a", 0, (count,), lambda: pytest.fail("it was read"))

    def test_a_blob(self, tmp_path: Path) -> None:
        whole = in_order([self.large(2**29 - 1)], None, tmp_path / "w")
        assert whole.every[0].count == 2**29 - 1
        for shape in ((2**29,), (-1, 3)):
            assert refusal(in_order, [Tensor("a", 0, shape, self.large(1).read)], None, tmp_path / "w") == (
                f"{tmp_path / 'w'}: a/0 of shape {shape} is over the 2 GiB of a blob of Caffe's."
            )

    def test_all_of_a_caffemodel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """16 MiB are left for the layers."""
        assert refusal(write_caffemodel, Tensors([self.large(2**29 - 2**22)]), tmp_path / "w") == (
            f"{tmp_path / 'w'}: the values take 2,130,706,432 bytes; a caffemodel has at most 2 GiB."
        )
        assert not (tmp_path / "w").exists()
        monkeypatch.setattr("caffe_viz.converting.caffemodel.MESSAGE_LIMIT", 2**24 + 8)
        write_caffemodel(Tensors([tensor([1, 2])]), tmp_path / "w")
        assert list(read_tensors(tmp_path / "w", None).every[0].array()) == [1, 2]


class TestDamageWhereValuesAre:
    def test_npz(self, tmp_path: Path) -> None:
        """The header is read before the values and their sum of control."""
        write_npz(Tensors([tensor(np.arange(9000))]), tmp_path / "w.npz")
        data = (tmp_path / "w.npz").read_bytes()
        (tmp_path / "w.npz").write_bytes(data.replace(np.float32(8000).tobytes(), np.float32(1).tobytes()))
        found = read_npz(tmp_path / "w.npz", None)
        assert refusal(found.every[0].array) == (
            f"{tmp_path / 'w.npz'} is not a .npz file, or is damaged: Bad CRC-32 for file 'a/0.npy'."
        )

    def test_safetensors(self, tmp_path: Path) -> None:
        path = tmp_path / "w.safetensors"
        write_safetensors(Tensors([tensor([1, 2, 3])]), path)
        found = read_safetensors(path, None)
        path.write_bytes(path.read_bytes()[:-4])
        assert refusal(found.every[0].array).startswith(f"{path} is damaged: ")


def test_safetensors_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    said = "safetensors needs its library: pip install 'caffe-viz[safetensors]'."
    assert refusal(read_safetensors, tmp_path / "w", None, kind=RunError) == said


def _elsewhere(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as beside:
        beside["prototxt"] = "layer { }"
    file["prototxt"] = h5py.ExternalLink("other.h5", "prototxt")


def _outside(file: h5py.File, folder: Path) -> None:
    (folder / "raw").write_bytes(b"layer { }")
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)  # create_dataset() ignores `external` for a single value
    how.set_external(bytes(folder / "raw"), 0, 9)
    kind, one = h5py.h5t.py_create(np.dtype("S9")), h5py.h5s.create(h5py.h5s.SCALAR)
    h5py.h5d.create(file.id, b"prototxt", kind, one, how)


def _link(file: h5py.File, folder: Path) -> None:
    file["text"] = "layer { }"
    file["prototxt"] = h5py.SoftLink("/text")


class TestTheNetInHdf5:
    """Its text is read where it is one text of this file itself."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        write_hdf5(Tensors([tensor([[1], [2]])]), tmp_path / "w.h5")
        return tmp_path / "w.h5"

    @pytest.mark.parametrize(
        ("make", "known"),
        [
            (lambda file, _: file.create_dataset("prototxt", data="layer { }"), True),
            (lambda file, _: file.create_dataset("prototxt", data=["layer { }"]), False),
            (lambda file, _: file.create_group("prototxt"), False),
            (_elsewhere, False),
            (_outside, False),
            (_link, False),
        ],
        ids=["text", "texts", "folder", "another file", "raw bytes of another file", "link"],
    )
    def test_which_texts_are_read(self, make: Any, known: bool, path: Path) -> None:
        with h5py.File(path, "a") as file:
            make(file, path.parent)
        assert (read_hdf5(path, None).net is not None) == known

    def test_numbers_are_none(self, path: Path) -> None:
        with h5py.File(path, "a") as file:
            file["prototxt"] = 7
        assert refusal(read_hdf5, path, None).startswith(f"{path}: its prototxt is damaged: ")


class TestWhatConvertingLoses:
    def differ(self, before: Any, after: Any) -> tuple[float, str, float]:
        return way._difference(
            Tensors([tensor([1.0], "z"), tensor(before)]), Tensors([tensor([1.0], "z"), tensor(after)])
        )

    def test_the_largest_difference(self) -> None:
        assert self.differ([1, -9, 3], [1, -7, 2.5]) == (2, "a/0", 9)
        assert self.differ([1, 2], [1, 2]) == (0, "", 0)

    @pytest.mark.parametrize("after", [[1.0, np.inf], [1.0, 2.0], [1.0, -np.inf]])
    def test_nan_and_infinity_that_become_others(self, after: list[float]) -> None:
        before = [1.0, np.nan if after[1] > 2 else np.inf]
        assert self.differ(before, after) == (np.inf, "a/0", np.inf)
        assert self.differ(before, before) == (0, "", 0)

    @pytest.mark.parametrize("after", [Tensors([]), Tensors([tensor([[1, 2]])])])
    def test_blobs_that_are_gone_or_of_another_shape(self, after: Tensors) -> None:
        said = "a/0 of shape (2,) does not come back from what was written."
        assert refusal(way._difference, Tensors([tensor([1, 2])]), after, kind=RunError) == said


def test_values_are_one_array_of_the_shape() -> None:
    """As h5py and NumPy give them, in any layout."""
    found: NDArray[Any] = Tensor("a", 0, (3, 2), lambda: np.arange(6).reshape(2, 3).T).array()
    assert found.flags.c_contiguous
    assert found.tolist() == [[0, 3], [1, 4], [2, 5]]
