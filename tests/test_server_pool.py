"""Two worker processes that live, die and are replaced, and those who wait for them; nothing is mocked."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import fork_server
import pytest
from test_processes import gone, until
from toy_questions import PATIENCE, QUESTIONS, STEPS, Bench, Toy, ask, lines, steps

from caffe_viz.errors import InputError, RunError
from caffe_viz.processes import Ended, Worker
from caffe_viz.server import supervisor
from caffe_viz.server.cache import Cache
from caffe_viz.server.dispatcher import Dispatcher, Queued, Underway
from caffe_viz.server.messages import Ask, Failed, Finished, Setup, Source
from caffe_viz.server.pool import Pool

T = TypeVar("T")


class Live:
    """A dispatcher at work in a loop of its own, and the folder in which its workers note what they do."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        pool = Pool(Setup((), folder=folder), program="toy_questions", **options)
        self.dispatcher = Dispatcher(pool, Cache(), QUESTIONS)
        self.run(self.dispatcher.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    def stop(self) -> None:
        self.run(self.dispatcher.stop())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    async def facts(self, asked: Ask) -> Any:
        return json.loads((await self.dispatcher.answer(asked)).facts)

    def begun(self, asked: Ask) -> asyncio.Task[Any]:
        """Its facts, once they are there."""
        return asyncio.ensure_future(self.facts(asked))

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.005)

    async def logged(self, line: str) -> None:
        await self.until(lambda: line in lines(self.folder))

    def count(self, word: str) -> int:
        return sum(word in line for line in lines(self.folder))

    def open(self, *gates: str) -> None:
        for gate in gates:
            (self.folder / gate).touch()

    def worker(self, name: str) -> dict[str, Any]:
        (found,) = (one for one in self.dispatcher.status()["workers"] if one["name"] == name)
        return found


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Every test asks with numbers of its own."""
    made = Live(tmp_path_factory.mktemp("live"))
    yield made
    made.stop()


def gates(n: int, upto: int = STEPS) -> list[str]:
    return [f"steps-{n}-{k}" for k in range(upto)]


def undisturbed(n: int, folder: Path) -> float:
    """What steps give that nobody drops."""
    (*_, last) = steps(Bench(Setup((), folder=folder)), Toy(n=n))
    assert last.answer is not None
    return float(last.answer.facts["total"])


def test_other_processes_answer(live: Live) -> None:
    facts = live.run(live.facts(ask("square", 1)))
    assert facts["square"] == 1
    assert facts["pid"] != os.getpid()
    assert live.dispatcher.status() == {
        "workers": [
            {"name": "quick", "alive": True, "busy": "", "waiting": 0, "restarts": 0},
            {"name": "patient", "alive": True, "busy": "", "waiting": 0, "restarts": 0},
        ],
        "cached": len(json.dumps(facts)),
    }  # fmt: skip


def test_quick_ones_do_not_wait_for_those_that_take_long(live: Live) -> None:
    async def scenario() -> None:
        long = live.begun(ask("steps", 5, gated=True))
        assert (await live.facts(ask("square", 5)))["square"] == 25
        await live.until(lambda: live.worker("patient")["busy"] == "steps")
        live.open(*gates(5))
        assert (await long)["total"]

    live.run(scenario())


def test_errors_say_whose_fault_it_was(live: Live) -> None:
    with pytest.raises(InputError, match=r"there is no layer 'x'\."):
        live.run(live.facts(ask("wrong")))
    with pytest.raises(RunError, match=r"the engine failed\."):
        live.run(live.facts(ask("failing")))


def test_a_killed_worker_costs_one_request(live: Live) -> None:
    async def scenario() -> None:
        pid = (await live.facts(ask("square", 100)))["pid"]
        restarts = live.worker("quick")["restarts"]
        busy = live.begun(ask("square", 101, gated=True))
        await live.logged("square 101")
        others = [live.begun(ask("square", n)) for n in (102, 103)]
        await live.until(lambda: live.worker("quick")["waiting"] == 2)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RunError, match=r"^the computation stopped: its process ended \(signal 9\)\.$"):
            await busy
        found = [await one for one in others]
        assert [one["square"] for one in found] == [102**2, 103**2]
        assert found[0]["pid"] != pid
        assert live.worker("quick")["restarts"] == restarts + 1
        live.open("square-101")
        assert (await live.facts(ask("square", 101)))["square"] == 101**2

    live.run(scenario())


def test_an_abort_is_told_with_its_check_and_the_next_works(live: Live) -> None:
    with pytest.raises(RunError, match=r"\(signal 6: F1130 .* blob.cpp:32\] Check failed: shape\[i\] >= 0"):
        live.run(live.facts(ask("dying")))
    assert live.run(live.facts(ask("square", 200)))["square"] == 200**2


def test_what_else_a_dead_worker_was_at_begins_anew(live: Live, tmp_path: Path) -> None:
    async def scenario() -> None:
        live.open("stuck-300", *gates(301, 2))
        pid = (await live.facts(ask("stuck", 300)))["pid"]
        other = live.begun(ask("steps", 301, gated=True))
        await live.logged("steps 301 1")
        busy = live.begun(ask("stuck", 302))
        await live.logged("stuck 302")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RunError, match="signal 9"):
            await busy
        live.open(*gates(301))
        assert (await other)["total"] == undisturbed(301, tmp_path)
        assert live.count("steps 301 0") == 2

    live.run(scenario())


def test_one_that_is_dropped_in_the_queue_is_never_begun(live: Live) -> None:
    async def scenario() -> None:
        busy = live.begun(ask("square", 400, gated=True))
        await live.logged("square 400")
        queued = [live.begun(ask("square", n)) for n in (401, 402)]
        await live.until(lambda: live.worker("quick")["waiting"] == 2)
        queued[0].cancel()
        await live.until(lambda: live.worker("quick")["waiting"] == 1)
        live.open("square-400")
        assert [(await one)["square"] for one in (busy, queued[1])] == [400**2, 402**2]

    live.run(scenario())
    assert live.count("square 401") == 0


def test_the_place_in_the_queue_is_told_as_it_changes(live: Live) -> None:
    found: list[Any] = []

    async def follow(asked: Ask) -> None:
        async for event in live.dispatcher.follow(asked):
            found.append(event)  # noqa: PERF401  # one by one, as others look

    async def scenario() -> None:
        busy = [live.begun(ask("square", n, gated=True)) for n in (500, 501)]
        await live.logged("square 500")
        await live.until(lambda: live.worker("quick")["waiting"] == 1)  # the dispatcher has heard of it too
        follower = asyncio.ensure_future(follow(ask("square", 502, gated=True)))
        await live.until(lambda: Queued(2) in found)
        live.open("square-500")
        await busy[0]
        await live.until(lambda: Queued(1) in found)
        live.open("square-501")
        await live.until(lambda: Underway(0.0, 1.0) in found)
        live.open("square-502")
        await follower
        finished = found.pop()
        assert found == [Queued(2), Queued(1), Underway(0.0, 1.0)]
        assert json.loads(finished.given.facts)["square"] == 502**2

    live.run(scenario())


def test_one_that_is_dropped_at_work_goes_on_when_it_is_asked_again(live: Live, tmp_path: Path) -> None:
    asked = ask("steps", 600, gated=True)

    async def scenario() -> None:
        live.open(*gates(600, 3))
        async with aclosing(live.dispatcher.follow(asked)) as events:
            async for event in events:
                if isinstance(event, Underway) and event.done >= 2:
                    break
        other = await live.facts(ask("steps", 601))
        assert other["total"] == undisturbed(601, tmp_path)
        await live.until(lambda: live.worker("patient")["busy"] == "")
        done = live.count("steps 600")
        assert done < STEPS
        again = live.begun(asked)
        live.open(*gates(600))
        assert (await again)["total"] == undisturbed(600, tmp_path)
        assert live.count("steps 600") == STEPS  # none of them twice

    live.run(scenario())


def test_progress_is_told_with_the_time_that_is_left(live: Live) -> None:
    async def scenario() -> None:
        found = []
        async for event in live.dispatcher.follow(ask("steps", 700, gated=True)):
            found.append(event)
            if isinstance(event, Underway) and event.done < STEPS:
                live.open(f"steps-700-{event.done:g}")
        progress = [one for one in found if isinstance(one, Underway)]
        assert list(dict.fromkeys(one.done for one in progress))[:STEPS] == list(range(STEPS))
        assert progress[0].remaining is None
        assert all(one.total == STEPS and one.remaining >= 0 for one in progress if one.done > 1)
        assert any(one.given for one in progress)
        assert isinstance(found[-1], Finished)
        assert [one async for one in live.dispatcher.follow(ask("steps", 700))] == [
            found[-1]
        ]  # from the cache

    live.run(scenario())


def test_a_failure_is_the_last_event(live: Live) -> None:
    async def scenario() -> Any:
        return [event async for event in live.dispatcher.follow(ask("failing", 1))][-1]

    assert live.run(scenario()) == Failed("failing-1", "the engine failed.")


def test_what_several_ask_is_computed_once(live: Live) -> None:
    asked = ask("square", 800, gated=True)

    async def scenario() -> None:
        waiting = [live.begun(asked) for _ in range(5)]
        await live.logged("square 800")
        waiting[0].cancel()
        await asyncio.sleep(0)
        live.open("square-800")
        found = [await one for one in waiting[1:]]
        assert [one["square"] for one in found] == [800**2] * 4
        assert (await live.facts(asked))["square"] == 800**2

    live.run(scenario())
    assert live.count("square 800") == 1


def test_the_background_goes_on_without_anybody(live: Live) -> None:
    async def scenario() -> None:
        async with aclosing(live.dispatcher.follow(ask("search", 900, gated=True))) as events:
            async for event in events:
                if isinstance(event, Underway):
                    break
        live.open(*gates(900))
        await live.logged(f"steps 900 {STEPS - 1}")
        await live.until(lambda: live.worker("patient")["busy"] == "")
        assert (await live.facts(ask("search", 900)))["total"]

    live.run(scenario())
    assert live.count("steps 900") == STEPS


def test_200_questions_of_8_tabs_are_all_answered(live: Live) -> None:
    """Every other one is asked by all of them; a few give up."""

    async def tab(number: int) -> list[int]:
        found = []
        for k in range(25):
            n = 10_000 + (k if k % 2 else 100 * number + k)
            if k % 7 == 3:
                given_up = live.begun(ask("square", n + 50))
                await asyncio.sleep(0)
                given_up.cancel()
            facts = await live.facts(ask("square", n))
            assert facts["square"] == n**2
            found.append(n)
        return found

    async def scenario() -> list[list[int]]:
        return await asyncio.gather(*map(tab, range(8)))

    asked = {n for found in live.run(scenario()) for n in found}
    computed = Counter(lines(live.folder))
    assert all(computed[f"square {n}"] == 1 for n in asked)
    assert all(one["waiting"] == 0 for one in live.dispatcher.status()["workers"])


def test_a_worker_that_takes_nothing_does_not_stop_the_server(live: Live) -> None:
    """Real Caffe lets no other thread of its process run."""

    async def scenario() -> None:
        pid = (await live.facts(ask("square", 1100)))["pid"]
        os.kill(pid, signal.SIGSTOP)
        large = replace(ask("names", 1101), images={"a": Source("large.png", bytes(5_000_000))})
        waiting = live.begun(large)
        for _ in range(20):
            await asyncio.sleep(0.005)
        os.kill(pid, signal.SIGCONT)
        assert (await waiting)["names"] == {"a": "large.png"}

    live.run(scenario())


def test_a_worker_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick question at the limit, a patient one only when nobody waits for it."""
    limit = 999.0
    live = Live(tmp_path, limit=limit)
    call_later = live.loop.call_later
    alarms: list[tuple[asyncio.TimerHandle, Callable[[], None]]] = []

    def noted(delay: float, callback: Any, *more: Any, **options: Any) -> asyncio.TimerHandle:
        timer = call_later(delay, callback, *more, **options)
        if delay == limit:
            alarms.append((timer, callback))
        return timer

    async def time_is_up() -> None:
        def running() -> list[Callable[[], None]]:
            return [callback for timer, callback in alarms if not timer.cancelled()]

        await live.until(lambda: bool(running()))
        (callback,) = running()
        alarms.clear()
        callback()

    monkeypatch.setattr(live.loop, "call_later", noted)

    async def scenario() -> None:
        long = live.begun(ask("stuck", 1))
        hanging = live.begun(ask("square", 1, gated=True))
        await live.until(lambda: live.worker("patient")["busy"] == "stuck")
        await live.until(lambda: live.worker("quick")["busy"] == "square")
        await time_is_up()
        with pytest.raises(RunError, match=r"^it took longer than 999 s and was stopped\.$"):
            await hanging
        assert (await live.facts(ask("square", 2)))["square"] == 4
        assert live.worker("patient")["restarts"] == 0
        long.cancel()
        after = live.begun(ask("steps", 2))
        await time_is_up()
        assert (await after)["total"]
        assert [live.worker(name)["restarts"] for name in ("quick", "patient")] == [1, 1]

    live.run(scenario())
    live.stop()


@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [
        ("fatal", r"the computation stopped: its process ended \(signal 9\)\.", 2),
        ("unloadable", r"the network cannot be loaded\.", 1),
    ],
)
def test_workers_that_cannot_begin_are_not_started_for_ever(
    tmp_path: Path, fault: str, reason: str, tries: int
) -> None:
    (tmp_path / fault).touch()
    live = Live(tmp_path)

    async def scenario() -> None:
        for one in [live.begun(ask("square", n)) for n in (1, 2)]:
            with pytest.raises(RunError, match=reason):
                await one
        await live.until(lambda: not any(one["alive"] for one in live.dispatcher.status()["workers"]))
        # Each of the two, and once more for a question that came when one had ended.
        assert 2 * tries <= len(lines(tmp_path, "pids")) <= 4 * tries
        (tmp_path / fault).unlink()
        assert (await live.facts(ask("square", 3)))["square"] == 9

    live.run(scenario())
    live.stop()


def test_after_the_end_no_process_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does nothing any more neither. Those who wait are told."""
    monkeypatch.setattr(supervisor, "STOP_WAIT", 0.01)
    live = Live(tmp_path)

    async def scenario() -> None:
        pid = (await live.facts(ask("square", 1)))["pid"]
        waiting = [live.begun(ask("square", 2, gated=True)), live.begun(ask("square", 3))]
        await live.logged("square 2")
        await live.until(lambda: len(lines(tmp_path, "pids")) == 2)
        os.kill(pid, signal.SIGSTOP)
        await live.dispatcher.stop()
        for one in waiting:
            with pytest.raises(RunError, match="ended"):
                await one
        with pytest.raises(RunError, match="has stopped"):
            await live.facts(ask("square", 4))

    live.run(scenario())
    live.stop()
    for pid in lines(tmp_path, "pids"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_a_worker_tidies_up_at_its_end(tmp_path: Path) -> None:
    heard: queue.Queue[Any] = queue.Queue()
    worker = Worker("toy_questions", lambda _, value: heard.put(value))
    worker.send(Setup((), folder=tmp_path))
    worker.send(ask("tidying"))
    until(lambda: "tidying 0" in lines(tmp_path))
    worker.close()
    while not isinstance(end := heard.get(timeout=PATIENCE), Ended):
        pass
    assert end == Ended("exit code 0")
    assert lines(tmp_path)[-1] == "tidied"


SERVER = """
import asyncio, sys
from pathlib import Path
from toy_questions import ask
from test_server_pool import Live
live = Live(Path(sys.argv[1]))
live.run(live.facts(ask("square", 1, gated=True)))
"""


def test_workers_end_when_the_server_is_killed(tmp_path: Path) -> None:
    """The one that hangs too."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    server = fork_server.Popen([sys.executable, "-c", SERVER, str(tmp_path)], env=environment)
    until(lambda: len(lines(tmp_path, "pids")) == 2 and lines(tmp_path) == ["square 1"])
    pids = [int(line) for line in lines(tmp_path, "pids")]
    assert not any(map(gone, pids))
    server.kill()
    server.wait()
    until(lambda: all(map(gone, pids)))
