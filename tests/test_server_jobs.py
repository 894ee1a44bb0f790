"""What those who wait for a question hear of its progress."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from toy_questions import QUESTIONS, ask

from caffe_viz.server import jobs
from caffe_viz.server.jobs import Job, Underway
from caffe_viz.server.messages import EncodedAnswer, Progress

SEEN = EncodedAnswer('{"n": 1}')
Advance = Callable[[float, float, "EncodedAnswer | None"], Job]


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Advance:
    """At a time, to so much of 10, with something to see; gives the job."""
    job = Job(ask("steps"), QUESTIONS["steps"])

    def to(now: float, done: float, given: EncodedAnswer | None = None) -> Job:
        monkeypatch.setattr(jobs.time, "monotonic", lambda: now)
        job.advance(Progress("steps-0", done, 10, given))
        return job

    return to


def test_the_time_that_is_left_is_that_of_the_rate_so_far(advance: Advance) -> None:
    """What was done before does not count: it may have been dropped and gone on."""
    assert advance(100, 4, None).underway(None) == Underway(4, 10, None)
    assert advance(102, 5, None).underway(None) == Underway(5, 10, 10)
    assert advance(103, 7, None).underway(None) == Underway(7, 10, 3)
    assert advance(104, 11, None).underway(None) == Underway(11, 10, 0)


def test_a_new_worker_begins_again(advance: Advance) -> None:
    advance(100, 1, None)
    advance(101, 5, None)
    assert advance(200, 1, None).underway(None).remaining is None
    assert advance(201, 2, None).underway(None).remaining == 8


def test_there_is_something_to_see_until_it_was_seen(advance: Advance) -> None:
    advance(100, 1, SEEN)
    assert advance(101, 2, None).underway(None).given is SEEN
    assert advance(102, 3, None).underway(SEEN).given is None
    assert advance(103, 4, EncodedAnswer("{}")).underway(SEEN).given == EncodedAnswer("{}")
