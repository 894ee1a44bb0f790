"""Which question a worker is at, and what it says of each; in this process."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toy_questions import QUESTIONS, STEPS, Bench, ask, lines

from caffe_viz.server import scheduler
from caffe_viz.server.messages import (
    Ask,
    Began,
    Drop,
    EncodedAnswer,
    Failed,
    Finished,
    Progress,
    Setup,
    Source,
)
from caffe_viz.server.scheduler import KEPT, SUSPENDED, Scheduler


class Desk(Scheduler):
    """Keeps what is said."""

    def __init__(self, folder: Path) -> None:
        self.said: list[Any] = []
        self.folder = folder
        super().__init__(Bench(Setup((), folder=folder)), QUESTIONS, self.said.append)

    def asked(self, *asks: Ask) -> Desk:
        for one in asks:
            self.take(one)
        return self

    def turns(self, count: int) -> Desk:
        for _ in range(count):
            self.turn()
        return self

    def all(self) -> Desk:
        while not self.idle:
            self.turn()
        return self

    def given(self, ticket: str) -> EncodedAnswer:
        (found,) = (one.given for one in self.said if isinstance(one, Finished) and one.ticket == ticket)
        return found

    def facts(self, ticket: str) -> Any:
        return json.loads(self.given(ticket).facts)

    @property
    def began(self) -> list[str]:
        return [one.ticket for one in self.said if isinstance(one, Began)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_first_asked_is_the_first_answered(desk: Desk) -> None:
    desk.asked(ask("square", 3), ask("square", 2)).all()
    assert [type(one) for one in desk.said] == [Began, Finished, Began, Finished]
    assert desk.began == ["square-3", "square-2"]
    assert desk.facts("square-3")["square"] == 9


def test_facts_are_json_and_pictures_encoded(desk: Desk) -> None:
    desk.asked(ask("photo", 5)).all()
    given = desk.given("photo-5")
    assert json.loads(given.facts, parse_constant=pytest.fail) == {
        "nan": None, "deep": [{"inf": None}], "array": [0, 1], "n": 5, "notes": [],
    }  # fmt: skip
    png, jpeg = given.pictures
    assert (png.kind, png.width, png.height, png.alt, png.name) == ("png", 7, 5, "a ramp", "ramp")
    assert (jpeg.kind, jpeg.width, jpeg.height, jpeg.alt, jpeg.name) == ("jpeg", 7, 5, "the same", "photo")
    ramp = np.linspace(0, 255, 5 * 7 * 3).reshape(5, 7, 3)
    for picture, off in ((png, 0.51), (jpeg, 12)):
        opened = Image.open(io.BytesIO(picture.data))
        assert opened.format == picture.kind.upper()
        np.testing.assert_allclose(np.asarray(opened), ramp, atol=off)
    assert (given.ending, given.data) == ("npz", b"")


def test_data_are_the_arrays_by_any_name(desk: Desk) -> None:
    desk.asked(ask("photo", data=True), ask("page", data=True), ask("page"), ask("square", data=True)).all()
    given = desk.given("photo-0/data")
    assert given.pictures == ()
    found = np.load(io.BytesIO(given.data))
    assert list(found) == ["file", "../x"]
    assert found["file"].dtype == np.float32
    np.testing.assert_array_equal(found["../x"], [0, 1, 2])
    assert (desk.given("page-0/data").data, desk.given("page-0/data").ending) == (b"<p>", "html")
    assert (desk.given("page-0").data, desk.given("page-0").ending) == (b"", "html")
    assert desk.given("square-0/data").ending == ""


def test_data_after_the_pictures_are_not_computed_again(desk: Desk) -> None:
    desk.asked(ask("photo")).all().asked(ask("photo", data=True)).all()
    assert np.load(io.BytesIO(desk.given("photo-0/data").data))["../x"].tolist() == [0, 1, 2]
    assert lines(desk.folder) == ["photo"]
    for n in range(KEPT):
        desk.asked(ask("square", n)).all()
    desk.asked(ask("photo")).all()
    assert lines(desk.folder).count("photo") == 2  # only a few are kept


def test_data_and_pictures_of_what_is_under_way_are_one(desk: Desk) -> None:
    desk.asked(ask("steps")).turns(3).asked(ask("steps", data=True)).all()
    assert len(lines(desk.folder)) == STEPS
    total = np.load(io.BytesIO(desk.given("steps-0/data").data))["total"]
    assert desk.facts("steps-0")["total"] == total
    seen = [one for one in desk.said if isinstance(one, Progress) and one.ticket == "steps-0/data"]
    assert seen[0].done == 2  # at once
    assert all(one.given is None for one in seen)


def test_images_are_on_the_bench_before_the_question(desk: Desk) -> None:
    desk.asked(replace(ask("names"), images={"a": Source("cat.png", b"..")})).all()
    assert desk.facts("names-0")["names"] == {"a": "cat.png"}


def test_progress_is_told_with_what_there_is_to_see(desk: Desk) -> None:
    desk.asked(ask("steps")).all()
    progress = [one for one in desk.said if isinstance(one, Progress)]
    assert [(one.done, one.total) for one in progress] == [(k + 1, STEPS) for k in range(STEPS)]
    assert progress[-1].given == desk.given("steps-0")
    assert desk.began == ["steps-0"]


@pytest.mark.parametrize(("every", "told"), [(-1, [1, 2, 3, 4]), (1000, [1, 4])])
def test_steps_with_nothing_to_see_are_told_now_and_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, every: float, told: list[int]
) -> None:
    monkeypatch.setattr(scheduler, "REPORT_EVERY", every)
    desk.asked(ask("silent")).all()
    assert [one.done for one in desk.said if isinstance(one, Progress)] == told


def test_several_share_the_worker_step_by_step(desk: Desk) -> None:
    desk.asked(ask("steps", 1), ask("steps", 2)).all()
    assert lines(desk.folder)[2:6] == ["steps 1 1", "steps 2 1", "steps 1 2", "steps 2 2"]
    assert desk.began[2:6] == ["steps-1", "steps-2"] * 2  # said at each switch


def test_a_new_question_is_taken_up_between_two_steps(desk: Desk) -> None:
    desk.asked(ask("steps")).turns(3).asked(ask("square")).turns(2)
    assert lines(desk.folder) == ["steps 0 0", "steps 0 1", "square 0", "steps 0 2"]
    assert desk.began == ["steps-0", "square-0", "steps-0"]


def test_the_background_goes_on_only_when_there_is_nothing_else(desk: Desk) -> None:
    desk.asked(ask("search", 1)).turns(2).asked(ask("steps", 2)).all()
    assert lines(desk.folder) == [
        "steps 1 0", *(f"steps 2 {k}" for k in range(STEPS)), *(f"steps 1 {k}" for k in range(1, STEPS)),
    ]  # fmt: skip


def test_what_nobody_looks_at_is_not_encoded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.asked(ask("steps", data=True))
    monkeypatch.setattr(
        scheduler,
        "encode",
        lambda answer, notes, data: pytest.fail("encoded") if not data else EncodedAnswer("{}"),
    )
    desk.all()
    assert desk.given("steps-0/data") == EncodedAnswer("{}")


def test_dropped_before_it_began(desk: Desk) -> None:
    desk.asked(ask("square", 1), ask("square", 2), ask("search", 3))
    desk.take(Drop("square-1"))
    desk.take(Drop("search-3"))
    desk.take(Drop("unknown"))
    desk.all()
    assert desk.began == ["square-2"]


def test_what_was_dropped_half_way_goes_on_where_it_was(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk.asked(ask("steps", 7)).turns(4).take(Drop("steps-7"))
    assert desk.idle
    assert desk.said[-1] == Began("")  # it is busy with nothing
    desk.asked(ask("square"), ask("steps", 8)).all()
    told = len(desk.said)
    desk.asked(ask("steps", 7)).turn()
    assert desk.said[told:][1].done == 3  # how far it is, before the next step
    desk.all()
    assert [line for line in lines(desk.folder) if "steps 7" in line] == [
        f"steps 7 {k}" for k in range(STEPS)
    ]
    undisturbed = Desk(tmp_path_factory.mktemp("undisturbed")).asked(ask("steps", 7)).all()
    assert desk.given("steps-7") == undisturbed.given("steps-7")


def test_one_of_two_that_wait_goes(desk: Desk) -> None:
    desk.asked(ask("steps"), ask("steps", data=True)).turns(3).take(Drop("steps-0"))
    assert not desk.idle
    desk.all()
    assert desk.given("steps-0/data").data
    assert desk.began[-1] == "steps-0/data"


def test_only_a_few_are_kept_the_oldest_goes(desk: Desk) -> None:
    for n in range(SUSPENDED + 1):
        desk.asked(ask("steps", n)).turns(2).take(Drop(f"steps-{n}"))
    desk.asked(ask("steps", 0), ask("steps", 1)).all()
    assert lines(desk.folder).count("steps 0 0") == 2
    assert lines(desk.folder).count("steps 1 0") == 1


@pytest.mark.parametrize(
    ("question", "reason", "asked_wrong"),
    [
        ("wrong", "there is no layer 'x'.", True),
        ("failing", "the engine failed.", False),
        ("faulty", "KeyError: 'n' (toy_questions.py, line ", False),
        ("endless", "RuntimeError: endless ended without an answer", False),
    ],
)
def test_an_error_is_one_line_and_the_next_question_works(
    desk: Desk, question: str, reason: str, asked_wrong: bool
) -> None:
    desk.asked(ask(question), ask("square", 2)).all()
    (failed,) = (one for one in desk.said if isinstance(one, Failed))
    assert failed.ticket == f"{question}-0"
    assert failed.reason.startswith(reason)
    assert failed.asked_wrong == asked_wrong
    assert desk.facts("square-2")["square"] == 4
    desk.asked(ask(question)).all()  # not kept
    assert sum(isinstance(one, Failed) for one in desk.said) == 2


def test_all_that_wait_for_what_fails_hear_of_it(desk: Desk) -> None:
    desk.asked(ask("failing"), ask("failing", data=True)).all()
    assert {one.ticket for one in desk.said if isinstance(one, Failed)} == {"failing-0", "failing-0/data"}


def test_warnings_of_the_package_are_notes(desk: Desk, recwarn: pytest.WarningsRecorder) -> None:
    desk.asked(ask("warned"), ask("square")).all()
    assert desk.facts("warned-0")["notes"] == ["two layers are left out", "one is old"]
    assert desk.facts("square-0")["notes"] == []
    assert not recwarn.list
