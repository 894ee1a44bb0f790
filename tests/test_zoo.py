"""The benchmark of public networks, on nets of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fork_server
import pytest

pytest.importorskip("torch")

ZOO = Path(__file__).resolve().parent.parent / "benchmarks" / "zoo.py"
DATA = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 10 dim: 3 dim: 8 dim: 8 } } }'
)
NETS = {
    "good": """
input: "data" input_shape { dim: 10 dim: 3 dim: 8 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "other" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "best" type: "ArgMax" bottom: "conv" top: "best" }
""",
    "unknown": DATA + 'layer { name: "odd" type: "Oddity" bottom: "data" top: "odd" }',
    "broken": DATA + "layer {",
    "large": DATA.replace("dim: 8 dim: 8", "dim: 8000 dim: 8000")
    + 'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }',
    "learns": """
layer { name: "data" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 4 channels: 3 height: 8 width: 8 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 8 } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "l" }
""",
    "untold": """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } data_param { batch_size: 4 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 8 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "l" }
""",
}
README = "before\n<!-- written by benchmarks/zoo.py -->\nold\n<!-- end -->\nafter\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, dict[str, str]], str]:
    """What it prints, what it writes of each net, and the file with its table."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, text in NETS.items():
        (folder / f"{name}.prototxt").write_text(text)
    owners = {
        "good": "a/a",
        "unknown": "a/b",
        "broken": "a/c",
        "large": "a/a",
        "learns": "a/d",
        "untold": "a/d",
    }
    kinds = {"learns": "train", "untold": "train"}
    index = [
        {"file": f"{name}.prototxt", "repo": owners[name], "kind": kinds.get(name, "deploy")} for name in NETS
    ]
    (folder / "index.json").write_text(json.dumps([*index, {"file": "x", "repo": "x", "kind": "solver"}]))
    (folder / "README.md").write_text(README)
    command = [sys.executable, str(ZOO), str(folder), str(folder / "index.json")]
    command += ["--memory", "1", "--json", str(folder / "out.json"), "--write", str(folder / "README.md")]
    done = fork_server.run(command, capture_output=True, text=True, check=True, timeout=300)
    results = {net["file"]: net["results"] for net in json.loads((folder / "out.json").read_text())}
    return done.stdout, results, (folder / "README.md").read_text()


def test_stages(made: tuple[str, dict[str, dict[str, str]], str]) -> None:
    results = {
        name.removesuffix(".prototxt"): [stage for stage, why in found.items() if why]
        for name, found in made[1].items()
    }
    stages = ["read", "all shapes", "drawn", "loaded", "forward", "backward", "OpenCV reads"]
    assert [x for x in results["untold"] if x != "OpenCV reads"] == ["all shapes", "deployed"]
    assert results["good"] in ([], ["OpenCV reads"])
    assert results["learns"] in ([], ["OpenCV reads"])
    assert results["unknown"][:4] == ["all shapes", "loaded", "forward", "backward"]
    assert results["broken"] == stages
    assert results["large"][:3] == ["loaded", "forward", "backward"]
    assert "Oddity" in made[1]["unknown.prototxt"]["all shapes"]


def test_tables(made: tuple[str, dict[str, dict[str, str]], str]) -> None:
    printed, _, readme = made
    deploy = next(line for line in printed.splitlines() if line.startswith("| deploy"))
    cells = [cell.strip() for cell in deploy.split("|")[1:-1]]
    assert cells[:8] == [
        "deploy",
        "4",
        "3 (75 %)",
        "2 (50 %)",
        "3 (75 %)",
        "1 (25 %)",
        "1 (25 %)",
        "1 (25 %)",
    ]
    assert cells[8:10] == ["3", "0 (0 %)"]  # a/a has a net that is too large
    assert "Too large for the memory: 1. Tracebacks: 0." in printed
    assert "| 1 | deploy | read | " in printed
    assert "| broken.prototxt |" in printed
    head, _, tail = README.partition("old\n")
    assert readme.startswith(head)
    assert readme.endswith(tail)
    assert deploy in readme
    assert "Oddity" not in readme
