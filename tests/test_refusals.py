"""What a layer is refused for is said in one line; next to each boundary there is a net that is taken."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from geometry_toys import Toy
from PIL import Image
from refusal_cases import rows

from caffe_viz import geometry
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.netdef import parse_net

ROWS = list(rows())
REFUSED = [row for row in ROWS if row[1]]
TAKEN = [toy for toy, message in ROWS if not message]

Site = tuple[str, int]  # module and line of a `need`


def refused(text: str, *, files: bool = False) -> tuple[str, Site | None]:
    """The message, and the `need` behind it."""
    with pytest.raises(InputError) as caught:
        measure(parse_net(text), files=files)
    first = caught.value.__context__ or caught.value
    trace, frames = first.__traceback__, []
    while trace:
        frames.append(
            (Path(trace.tb_frame.f_code.co_filename).name, trace.tb_lineno, trace.tb_frame.f_code.co_name)
        )
        trace = trace.tb_next
    return str(caught.value), frames[-2][:2] if frames[-1][2] == "need" else None


@pytest.mark.parametrize(
    ("toy", "message"), REFUSED, ids=lambda one: str(one) if isinstance(one, Toy) else ""
)
def test_the_whole_message(toy: Toy, message: str) -> None:
    assert refused(toy.prototxt())[0] == message
    assert "\n" not in message


@pytest.mark.parametrize("toy", TAKEN, ids=str)
def test_a_neighbour_is_taken(toy: Toy) -> None:
    found = measure(parse_net(toy.prototxt()))
    assert not found.unknown
    assert all(min(shape, default=1) >= 1 for shape in found.blobs.values())


# Refused for what only a whole net, or a file, can have.
FILES = {("stored.py", name) for name in ("cropped", "_hdf5_data", "_image_data", "_text")}
NETS = {("measuring.py", name) for name in ("measure", "_out", "_share")}


def test_every_need_has_a_row() -> None:
    """But for those that are about a whole net, or files; they are below."""
    seen = {refused(toy.prototxt())[1] for toy, _ in REFUSED}
    missing = []
    for path in Path(geometry.__file__).parent.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef) or (path.name, function.name) in FILES | NETS:
                continue
            calls = [x for x in ast.walk(function) if isinstance(x, ast.Call)]
            needs = [x for x in calls if isinstance(x.func, ast.Name) and x.func.id == "need"]
            missing += [(path.name, x.lineno) for x in needs if (path.name, x.lineno) not in seen]
    assert not missing


INPUT = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 9 } } }'
CONV = 'layer {{ name: "{0}" type: "Convolution" bottom: "a" top: "{0}" param {{ name: "w" {2} }} convolution_param {{ num_output: 2 {1} }} }}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            Toy("ReLU", ["2 3"]).prototxt() + 'layer { name: "y" type: "TanH" bottom: "t0" top: "a" }',
            "layer 'y' (TanH) on t0 2x3: another layer already makes the top 'a': rename one of them",
        ),
        (
            INPUT + 'layer { name: "y" type: "Split" bottom: "a" top: "b" top: "b" }',
            "layer 'y' (Split) on a 1x3x8x9: another layer already makes the top 'b': rename one of them",
        ),
        (
            INPUT + CONV.format("p", "kernel_size: 3", "") + CONV.format("q", "kernel_h: 1 kernel_w: 9", ""),
            "layer 'q' (Convolution) on a_a_0_split_1 1x3x8x9: shares parameter 'w' of layer 'p', which is 2x3x3x3, not 2x3x1x9",
        ),
        (
            INPUT + CONV.format("p", "kernel_size: 3", "") + CONV.format("q", "kernel_size: 2", "share_mode: PERMISSIVE"),
            "layer 'q' (Convolution) on a_a_0_split_1 1x3x8x9: shares parameter 'w' of layer 'p', which is 2x3x3x3, not 2x3x2x2",
        ),
        (
            'layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 0 } } }',
            "layer 'i' (Input): top 'i' would be 0; no dimension may be below 1: correct its shape",
        ),
        (
            INPUT + 'layer { name: "y" type: "ReLU" bottom: "b" top: "b" }',
            "layer 'y' (ReLU): no layer before it makes its bottom 'b': correct the name or move the layer. There are: a.",
        ),
    ],
)  # fmt: skip
def test_in_a_net(text: str, message: str) -> None:
    assert refused(text)[0] == message


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"batch": 0}, "batch and size must be at least 1, not batch 0, size None"),
        ({"size": (0, 5)}, "batch and size must be at least 1, not batch None, size (0, 5)"),
        ({"batch": 2, "size": (5, -1)}, "batch and size must be at least 1, not batch 2, size (5, -1)"),
    ],
)
def test_of_sizes(sizes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        measure(parse_net(INPUT), **sizes)
    assert str(caught.value) == message
    assert measure(parse_net(INPUT), batch=1, size=(1, 1)).blobs["a"] == (1, 3, 1, 1)


def test_the_batch_may_make_the_input_too_large() -> None:
    with pytest.raises(InputError) as caught:
        measure(parse_net(INPUT), batch=10**7)
    limit = (
        "Caffe holds at most 32 axes and 2,147,483,647 values in a blob: make the input or the batch smaller"
    )
    assert str(caught.value) == f"layer 'a' (Input): the top would be 10000000x3x8x9; {limit}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one, with an image of 6 x 8 pixels, and lists of it and of nothing."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save("a.png")
    Path("list.txt").write_text("a.png 0\n")
    Path("blank.txt").write_text(" \n")
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("ImageData", 'source: "list.txt" new_height: 4', "give new_height and new_width both, or neither"),
        ("ImageData", 'source: "list.txt" new_width: 4', "give new_height and new_width both, or neither"),
        ("ImageData", 'source: "blank.txt"', "image_data_param.source 'blank.txt' lists no file."),
        ("HDF5Data", 'source: "blank.txt"', "hdf5_data_param.source 'blank.txt' lists no file."),
        (
            "ImageData",
            'source: "list.txt" } transform_param { crop_size: 7',
            "cannot crop 7x7 from an image of 6x8",
        ),
        (
            "ImageData",
            'source: "list.txt" } transform_param { crop_h: 6 crop_w: 9',
            "cannot crop 6x9 from an image of 6x8",
        ),
        (
            "HDF5Data",
            'source: "list.txt" } transform_param { scale: 2',
            "does not transform its data: remove transform_param",
        ),
    ],
)
def test_of_files(kind: str, settings: str, words: str, folder: Path) -> None:
    field = "image_data_param" if kind == "ImageData" else "hdf5_data_param"
    toy = Toy(kind, [], f"{field} {{ {settings} }}", 2)
    assert refused(toy.prototxt(), files=True)[0] == f"layer 'x' ({kind}): {words}"


def test_a_crop_of_the_whole_image_is_taken(folder: Path) -> None:
    settings = 'image_data_param { source: "list.txt" } transform_param { crop_h: 6 crop_w: 8 }'
    found = measure(parse_net(Toy("ImageData", [], settings, 2).prototxt()), files=True)
    assert found.blobs["t0"] == (1, 3, 6, 8)
