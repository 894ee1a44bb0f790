#!/usr/bin/env python3
"""How many public networks are read, measured, drawn, loaded and run, and why the rest are not.

    python benchmarks/zoo.py DIR INDEX [--limit 40] [--json FILE] [--write README.md]

INDEX is a JSON list of {"file": name in DIR, "repo": owner/name, "kind": "deploy" or "train"}; other kinds
are passed over. Each net runs on the embedded engine, in a worker process with limited time and memory: one
image (the batch of the file, where one does not fit the net) of the size of the file, noise as input, weights
by its fillers, small gaussian ones where it has none. Backward begins in every output, or before the layers
without a gradient that make it, with ones. Of train nets it is `caffe-viz shapes`, `draw`, and the net that
`deploy` makes, loaded whole and run forward. Shapes that stand in files of data are tried for `--input`.
`--write` puts the tables between its marks.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from zoo_trial import MEMORY, OPENCV, STAGES, TRACEBACK, Results, work

BEGIN, END = "<!-- written by benchmarks/zoo.py -->\n", "<!-- end -->\n"
KINDS = ("deploy", "train")
WORKERS = 2


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
        return not any(self.results[stage] for stage in STAGES[self.kind])

    @property
    def why(self) -> str:
        """Its first failure."""
        return next((self.results[stage] for stage in STAGES[self.kind] if self.results[stage]), "")


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
            for stages in (STAGES[net.kind], (OPENCV,)):
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
    """A table for each kind: how many nets pass each stage."""
    tables = []
    for kind in KINDS:
        some = [net for net in nets if net.kind == kind]
        if not some:
            continue
        repos: dict[str, list[Net]] = {}
        for net in some:
            repos.setdefault(net.repo, []).append(net)
        whole = sum(all(net.passes for net in own) for own in repos.values())
        cells = [kind, str(len(some))]
        cells += [share(sum(not net.results[stage] for net in some), len(some)) for stage in STAGES[kind]]
        cells += [str(len(repos)), share(whole, len(repos))]
        cells.append(share(sum(not net.results[OPENCV] for net in some), len(some)))
        columns = ("", "nets", *STAGES[kind], "repositories", "whole", OPENCV)
        lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", f"| {' | '.join(cells)} |"]
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def share(part: int, whole: int) -> str:
    """12 (34 %), never rounded up."""
    return f"{part} ({100 * part // whole} %)"


def reasons(nets: list[Net]) -> str:
    """Why nets fail, the commonest first, each with the stage and an example; tracebacks are told apart."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for net in nets:
        failed = [stage for stage in STAGES[net.kind] if net.results[stage]]
        for stage in failed if net.kind == "train" else failed[:1]:  # those of a train net are of their own
            found.setdefault((net.kind, stage, normalised(net.results[stage])), []).append(net.file)
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
    parser.add_argument("--memory", type=float, default=6, help="GB for one net [6]")
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
