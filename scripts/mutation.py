"""Do the tests notice when a line of the core is wrong? A sample of cosmic-ray's mutants says how often.

`make coverage` records which test reaches which line. A mutant is put to the tests that reach its line,
those that reach the fewest lines first; it is killed when one of them fails. Each has a fork of a process
that has imported what is slow and nothing of caffe_viz: no file changes, and worker processes of the
package do not see the mutant.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import coverage
import pytest
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import use_db

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ["netdef", "geometry", "surgery", "probe", "engine/layers"]
SLOW = [
    "torch", "numpy", "scipy.ndimage", "matplotlib.pyplot", "skimage.transform", "PIL.Image",
    "google.protobuf.text_format", "hypothesis", "caffe",
]  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A module with one change; `line` is the first that it touches."""

    path: Path
    source: str
    line: int
    change: str  # as of diff


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the mutant's source."""

    def __init__(self, mutant: Mutant) -> None:
        module = mutant.path.relative_to(REPOSITORY).with_suffix("")
        parts = module.parts[:-1] if module.name == "__init__" else module.parts
        self._name, self._mutant = ".".join(parts), mutant

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        if name == self._name:
            return importlib.util.spec_from_file_location(name, self._mutant.path, loader=self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._mutant.source, self._mutant.path, "exec"), vars(module))


class Chosen:
    """A plugin of pytest: these tests, in this order; the name of one that fails goes into a file."""

    def __init__(self, tests: Sequence[str], killer: Path) -> None:
        self._place, self._killer = {test: n for n, test in enumerate(tests)}, killer

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((x for x in items if x.nodeid in self._place), key=lambda x: self._place[x.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._killer.write_text(report.nodeid)


def mutants(paths: Sequence[Path], seed: int) -> Iterator[Mutant]:
    """All that change more than an annotation, in random order."""
    with tempfile.TemporaryDirectory() as folder, use_db(os.path.join(folder, "session.sqlite")) as work:
        init(paths, work, {})
        places = [item.mutations[0] for item in work.work_items]
    places.sort(key=lambda x: (str(x.module_path), x.operator_name, x.occurrence))
    random.Random(seed).shuffle(places)
    for place in places:
        path = Path(place.module_path)
        source = path.read_text(encoding="utf-8")
        changed = mutate_code(source, get_operator(place.operator_name)(), place.occurrence)
        if changed is not None and meaning(changed) not in ("", meaning(source)):
            change = difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm="")
            yield Mutant(path, changed, place.start_pos[0], "\n".join(list(change)[3:]))


def meaning(source: str) -> str:
    """A module without its annotations, which nothing evaluates; "" if it cannot be parsed."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


def reaching(data: coverage.CoverageData, mutant: Mutant, reach: Mapping[str, int]) -> list[str]:
    """The tests that run the mutant's line; all of its module's where the import runs it."""
    lines = data.contexts_by_lineno(str(mutant.path.relative_to(REPOSITORY)))
    tests = set(lines.get(mutant.line, ())) - {""}
    for line in () if tests else lines:
        tests |= set(lines[line]) - {""}
    return sorted({test.partition("|")[0] for test in tests}, key=lambda test: reach[test])


class Trial:
    """A mutant put to tests, in a process of its own."""

    def __init__(self, mutant: Mutant, tests: Sequence[str], limit: float) -> None:
        self.mutant, self.tests = mutant, tests
        self._limit, self._began = limit, time.monotonic()
        self._folder = tempfile.TemporaryDirectory()
        self._killer, self.killer = Path(self._folder.name, "killer"), ""
        self._process = os.fork()
        if not self._process:
            code = 1
            try:
                code = tested(mutant, tests, self._killer)
            finally:
                os._exit(code)

    def outcome(self) -> str | None:
        """None: not yet known."""
        done, status = os.waitpid(self._process, os.WNOHANG)
        if not done and time.monotonic() < self._began + self._limit:
            return None
        with suppress(ProcessLookupError):
            os.killpg(self._process, signal.SIGKILL)
        if not done:
            os.waitpid(self._process, 0)
        if self._killer.exists():
            self.killer = self._killer.read_text()
        self._folder.cleanup()
        return "too long" if not done else "killed" if status else "SURVIVED"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


def tested(mutant: Mutant, tests: Sequence[str], killer: Path) -> int:
    """The exit code of pytest on the mutant."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    sys.meta_path.insert(0, Changed(mutant))
    files = sorted({test.partition("::")[0] for test in tests})
    given = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={killer.parent / 'tests'}", *files]
    return int(pytest.main(given, plugins=[Chosen(tests, killer)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "rooms", nargs="*", default=ROOMS, help="folders or modules of caffe_viz (default: the core)"
    )
    parser.add_argument("--data", type=Path, default=REPOSITORY / "out" / "coverage", help="of make coverage")
    parser.add_argument("--sample", type=int, default=300, help="how many mutants (default: 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", type=int, default=500, help="how many at most for each (default: 500)")
    parser.add_argument("--limit", type=float, default=300, help="seconds for each (default: 300)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    given = parser.parse_args()
    os.chdir(REPOSITORY)
    data = coverage.CoverageData(str(given.data))
    data.read()
    paths = [REPOSITORY / "caffe_viz" / room for room in given.rooms]
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    sample = list(islice(mutants([x for x in files if x.name != "net_pb2.py"], given.seed), given.sample))
    reach: Counter[str] = Counter()
    for file in data.measured_files():
        for tests in data.contexts_by_lineno(file).values():
            reach.update({test.partition("|")[0] for test in tests})
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    for name in SLOW:
        with suppress(ImportError):
            importlib.import_module(name)
    outcomes: Counter[str] = Counter()
    killers: dict[str, None] = {}

    def say(outcome: str, mutant: Mutant, about: str) -> None:
        where = f"{mutant.path.relative_to(REPOSITORY)}:{mutant.line}"
        print(f"{outcome} {where} ({about})\n{mutant.change}\n", flush=True)
        outcomes[outcome] += 1

    waiting, running = list(reversed(sample)), list[Trial]()
    while waiting or running:
        while waiting and len(running) < given.jobs:
            mutant = waiting.pop()
            if tests := reaching(data, mutant, reach)[: given.tests]:
                running.append(Trial(mutant, tests, given.limit))
            else:
                say("NOT REACHED", mutant, "no test")
        time.sleep(0.05)
        for trial in list(running):
            if outcome := trial.outcome():
                running.remove(trial)
                say(outcome, trial.mutant, f"{len(trial.tests)} tests, {trial.seconds:.0f} s {trial.killer}")
                killers |= {trial.killer: None} if trial.killer else {}
    print(*(f"{name}: {n} of {len(sample)}, {n / len(sample):.1%}" for name, n in outcomes.items()), sep="\n")
    same = Mutant(sample[0].path, sample[0].path.read_text(encoding="utf-8"), 0, "")
    check = Trial(same, list(killers), 10 * given.limit)
    while not (outcome := check.outcome()):
        time.sleep(0.05)
    print(
        "Tests that killed pass without a change."
        if outcome == "SURVIVED"
        else f"FAILS AS IT IS: {check.killer}"
    )


if __name__ == "__main__":
    main()
