#!/usr/bin/env python3
"""How many public networks are read, measured, drawn, loaded and run, and why the rest are not.

    python benchmarks/zoo.py DIR INDEX [--limit 40] [--json FILE] [--write README.md]

INDEX is a JSON list of {"file": name in DIR, "repo": owner/name, "kind": "deploy" or "train"}; other kinds
are passed over. Each net runs on the embedded engine, in a worker process with limited time and memory: one
image (the batch of the file, where one does not fit the net) of the size of the file, noise as input, weights
by its fillers, small gaussian ones where it has none. Backward begins in every output, or before the layers
without a gradient that make it, with ones. `--write` puts the table between its marks.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import resource
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- written by benchmarks/zoo.py -->\n", "<!-- end -->\n"
STAGES = ("read", "all shapes", "drawn", "loaded", "forward", "backward")
OPENCV = "OpenCV reads"  # beside the stages, of its own
KINDS = ("deploy", "train")
NEEDS = {  # stages that are not tried where another one failed
    "all shapes": "read", "drawn": "read", "loaded": "all shapes", "forward": "loaded", "backward": "forward",
}  # fmt: skip
WORKERS = 2
LIBRARIES = 6 * 2**30  # bytes of address space that torch and OpenCV take before any net
MEMORY, TRACEBACK = "memory: ", "traceback: "  # how these reasons begin
PLACE = Path(__file__).resolve().parent.parent / "caffe_viz"
Results = dict[str, str]  # stage -> "" where it passed, else why not


# --- one net, in a worker -------------------------------------------------------------------


@dataclass
class Trial:
    """One net; each property is what a stage makes, from those before it."""

    path: Path
    kind: str
    memory: float  # bytes

    @cached_property
    def message(self) -> Any:
        """The net of its phase."""
        from caffe_viz.netdef import for_phase, read_net

        net = for_phase(read_net(self.path), self.phase)
        net.force_backward = True
        return net

    @property
    def phase(self) -> str:
        """Of the layers that are looked at."""
        return "TRAIN" if self.kind == "train" else "TEST"

    @cached_property
    def geometry(self) -> Any:
        """Its shapes."""
        from caffe_viz import measure

        return measure(self.message)

    @cached_property
    def net(self) -> Any:
        """The net with weights and inputs."""
        import torch

        from caffe_viz import load_net, measure
        from caffe_viz.engine import modes
        from caffe_viz.errors import InputError, RunError
        from caffe_viz.surgery import with_batch

        message, geometry = self.message, self.geometry
        with suppress(InputError):
            one = with_batch(self.message, 1)
            message, geometry = one, measure(one)
        # Data, diffs, and what autograd keeps.
        if 3 * geometry.blob_bytes + 2 * geometry.param_bytes > self.memory:
            raise RunError(f"{MEMORY}more than {self.memory / 2**30:g} GB")
        modes.set_random_seed(1)
        net = load_net(message, engine="torch", phase=self.phase)
        generator = torch.Generator().manual_seed(1)
        for layer in net.layers:
            for place, blob in enumerate(layer.blobs):
                _fill(layer.type, place, blob, generator)
        images = [
            x for x in (net.blobs[name].shape for name in net.inputs) if len(x) == 4 and x[2:] != (1, 1)
        ]
        made = net.layer_dict
        labels = {x.bottom[i] for x in message.layer if x.name in made for i in made[x.name].labels()}
        for name in net.inputs:
            blob = net.blobs[name]
            blob.take(_values(blob.shape, images[0][2:] if images else (), name in labels, generator))
        return net

    def need_all_shapes(self) -> None:
        """Raises InputError where a shape is not known."""
        from caffe_viz.errors import InputError

        for why in self.geometry.unknown.values():
            raise InputError(why)

    def draw(self) -> None:
        """The graph as SVG."""
        from caffe_viz import show_structure

        show_structure(self.message).svg()

    def forward(self) -> None:
        """Once."""
        self.net.forward()

    def backward(self) -> None:
        """After a forward, to all that its outputs depend on."""
        import numpy as np

        from caffe_viz.errors import RunError
        from caffe_viz.probe.walk import find_path, walk

        starts = list(_starts(self.net))
        path = find_path(self.net, starts)
        walk(self.net, path, {name: np.ones(self.net.blobs[name].data.shape, np.float32) for name in starts})
        if self.net.inputs and path.on.isdisjoint(self.net.inputs):
            raise RunError("no gradient reaches an input")

    def opencv(self) -> None:
        """Read by the importer of OpenCV's dnn module, which says little of why not."""
        import cv2

        cv2.dnn.readNetFromCaffe(str(self.path))

    def stages(self) -> dict[str, Callable[[], object]]:
        """What to do, in this order."""
        return {
            "read": lambda: self.message,
            "all shapes": self.need_all_shapes,
            "drawn": self.draw,
            "loaded": lambda: self.net,
            "forward": self.forward,
            "backward": self.backward,
            OPENCV: self.opencv,
        }


def _fill(kind: str, place: int, blob: Any, generator: Any) -> None:
    """Values for a parameter to which no filler gave any: 1 for statistics, small ones for weights."""
    import torch

    if blob.tensor().any():
        return
    if "BatchNorm" in kind and place:
        blob.take(torch.ones(blob.shape))
    elif place == 0 or len(blob.shape) > 1:
        blob.take(0.01 * torch.randn(blob.shape, generator=generator))


def _values(shape: tuple[int, ...], image: tuple[int, ...], label: bool, generator: Any) -> Any:
    """Noise; labels; beside an `image` (H, W) regions (N, 1 + 4 boxes) of it, its size (N, 3 or 4)."""
    import torch

    noise = torch.randn(shape, generator=generator)
    if label:
        return (noise > 0).float()
    if not image or set(shape[2:]) - {1} or len(shape) < 2:
        return noise
    height, width = image
    rows = noise.view(shape[0], shape[1])
    if shape[1] in (3, 4):
        rows[:] = torch.tensor([height, width, 1, 1][: shape[1]])
    elif shape[1] in (5, 9):  # the place of the image; left, top, right, bottom
        rows[:, 0] = 0
        boxes = rows[:, 1:].unflatten(1, (-1, 2, 2))  # a view
        boxes[:] = boxes.sigmoid() / 2 + torch.tensor([[0.0], [0.5]])
        boxes *= torch.tensor([width, height]) - 1
    return noise


def _starts(net: Any) -> Iterator[str]:
    """The outputs; in place of those that a layer without a gradient makes, what it makes them of."""
    waiting, seen = list(net.outputs), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        layer = next(x for x in reversed(net.layers) if name in net.top_names[x.name])
        if layer.kind.gradient and layer.bottoms:
            yield name
        elif not layer.kind.gradient:
            waiting += net.bottom_names[layer.name]


def failure(error: Exception) -> str:
    """Why a stage failed, in one line; what is no error on purpose says where it came from."""
    from caffe_viz.errors import CaffeVizError

    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"{MEMORY}{line}"
    if isinstance(error, CaffeVizError | NotImplementedError):
        return line
    frames = traceback.extract_tb(error.__traceback__)
    frame = ([f for f in frames if Path(f.filename).is_relative_to(PLACE)] or frames)[-1]
    return f"{TRACEBACK}{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}: {line}"


def work(folder: Path, memory: float) -> None:
    """Serve nets from stdin: the name of each stage that begins, then all results, as lines of JSON."""
    for module in ("cv2", "torch", "caffe_viz.engine", "caffe_viz.views"):
        with suppress(ImportError):  # the stage that needs it says so
            import_module(module)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get between the answers
    limit = int(memory) + LIBRARIES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for order in sys.stdin:
        name, kind, stages = json.loads(order)
        trial, results = Trial(folder / name, kind, memory), Results()
        for stage in stages:
            why = results.get(NEEDS.get(stage, ""), "")
            if not why:
                answers.write(json.dumps(stage) + "\n")
                why = _tried(trial.stages()[stage])
            results[stage] = why
        answers.write(json.dumps(results) + "\n")


def _tried(run: Callable[[], object]) -> str:
    try:
        run()
    except Exception as error:
        return failure(error)
    return ""


# --- all nets --------------------------------------------------------------------------------


@dataclass
class Net:
    """One entry of the index, and what came of it."""

    file: str
    repo: str
    kind: str
    results: Results = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        """Whether it passes every stage."""
        return not any(self.results[stage] for stage in STAGES)

    @property
    def why(self) -> str:
        """Its first failure."""
        return next((self.results[stage] for stage in STAGES if self.results[stage]), "")


@dataclass
class Worker:
    """Takes nets from `waiting` until there are none, with a new process after each death."""

    folder: Path
    memory: float
    seconds: float
    waiting: queue.SimpleQueue[Net]
    done: Callable[[Net], None]

    def run(self) -> None:
        """In a thread of its own."""
        process: subprocess.Popen[str] | None = None
        while True:
            try:
                net = self.waiting.get_nowait()
            except queue.Empty:
                break
            for stages in (STAGES, (OPENCV,)):
                process = process or self._start()
                results, ended = self._ask(process, net, stages)
                net.results |= results
                if ended:
                    process = None
            self.done(net)
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, str(self.folder), "-", "--worker", "--memory", str(self.memory)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    def _ask(self, process: subprocess.Popen[str], net: Net, stages: tuple[str, ...]) -> tuple[Results, bool]:
        """What came of a net, and whether that ended the process."""
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(self.seconds, process.kill)
        late.start()
        with suppress(BrokenPipeError):  # it died, which the end of its answers says
            process.stdin.write(json.dumps((net.file, net.kind, stages)) + "\n")
            process.stdin.flush()
        begun = stages[0]
        for line in process.stdout:
            answer = json.loads(line)
            if isinstance(answer, dict):
                late.cancel()
                return answer, False
            begun = answer
        timeout = late.finished.is_set()
        late.cancel()
        code = process.wait()
        why = f"no answer within {self.seconds:g} s" if timeout else f"the process died ({code})"
        before = stages[: stages.index(begun)]
        return {s: "" if s in before else why for s in stages}, True


def run_all(nets: list[Net], folder: Path, memory: float, seconds: float) -> None:
    """Fill in the results of `nets`, and say on stderr how far it is."""
    waiting: queue.SimpleQueue[Net] = queue.SimpleQueue()
    for net in nets:
        waiting.put(net)
    count = 0

    def done(net: Net) -> None:
        nonlocal count
        count += 1
        print(f"{count}/{len(nets)}  {net.file}  {net.why or 'passes'}", file=sys.stderr, flush=True)

    workers = [Worker(folder, memory, seconds, waiting, done) for _ in range(WORKERS)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- what is printed -------------------------------------------------------------------------


def table(nets: list[Net]) -> str:
    """A row for each kind: how many nets pass each stage."""
    columns = ("", "nets", *STAGES, "repositories", "whole", OPENCV)
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for kind in KINDS:
        some = [net for net in nets if net.kind == kind]
        if not some:
            continue
        repos: dict[str, list[Net]] = {}
        for net in some:
            repos.setdefault(net.repo, []).append(net)
        whole = sum(all(net.passes for net in own) for own in repos.values())
        cells = [kind, str(len(some))]
        cells += [share(sum(not net.results[stage] for net in some), len(some)) for stage in STAGES]
        cells += [str(len(repos)), share(whole, len(repos))]
        cells.append(share(sum(not net.results[OPENCV] for net in some), len(some)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def share(part: int, whole: int) -> str:
    """12 (34 %)."""
    return f"{part} ({100 * part / whole:.0f} %)"


def reasons(nets: list[Net]) -> str:
    """Why nets fail, the commonest first, each with the stage and an example; tracebacks are told apart."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for net in nets:
        stage = next((s for s in STAGES if net.results[s]), None)
        if stage is not None:
            key = net.kind, stage, normalised(net.results[stage])
            found.setdefault(key, []).append(net.file)
    lines = ["| nets | kind | fails at | why | example |", "|---" * 5 + "|"]
    for (kind, stage, why), files in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"| {len(files)} | {kind} | {stage} | {why.replace('|', chr(92) + '|')} | {files[0]} |")
    whys = [net.why for net in nets]
    large = sum(why.startswith(MEMORY) for why in whys)
    traces = sum(why.startswith(TRACEBACK) for why in whys)
    return "\n".join(lines) + f"\n\nToo large for the memory: {large}. Tracebacks: {traces}.\n"


def normalised(why: str) -> str:
    """A reason without the names and numbers of one net; a layer's type stays.

    >>> normalised("/zoo/a.prototxt: layer 'x' (BN) on data 1x3x7: 2 bottoms, not 3; type 'Foo' is not known")
    "layer '..' (BN) on data N: N bottoms, not N; type 'Foo' is not known"
    """
    line = re.sub(r"^\S+\.\w+(:\d+)*: ", "", why)
    line = re.sub(r"(?<!type )'[^']*'", "'..'", line)
    line = re.sub(r"(?<![\w.])\d[\d,.]*(x\d+)*", "N", line)
    return " ".join(line.split())


def write_tables(file: Path, text: str) -> None:
    """Put `text` between the marks of `file`."""
    from caffe_viz.files import write_whole

    before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"{file} has no place for the table: {BEGIN.strip()} .. {END.strip()}")
    write_whole(file, (before + BEGIN + text + END + after).encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("index", type=Path, metavar="INDEX")
    parser.add_argument("--limit", type=int, help="so many nets of each kind, evenly spaced")
    parser.add_argument("--json", type=Path, help="write what came of each net")
    parser.add_argument("--write", type=Path, help="a Markdown file with marks for the table")
    parser.add_argument("--seconds", type=float, default=180, help="for one net [180]")
    parser.add_argument("--memory", type=float, default=6 * 2**30, help="bytes for one net [6 GB]")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.folder, given.memory)
        return
    nets = []
    for kind in KINDS:
        entries = [e for e in json.loads(given.index.read_text(encoding="utf-8")) if e["kind"] == kind]
        step = max(1, len(entries) / given.limit) if given.limit else 1
        chosen = [entries[int(i * step)] for i in range(int(len(entries) / step))]
        nets += [Net(e["file"], e["repo"], kind) for e in chosen]
    run_all(nets, given.folder, given.memory, given.seconds)
    print(table(nets))
    print(reasons(nets))
    if given.json:
        given.json.write_text(json.dumps([vars(net) for net in nets], indent=1), encoding="utf-8")
    if given.write:
        write_tables(given.write, table(nets))


if __name__ == "__main__":
    main()
