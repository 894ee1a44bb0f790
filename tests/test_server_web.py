"""The addresses of the live view, with a dispatcher that answers from a table: no worker is at work here."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import numpy as np
import pytest
from asgi_calls import Reply, call, called, scope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kinds import KINDS
from test_videos import film, number_of

import caffe_viz
from caffe_viz import shipped
from caffe_viz.errors import CaffeVizError, InputError, RunError
from caffe_viz.images import ImageCollection, Labels, Preprocess, load_image, png_bytes
from caffe_viz.netdef import parse_net
from caffe_viz.network import Network
from caffe_viz.report.context import ReportContext
from caffe_viz.server import event_stream, web
from caffe_viz.server.access import Access
from caffe_viz.server.dispatcher import Queued, Underway
from caffe_viz.server.guard import Guard
from caffe_viz.server.handlers import HANDLERS, Handler
from caffe_viz.server.image_library import ImageLibrary, Unknown
from caffe_viz.server.messages import Ask, EncodedAnswer, Failed, Finished, Picture
from caffe_viz.server.overview import overview
from caffe_viz.server.queries import Ascent, Attribution, Difference, LayerQuery, Report, Thumbnail, UnitQuery
from caffe_viz.server.static_files import STATIC
from caffe_viz.server.view import View
from caffe_viz.server.web import create_app

CAT = shipped.example()
HOST, SELF = "127.0.0.1:8642", ("Sec-Fetch-Site", "same-origin")
HEADERS = [("Host", HOST), ("Cookie", "caffe-viz-8642=s3cret"), SELF]
PICTURES = (
    Picture(b"png", "png", 3, 2, "maps of conv1", 'maps "of"\r\nconv1/../x'),
    Picture(b"jpeg", "jpeg", 5, 4, "<b>", "cat"),
)
ASKED = {  # kinds of questions, whatever QUESTIONS has
    "image": Handler(Thumbnail, print), "maps": Handler(LayerQuery, print), "unit": Handler(UnitQuery, print),
    "difference": Handler(Difference, print), "attribution": Handler(Attribution, print),
    "ascent": Handler(Ascent, print, patient=True), "report": Handler(Report, print, patient=True),
}  # fmt: skip


@dataclass
class Table:
    """A dispatcher: `ends` has by question what is raised or given; `waiting` counts who waits."""

    ends: dict[str, EncodedAnswer | Exception] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    waiting: int = 0
    stuck: bool = False
    endless: bool = False
    told: int = 0

    @contextmanager
    def _one(self, ask: Ask) -> Iterator[None]:
        self.asks.append(ask)
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def end(self, ask: Ask) -> EncodedAnswer:
        facts = json.dumps({"width": 40, "height": 30, "asked": ask.query.model_dump()})
        usual = (
            EncodedAnswer(facts, (), b"arrays", "npz")
            if ask.data
            else EncodedAnswer(facts, PICTURES, b"", "npz")
        )
        found = self.ends.get(ask.question, usual)
        if isinstance(found, Exception):
            raise found
        return found

    async def answer(self, ask: Ask) -> EncodedAnswer:
        with self._one(ask):
            if self.stuck:
                await asyncio.Event().wait()
            return self.end(ask)

    async def follow(self, ask: Ask) -> AsyncIterator[Any]:
        with self._one(ask):
            yield Queued(2)
            yield Underway(1, 4)
            yield Underway(2, 4, 1.5, EncodedAnswer('{"title": "a"}', PICTURES))
            while self.endless:
                self.told += 1
                yield Underway(self.told, 4)
            if self.stuck:
                await asyncio.Event().wait()
            try:
                yield Finished(ask.ticket, self.end(ask))
            except CaffeVizError as error:
                yield Failed(ask.ticket, str(error))

    def status(self) -> dict[str, Any]:
        return {"workers": [], "cached": 0}


@pytest.fixture(scope="module")
def context() -> ReportContext:
    return ReportContext.of("caffenet_cifar10")


@pytest.fixture(scope="module")
def table() -> Table:
    return Table()


@pytest.fixture(autouse=True)
def dispatcher(table: Table) -> Table:
    """The one of the app, as new."""
    vars(table).update(vars(Table()))
    return table


@pytest.fixture(scope="module")
def view(context: ReportContext, table: Table) -> View:
    return View(
        (context,),
        ImageLibrary(ImageCollection.of(CAT)),
        table,
        ASKED,
        "caffe-viz serve caffenet_cifar10",
    )


@pytest.fixture(scope="module")
def app(view: View) -> Any:
    return Guard(create_app(view), Access("127.0.0.1", 8642, "s3cret"))


@pytest.fixture
def cat(view: View) -> str:
    return view.library.strip[0].id


def get(app: Any, target: str, *headers: tuple[str, str]) -> Reply:
    return call(app, target, "GET", [*HEADERS, *headers])


def post(app: Any, target: str, body: bytes) -> Reply:
    return call(app, target, "POST", HEADERS, body)


class TestPage:
    def test_it_is_the_network_s(self, app: Any) -> None:
        reply = get(app, "/?layer=conv1")
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert "<title>CaffeNet_CIFAR10" in reply.text or "cifar10" in reply.text.lower()
        assert 'href="?layer=conv1"' in reply.text  # of the graph
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert "referrer" not in reply.text  # nothing else says so

    def test_it_obeys_its_own_policy(self, app: Any) -> None:
        """No script, style or handler is within it, and nothing is from elsewhere."""
        html = get(app, "/").text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://(?!www\.w3\.org/)", html)
        assert re.findall(r"<script(.*?)>(.*?)</script>", html)
        assert all(
            "src=" in more and not inside for more, inside in re.findall(r"<script(.*?)>(.*?)</script>", html)
        )

    def test_every_file_that_it_and_its_modules_name_is_there(self, app: Any) -> None:
        html = get(app, "/").text
        named = set(re.findall(r'"/static/([^"]+)"', html))
        for name, file in STATIC.items():
            if name.endswith(".js"):
                named |= set(re.findall(r'from "\./([^"]+)"', file.data.decode()))
        assert {"main.js", "graph.js", "graph.css"} <= named <= set(STATIC)


class TestStatic:
    def test_all_of_our_files_and_those_of_the_report(self, app: Any) -> None:
        folder = Path(caffe_viz.__file__).parent / "server" / "static"
        assert {path.name for path in folder.iterdir()} <= set(STATIC)
        for name, file in STATIC.items():
            reply = get(app, f"/static/{name}")
            assert (reply.status, reply.body) == (200, file.data)
            kind = "text/javascript" if name.endswith(".js") else "text/css"
            assert reply.headers["content-type"].startswith(kind)
        assert b".cvg-drawing {" in STATIC["graph.css"].data  # what structure/svg.py writes

    def test_a_browser_that_has_one_is_not_sent_it_again(self, app: Any) -> None:
        tag = get(app, "/static/main.js").headers["etag"]
        reply = get(app, "/static/main.js", ("If-None-Match", tag))
        assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", tag)
        assert reply.headers["cache-control"] == "private, no-cache"  # it asks each time
        assert get(app, "/static/graph.js", ("If-None-Match", tag)).status == 200

    @pytest.mark.parametrize(
        "name",
        [
            "nothing.js", "", ".", "..", "../web.py", "..%2fweb.py", "%2e%2e/%2e%2e/web.py", "..%5cweb.py", "main.js/",
            "main.js%00.css", "%2fetc%2fpasswd", "/etc/passwd", "....//web.py", "main.js%2f..%2f..%2fweb.py", "MAIN.JS",
        ],
    )  # fmt: skip
    def test_nothing_else(self, app: Any, name: str) -> None:
        reply = get(app, f"/static/{name}")
        assert reply.status == 404
        assert list(reply.json) == ["error"]


class TestNetwork:
    def test_what_the_page_is_told(self, app: Any, cat: str) -> None:
        found = get(app, "/api/network").json
        (network,) = found["networks"]
        conv1 = next(layer for layer in network["layers"] if layer["name"] == "conv1")
        assert conv1 == {
            "name": "conv1", "type": "Convolution", "index": 1, "tops": ["conv1"], "shape": [48, 32, 32], "units": 48,
            "params": 48 * 3 * 7 * 7 + 48, "maps": True, "climbs": True,
        }  # fmt: skip
        data = network["layers"][0]
        assert (data["maps"], data["climbs"]) == (True, False)
        (head,) = network["heads"]
        assert (head["count"], head["unit"], head["labels"][3]) == (10, "probability", "cat")
        assert network["engine"] in ("caffe", "torch")
        assert network["preprocessing"].startswith("BGR")
        assert found["images"] == [{"id": cat, "name": "cat.png"}]
        assert found["methods"]["ascent"]["natural"] > 0
        methods = {one["name"]: one for one in found["methods"]["attribution"]}
        assert methods["occlusion"]["long"]
        assert methods["grad-cam"] == {"name": "grad-cam", "long": False, "reads": "layer"}
        assert (found["photos"], found["record"]) == (False, False)
        assert found["command"] == "caffe-viz serve caffenet_cifar10"
        assert found["limits"]["bytes"] == 32 * 2**20

    def test_logarithms_are_no_probabilities(self, view: View) -> None:
        heads = {}
        for last in ("", 'layer { name: "log" type: "Log" bottom: "prob" top: "log" }'):
            message = parse_net(
                'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8 '
                'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" '
                "inner_product_param { num_output: 4 } } "
                f'layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }} {last}'
            )
            found = overview(
                [ReportContext.of(Network(message, preprocess=Preprocess(mean=(0,))))], ImageLibrary(None), ""
            )
            heads |= {head["name"]: head["unit"] for head in found["networks"][0]["heads"]}
        assert heads == {"prob": "probability", "log": "score"}

    def test_status_is_the_board_s(self, app: Any) -> None:
        assert get(app, "/api/status").json == {"workers": [], "cached": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_every_kind(kind: str, tmp_path: Path, dispatcher: Table) -> None:
    """Whatever they take and give, the page can be told of them."""
    folder = KINDS[kind].write(tmp_path)
    network = Network(folder / "deploy.prototxt", folder / "net.caffemodel")
    view = View((ReportContext.of(network),), ImageLibrary(None), dispatcher, ASKED)
    app = Guard(create_app(view), Access("127.0.0.1", 8642, "s3cret"))
    assert get(app, "/").status == 200
    (found,) = get(app, "/api/network").json["networks"]
    assert KINDS[kind].layer in [layer["name"] for layer in found["layers"]]
    assert all(
        layer["shape"] is None or layer["units"] == (layer["shape"] or [0])[0] for layer in found["layers"]
    )


class TestQuestions:
    def test_parameters_are_those_of_the_question(self, app: Any, dispatcher: Table, cat: str) -> None:
        layer = 'a/../"b" +&<é'
        reply = get(app, f"/api/unit?{urlencode({'image': cat, 'layer': layer, 'unit': 7})}")
        assert reply.status == 200
        (ask,) = dispatcher.asks
        assert ask.query == UnitQuery(image=cat, layer=layer, unit=7)
        assert (ask.question, ask.data, list(ask.images)) == ("unit", False, [cat])
        assert ask.images[cat].name == "cat.png"
        assert ask.images[cat].data == CAT.read_bytes()
        assert reply.json["facts"]["asked"]["layer"] == layer
        assert reply.json["key"] == ask.key

    def test_pictures_and_data_have_addresses(self, app: Any, dispatcher: Table, cat: str) -> None:
        query = urlencode({"image": cat, "layer": "conv 1&"})
        found = get(app, f"/api/maps?{query}").json
        first, second = found["pictures"]
        assert first == {
            "src": f"/api/maps/picture/0?{query}", "width": 3, "height": 2, "alt": "maps of conv1",
            "name": PICTURES[0].name,
        }  # fmt: skip
        reply = get(app, first["src"])
        assert (reply.body, reply.headers["content-type"]) == (b"png", "image/png")
        assert reply.headers["content-disposition"] == 'inline; filename="maps--of---conv1-..-x.png"'
        reply = get(app, second["src"])
        assert (reply.body, reply.headers["content-type"]) == (b"jpeg", "image/jpeg")
        assert reply.headers["content-disposition"] == 'inline; filename="cat.jpg"'
        reply = get(app, found["data"])
        assert (reply.body, reply.headers["content-type"]) == (b"arrays", "application/zip")
        assert reply.headers["content-disposition"] == 'attachment; filename="maps-conv-1-.npz"'
        assert [ask.data for ask in dispatcher.asks] == [False, False, False, True]
        assert len({ask.key for ask in dispatcher.asks}) == 1

    def test_where_there_is_no_data_there_is_no_address(self, app: Any, dispatcher: Table, cat: str) -> None:
        dispatcher.ends["maps"] = EncodedAnswer("{}")
        assert get(app, f"/api/maps?image={cat}&layer=a").json["data"] == ""
        assert get(app, f"/api/maps/data?image={cat}&layer=a").status == 404

    def test_a_page_is_saved_and_never_shown_under_our_address(self, app: Any, dispatcher: Table) -> None:
        dispatcher.ends["report"] = EncodedAnswer("{}", (), b"<script>", "html")
        found = get(app, "/api/report").json
        assert found["data"] == "/api/report/data"
        reply = get(app, found["data"])
        assert reply.headers["content-disposition"] == 'attachment; filename="report.html"'
        assert "script-src 'self'" in reply.headers["content-security-policy"]

    @pytest.mark.parametrize("number", ["2", "-1", "99999999999999999999", "1.5", "x", "", "0/", "%00"])
    def test_pictures_that_are_not_there(self, app: Any, cat: str, number: str) -> None:
        reply = get(app, f"/api/maps/picture/{number}?image={cat}&layer=a")
        assert reply.status in (400, 404)
        assert "\n" not in reply.json["error"]

    def test_a_browser_that_has_a_picture_costs_nobody_anything(
        self, app: Any, dispatcher: Table, cat: str
    ) -> None:
        target = f"/api/maps/picture/0?image={cat}&layer=conv1"
        tag = get(app, target).headers["etag"]
        dispatcher.asks.clear()
        assert get(app, target, ("If-None-Match", tag)).status == 304
        assert not dispatcher.asks
        for other in (target.replace("/0?", "/1?"), target.replace("conv1", "conv2")):
            assert get(app, other, ("If-None-Match", tag)).status == 200

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ("layer=a", "image: "), ("image=../../etc/passwd&layer=a", "image: "), ("image=&layer=a", "image: "),
            ("image={cat}", "layer: "), ("image={cat}&layer=", "layer: "), ("image={cat}&layer=a&net=2", "net: "),
            ("image={cat}&layer=a&net=x", "net: "), ("image={cat}&layer=a&file=/etc/passwd", "file: "),
            ("image={cat}&layer=a&net=1", "--beside"), ("image={cat}&layer=" + "a" * 1001, "layer: "),
        ],
    )  # fmt: skip
    def test_what_is_asked_wrong_is_one_line(
        self, app: Any, dispatcher: Table, cat: str, query: str, said: str
    ) -> None:
        for address in ("", "/picture/0", "/data"):
            reply = get(app, f"/api/maps{address}?{query.replace('{cat}', cat)}")
            assert reply.status == 400
            assert said in reply.json["error"]
            assert "\n" not in reply.json["error"]
        assert followed(app, f"maps?{query.replace('{cat}', cat)}") == [(0, "failed", reply.json)]
        assert not dispatcher.asks

    def test_a_second_network_of_a_difference(self, app: Any, cat: str) -> None:
        reply = get(app, f"/api/difference?image={cat}&other_image={cat}&layer=a&other_net=1")
        assert (reply.status, "--beside" in reply.json["error"]) == (400, True)

    def test_an_image_that_is_gone(self, app: Any, dispatcher: Table) -> None:
        for address in ("", "/picture/0", "/data"):
            reply = get(app, f"/api/maps{address}?image={'0' * 64}&layer=conv1")
            assert (reply.status, "drop or choose it again" in reply.json["error"]) == (404, True)
        assert followed(app, f"maps?image={'0' * 64}&layer=conv1") == [(0, "failed", reply.json)]
        assert not dispatcher.asks

    def test_refusals_and_failures(self, app: Any, dispatcher: Table, cat: str) -> None:
        dispatcher.ends |= {"maps": InputError("no such\nlayer"), "unit": RunError("the worker died")}
        reply = get(app, f"/api/maps?image={cat}&layer=conv1")
        assert (reply.status, reply.json) == (400, {"error": "no such layer"})
        reply = get(app, f"/api/unit?image={cat}&layer=conv1&unit=0")
        assert (reply.status, reply.json) == (503, {"error": "the worker died"})

    def test_a_fault_is_told_in_one_line(self, app: Any, dispatcher: Table, cat: str, caplog: Any) -> None:
        dispatcher.ends["maps"] = ZeroDivisionError("by\nzero")
        reply = get(app, f"/api/maps?image={cat}&layer=conv1")
        assert (reply.status, reply.json) == (
            500,
            {"error": "ZeroDivisionError: by zero (a bug in caffe_viz)"},
        )
        assert "Traceback" in caplog.text
        assert "default-src 'none'" in reply.headers["content-security-policy"]

    def test_where_there_is_nothing(self, app: Any) -> None:
        for target in (
            "/api/",
            "/api/nothing",
            "/docs",
            "/openapi.json",
            "/redoc",
            "/favicon.ico",
            "/api/maps/",
            "//",
        ):
            reply = get(app, target)
            assert (reply.status, list(reply.json)) == (404, ["error"])
        assert post(app, "/api/maps", b"").status == 405

    def test_head(self, app: Any, dispatcher: Table, cat: str) -> None:
        reply = call(app, events("ascent?objective=conv1:3"), "HEAD", HEADERS)
        assert (reply.status, reply.body) == (200, b"")
        assert not dispatcher.waiting

    def test_the_questions_that_there_are(self, view: View, cat: str) -> None:
        """Each can be asked at its address with what its class needs."""
        dispatcher = Table()
        app = Guard(
            create_app(replace(view, dispatcher=dispatcher, handlers=HANDLERS)),
            Access("127.0.0.1", 8642, "s3cret"),
        )
        known = {"image": cat, "other_image": cat, "layer": "conv1", "unit": 1, "objective": "conv1:1"}
        for name, question in HANDLERS.items():
            needed = [n for n, one in question.query.model_fields.items() if one.is_required()]
            reply = get(app, f"/api/{name}?{urlencode({n: known[n] for n in needed})}")
            assert reply.status == 200, reply.text
        assert [ask.question for ask in dispatcher.asks] == list(HANDLERS)


class TestEvents:
    def test_progress_and_the_answer(self, app: Any, cat: str) -> None:
        query = f"unit?image={cat}&layer=conv1&unit=2"
        assert get(app, events(query)).headers["content-type"].startswith("text/event-stream")
        found = followed(app, query)
        assert [(ask, name) for ask, name, _ in found] == [
            (0, "queued"), (0, "progress"), (0, "progress"), (0, "answer"),
        ]  # fmt: skip
        assert found[0][2] == {"place": 2}
        assert found[1][2] == {"done": 1, "total": 4, "remaining": None, "facts": None, "pictures": []}
        shown = found[2][2]
        assert (shown["done"], shown["remaining"], shown["facts"]) == (2, 1.5, {"title": "a"})
        assert [one["src"] for one in shown["pictures"]] == [
            "data:image/png;base64,cG5n", "data:image/jpeg;base64,anBlZw==",
        ]  # fmt: skip
        answer = get(app, f"/api/unit?image={cat}&layer=conv1&unit=2").json
        assert found[3][2] == answer

    def test_several_questions_of_which_each_fails_by_itself(
        self, app: Any, dispatcher: Table, cat: str, caplog: Any
    ) -> None:
        dispatcher.ends |= {"ascent": RunError("the worker\nended"), "report": ZeroDivisionError("by\nzero")}
        layer = 'a/../"b" +&=?<é'
        found = followed(
            app, f"unit?{urlencode({'image': cat, 'layer': layer, 'unit': 7})}", "ascent?objective=conv1:3",
            "ascend?objective=conv1:3", "ascent?objective=&objective=conv1:3&steps=x", "report", "", "maps",
        )  # fmt: skip
        ends = {ask: (name, told) for ask, name, told in found if name in ("answer", "failed")}
        assert sorted(ends) == list(range(7))
        assert ends[0][1]["facts"]["asked"]["layer"] == layer
        errors = [told["error"] for _, told in (ends[k] for k in range(1, 7))]
        assert errors[0] == "the worker ended"
        assert errors[1] == "there is no question 'ascend'. Did you mean 'ascent'?"
        assert errors[2].startswith("steps: ")
        assert errors[3] == "ZeroDivisionError: by zero (a bug in caffe_viz)"
        assert errors[4].startswith("there is no question ''. There are: image, ")
        assert errors[5].startswith("image: ")
        assert "Traceback" in caplog.text
        assert [name for ask, name, _ in found if ask == 1] == ["queued", "progress", "progress", "failed"]
        assert dispatcher.waiting == 0

    def test_how_many(self, app: Any, dispatcher: Table) -> None:
        query = [f"ascent?objective=conv1:{k}" for k in range(17)]
        assert len([name for _, name, _ in followed(app, *query[:16]) if name == "answer"]) == 16
        for refused in (query, []):
            reply = get(app, events(*refused))
            assert (reply.status, reply.json["error"].startswith("ask: ")) == (400, True)

    def test_something_is_sent_while_nothing_happens(
        self, app: Any, dispatcher: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(event_stream, "QUIET_SECONDS", 0.001)
        dispatcher.stuck = True
        asyncio.run(left(app, events("ascent?objective=conv1:3"), lambda sent: b":\n\n" in sent))
        assert dispatcher.waiting == 0

    @pytest.mark.parametrize(
        ("target", "waiting"),
        [
            ("/api/ascent?objective=conv1:3", 1),
            ("/api/events?ask=ascent%3Fobjective%3Dconv1:3&ask=ascent%3Fobjective%3Dconv1:4", 2),
        ],
    )
    def test_a_browser_that_leaves_is_counted_out(
        self, app: Any, dispatcher: Table, target: str, waiting: int
    ) -> None:
        dispatcher.stuck = True
        asyncio.run(left(app, target, lambda _: dispatcher.waiting == waiting))
        assert dispatcher.waiting == 0

    def test_what_is_closed_has_ended(self, view: View, dispatcher: Table) -> None:
        dispatcher.stuck = True

        async def close() -> None:
            events = event_stream.followed(view, ["ascent?objective=conv1:3"])
            await anext(events)
            await asyncio.wait_for(events.aclose(), 60)
            assert dispatcher.waiting == 0

        asyncio.run(close())

    def test_one_that_leaves_while_it_reads_too_slowly(self, app: Any, dispatcher: Table) -> None:
        """What is sent waits for ever: nothing more is asked of the dispatcher meanwhile, and it is counted out."""
        dispatcher.endless = True
        stalled = lambda sent: b"progress" in sent  # noqa: E731
        asyncio.run(left(app, events(*["ascent?objective=conv1:3"] * 2), stalled, stalls=stalled))
        assert dispatcher.waiting == 0
        assert dispatcher.told < 12


def events(*asks: str) -> str:
    """The address that follows questions."""
    return f"/api/events?{urlencode([('ask', ask) for ask in asks])}"


def followed(app: Any, *asks: str) -> list[tuple[int, str, Any]]:
    """What was told of each question, by its number."""
    found = []
    for block in get(app, events(*asks)).text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        told = json.loads(data.removeprefix("data: "))
        found.append((told["ask"], name.removeprefix("event: "), told["told"]))
    return found


async def left(
    app: Any, target: str, enough: Callable[[bytes], bool], stalls: Callable[[bytes], bool] = lambda _: False
) -> None:
    """A browser that leaves as soon as it has had `enough`; where it `stalls`, what is sent to it waits."""
    gone, messages = asyncio.Event(), [{"type": "http.request", "body": b"", "more_body": False}]
    sent = b""

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal sent
        sent += message.get("body", b"")
        if stalls(sent):
            await asyncio.Event().wait()

    path, _, query = target.encode().partition(b"?")
    task = asyncio.create_task(app(scope("GET", path, query, HEADERS), receive, send))
    while not enough(sent):
        await asyncio.sleep(0.001)
    gone.set()
    await asyncio.wait_for(task, 60)


class TestKeys:
    """What decides an answer is in its key, and nothing else."""

    ASKED = LayerQuery(image="0" * 64, layer="conv1")

    def test_the_same_question_of_another_server(self, view: View) -> None:
        again = replace(view, contexts=(ReportContext.of("caffenet_cifar10"),), command="")
        assert again.key("maps", self.ASKED) == view.key("maps", self.ASKED)

    def test_another_question(self, view: View) -> None:
        query = [
            self.ASKED,
            LayerQuery(image="1" * 64, layer="conv1"),
            LayerQuery(image="0" * 64, layer="conv2"),
        ]
        keys = {view.key(name, one) for name in ("maps", "unit") for one in query}
        assert len(keys) == 6

    def test_another_network(self, view: View, tmp_path: Path) -> None:
        network = Network.of("caffenet_cifar10")
        data = bytearray(Path(str(network.weights)).read_bytes())
        data[-100] ^= 1  # of a weight
        other = tmp_path / "other.caffemodel"
        other.write_bytes(data)
        darker = replace(network.preprocess, scale=network.preprocess.scale / 2)
        others = [replace(network, weights=other), replace(network, preprocess=darker)]
        keys = [replace(view, contexts=(ReportContext.of(one),)).key("maps", self.ASKED) for one in others]
        assert len({view.key("maps", self.ASKED), *keys}) == 3

    def test_another_value_of_an_input_beside_the_image(self, view: View) -> None:
        message = parse_net(
            'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8 '
            'input: "more" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8 '
            'layer { name: "conv1" type: "Eltwise" bottom: "data" bottom: "more" top: "sum" }'
        )
        keys = set()
        for value in (0, 1, 1):
            given = {"more": np.full((1, 3, 8, 8), value, np.float32)}
            network = Network(message, preprocess=Preprocess(mean=(0,)), image="data", input_values=given)
            keys.add(replace(view, contexts=(ReportContext.of(network),)).key("maps", self.ASKED))
        assert len(keys) == 2

    def test_the_second_network_counts_where_it_is_asked_about(
        self, view: View, context: ReportContext
    ) -> None:
        both = replace(view, contexts=(context, context))
        one = Difference(image="0" * 64, other_image="0" * 64, layer="conv1")
        keys = {both.key("difference", one.model_copy(update={"other_net": net})) for net in (0, 1)}
        assert len(keys) == 2
        assert both.key("maps", self.ASKED) == view.key("maps", self.ASKED)

    def test_another_engine(self, view: View, engine: str) -> None:
        other = ReportContext.of(replace(Network.of("caffenet_cifar10"), engine=engine))
        same = replace(view, contexts=(other,)).key("maps", self.ASKED) == view.key("maps", self.ASKED)
        assert same is (view.contexts[0].engine_name == engine)

    def test_another_version(self, view: View, monkeypatch: pytest.MonkeyPatch) -> None:
        before = view.key("maps", self.ASKED)
        monkeypatch.setattr(caffe_viz, "__version__", "9")
        assert view.key("maps", self.ASKED) != before


class TestUploads:
    def test_an_image_gets_an_id_and_its_size(self, app: Any, dispatcher: Table) -> None:
        data = png_bytes([[[1, 0, 0]]])
        reply = post(app, f"/api/images?name={quote('C:/Bilder/hünd.png')}", data)
        digest = hashlib.sha256(data).hexdigest()
        assert reply.json == {"id": digest, "name": "hünd.png", "width": 40, "height": 30}
        (ask,) = dispatcher.asks
        assert (ask.question, ask.images[digest].data) == ("image", data)
        assert get(app, f"/api/maps?image={digest}&layer=conv1").status == 200

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("cat.png", "cat.png"), ("a/b/cat.png", "cat.png"), ("a\\b\\cat.png", "cat.png"), ("", "image"), ("..", ".."),
            ("/", "image"), ("a\x1b[31m\n.png", "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}.png"),
            ("x" * 900 + ".png", "x" * 196 + ".png"), ("  ", "image"), ("\u202egnp.exe", "\N{REPLACEMENT CHARACTER}gnp.exe"),
        ],
    )  # fmt: skip
    def test_names(self, app: Any, given: str, kept: str) -> None:
        assert post(app, f"/api/images?{urlencode({'name': given})}", b"x").json["name"] == kept

    def test_nothing(self, app: Any, dispatcher: Table) -> None:
        reply = post(app, "/api/images?name=a.png", b"")
        assert (reply.status, "empty" in reply.json["error"], dispatcher.asks) == (400, True, [])
        assert post(app, f"/api/images?name={'a' * 1001}", b"x").status == 400

    def test_what_is_no_image_is_refused(self, app: Any, dispatcher: Table) -> None:
        dispatcher.ends["image"] = InputError("a.png is no image of a known format.")
        reply = post(app, "/api/images?name=a.png", b"text")
        assert (reply.status, reply.json["error"]) == (400, "a.png is no image of a known format.")


class TestLibrary:
    def test_uploads_are_bounded_and_those_that_were_asked_for_stay(self) -> None:
        library = ImageLibrary(None, limit=100)
        first, second = library.add("a", b"1" * 40), library.add("b", b"2" * 40)
        assert library.source(first.id).data == b"1" * 40
        third = library.add("c", b"3" * 40)
        assert library.source(first.id).name == "a"
        with pytest.raises(Unknown):
            library.source(second.id)
        large = library.add("d", b"4" * 101)  # more than all may have, but the newest stays
        assert library.source(large.id).data == b"4" * 101
        with pytest.raises(Unknown):
            library.source(third.id)

    def test_the_same_again_takes_no_more(self) -> None:
        library = ImageLibrary(None, limit=100)
        for _ in range(9):
            first = library.add("a", b"1" * 40)
        second = library.add("b", b"2" * 40)
        assert library.source(first.id)
        assert library.source(second.id)
        library.add("a", b"1" * 40)  # the second is the older now
        library.add("c", b"3" * 40)
        assert library.source(first.id)
        with pytest.raises(Unknown):
            library.source(second.id)

    def test_the_strip_has_ids_that_another_run_has_too(self, tmp_path: Path) -> None:
        folder = tmp_path / "photos"
        folder.mkdir()
        for name in ("b10.png", "b2.png"):
            (folder / name).write_bytes(name.encode())
        with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
            archive.writestr("in/c.jpg", b"packed")
        first, second = (
            ImageLibrary(ImageCollection.of(folder, tmp_path / "more.zip", CAT)) for _ in range(2)
        )
        assert [one.name for one in first.strip] == ["b2.png", "b10.png", "c.jpg", "cat.png"]
        assert first.strip == second.strip
        assert len({one.id for one in first.strip}) == 4
        contents = [first.source(one.id).data for one in second.strip]
        assert contents == [b"b2.png", b"b10.png", b"packed", CAT.read_bytes()]

    def test_files_of_one_name_keep_their_folders(self, tmp_path: Path) -> None:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "x.png").write_bytes(folder.encode())
            os.utime(tmp_path / folder / "x.png", (0, 0))
        names = [one.name for one in ImageLibrary(ImageCollection.of(tmp_path)).strip]
        assert [Path(name).parts[-2:] for name in names] == [("a", "x.png"), ("b", "x.png")]

    def test_a_file_that_has_changed_is_said(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(b"one")
        library = ImageLibrary(ImageCollection.of(path))
        (known,) = library.strip
        path.write_bytes(b"other")
        with pytest.raises(InputError, match=r"a\.png has changed since the server began"):
            library.source(known.id)
        path.unlink()
        with pytest.raises(InputError, match=r"a\.png"):
            library.source(known.id)


def test_frames_of_a_video_are_in_the_strip(tmp_path: Path) -> None:
    """Each as a picture of its own, decoded when it is asked for."""
    path = film(tmp_path / "a.avi", "mpeg4")
    library = ImageLibrary(ImageCollection.of(f"{path}#3:6"))
    assert [one.name for one in library.strip] == ["a.avi#3", "a.avi#4", "a.avi#5"]
    source = library.source(library.strip[1].id)
    assert number_of(load_image(source.name, source.data)) == 4


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]


HOSTILE = ['"><script>alert(1)</script>', "' onload='alert(1)", "{{ 7 * 7 }}", "</title><img src=x onerror=alert(1)>", "a/../../b", "\u202e", "%2e%2e", "?layer=x&net=1", "${7*7}"]  # fmt: skip


def test_names_of_a_hostile_net_are_text(tmp_path: Path, dispatcher: Table) -> None:
    """Of the net, its layers, labels and images: in the page they are escaped, elsewhere they are JSON."""
    layers = [
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }'
    ]
    bottom = "data"
    for name in HOSTILE:
        quoted = json.dumps(name, ensure_ascii=False)
        kind = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }'
        layers.append(
            f"layer {{ name: {quoted} {kind} bottom: {json.dumps(bottom, ensure_ascii=False)} top: {quoted} }}"
        )
        bottom = name
    last = json.dumps(bottom, ensure_ascii=False)
    layers.append(f'layer {{ name: "prob" type: "Softmax" bottom: {last} top: "prob" }}')
    text = f"name: {json.dumps(HOSTILE[3])}\n" + "\n".join(layers)
    (tmp_path / "deploy.prototxt").write_text(text, encoding="utf-8")
    network = Network(tmp_path / "deploy.prototxt")
    images = tmp_path / "images"
    images.mkdir()
    for name in ('"><script>alert(1)<.png', "' onerror='x'.png"):
        (images / name).write_bytes(CAT.read_bytes())
    labelled = replace(network, preprocess=replace(network.preprocess, labels=Labels(HOSTILE[:2])))
    view = View((ReportContext.of(labelled),), ImageLibrary(ImageCollection.of(images)), dispatcher, ASKED)
    app = Guard(create_app(view), Access("127.0.0.1", 8642, "s3cret"))
    html = get(app, "/").text
    tags = Tags()
    tags.feed(html)
    assert [tags.names.count(name) for name in ("script", "img", "title")] == [
        html.count('<script src="/static/') + html.count('<script type="module" src="/static/'), 0, html.count("<title>"),
    ]  # fmt: skip
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert "{{ 7 * 7 }}" in html
    told = get(app, "/api/network")
    assert told.headers["content-type"] == "application/json"
    (found,) = told.json["networks"]
    assert found["name"] == HOSTILE[3]
    assert [layer["name"] for layer in found["layers"]][1:-1] == HOSTILE
    assert {one["name"] for one in told.json["images"]} == {path.name for path in images.iterdir()}
    links = [part.split('"')[0] for part in html.split('href="?layer=')[1:]]
    assert {parse_qs(urlsplit(f"?layer={link}").query)["layer"][0] for link in links} >= {
        HOSTILE[0],
        HOSTILE[7],
    }


class Watch:
    """What is opened, removed, listed, started or connected to while it is on; a hook stays for good."""

    EVENTS = frozenset(
        {
            "open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir", "os.system",
            "subprocess.Popen", "socket.connect", "shutil.rmtree", "import", "exec",
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self.on, self.seen = False, set[str]()
        sys.addaudithook(self._note)

    def _note(self, event: str, values: tuple[Any, ...]) -> None:
        if self.on and event in self.EVENTS:
            self.seen.add(f"{event} {values[0]}")

    def __enter__(self) -> None:
        self.seen.clear()
        self.on = True

    def __exit__(self, *_: object) -> None:
        self.on = False


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


PATHS = ["../../etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "file:///etc/passwd", "C:\\Windows\\win.ini", str(CAT), "\x00", "CON", "~/.ssh/id_rsa", "$(id)", "`id`", "|id", "http://169.254.169.254/"]  # fmt: skip


def test_no_request_names_a_file(app: Any, watch: Watch, cat: str) -> None:
    """Paths in every parameter, name and header: nothing is opened but the image of the strip that is asked for."""
    names = {name: list(question.query.model_fields) for name, question in ASKED.items()}
    usual = USUAL | {"other_image": cat}

    async def ask_all(paths: list[str]) -> None:
        for path in paths:
            for target in (
                f"/{quote(path)}",
                f"/static/{quote(path)}",
                f"/api/{quote(path)}",
                f"/api/maps/picture/{quote(path)}",
            ):
                await called(
                    app, target, "GET", [*HEADERS, ("If-None-Match", path), ("Accept-Language", path)]
                )
            await called(app, f"/api/images?{urlencode({'name': path})}", "POST", HEADERS, b"data")
            for name, parameters in names.items():
                for parameter in parameters:
                    query = urlencode({n: usual[n] for n in parameters if n in usual} | {parameter: path})
                    for address in ("", "/picture/0", "/data"):
                        await called(app, f"/api/{name}{address}?{query}", "GET", HEADERS)
                    await called(app, events(path, f"{path}?{query}", f"{name}?{query}"), "GET", HEADERS)

    asyncio.run(ask_all(PATHS[:1]))  # modules that are imported when they are used first
    with watch:
        asyncio.run(ask_all(PATHS))
    assert watch.seen == {f"open {CAT}"}


USUAL = {
    "image": ImageLibrary(ImageCollection.of(CAT)).strip[0].id, "other_image": "f" * 64, "layer": "conv1", "unit": "1",
    "objective": "conv1:1",
}  # fmt: skip
NAMES = sorted({name for question in ASKED.values() for name in question.query.model_fields})
NUMBERS = ["0", "1", "-1", "nan", "1e999", "9" * 30, "true", ""]
EVENTS = "events"
ADDRESSES = ("", EVENTS, "/picture/0", "/picture/7", "/data", "/", "/..", "//")
OTHERS = (
    "/",
    "/api/network",
    "/api/status",
    "/api/images",
    "/static/main.js",
    "/static/",
    "/api",
    "//api/network",
)
ANY = st.text(st.characters(codec="utf-8"), max_size=20)
LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
HEADER = st.sampled_from(
    ["Origin", "Sec-Fetch-Site", "Cookie", "If-None-Match", "Content-Type", "Accept", "Range", "Host", "Expect"]
)  # fmt: skip


def target(question: str, address: str, other: str, changes: list[tuple[str, str]]) -> str:
    """A question as it may be asked, or another address, with some parameters changed or new."""
    fields = ASKED[question].query.model_fields
    given = {name: value for name, value in USUAL.items() if name in fields} | dict(changes)
    query = urlencode(given)
    return (
        events(f"{other or question}?{query}")
        if address == EVENTS
        else f"{other or f'/api/{question}{address}'}?{query}"
    )


ALL = list(HealthCheck)
TARGETS = st.builds(
    target,
    st.sampled_from(sorted(ASKED)),
    st.sampled_from(ADDRESSES),
    st.just("") | st.just("") | st.sampled_from(OTHERS) | ANY.map(lambda text: f"/{quote(text)}"),
    st.lists(
        st.tuples(st.sampled_from(NAMES) | ANY, st.sampled_from([*NUMBERS, *PATHS, *HOSTILE]) | ANY),
        max_size=2,
    ),
)
HOWS = st.tuples(
    st.sampled_from(["GET", "GET", "GET", "POST", "HEAD", "PUT", "OPTIONS"]),
    st.lists(
        st.tuples(HEADER, LATIN | st.sampled_from([HOST, "same-origin", '"0"', "bytes=0-1"])), max_size=1
    ),
    st.binary(max_size=20),
)


@pytest.fixture(scope="module")
def random_app(context: ReportContext) -> Any:
    library = ImageLibrary(ImageCollection.of(CAT))
    library.add("x", b"x")
    view = View((context,), library, Table(), ASKED)
    return Guard(create_app(view), Access("127.0.0.1", 8642, "s3cret"))


def several(one: st.SearchStrategy[Any], count: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, min_size=count, max_size=count)


def test_five_thousand_random_requests(random_app: Any, watch: Watch) -> None:
    """Every one has an answer, none of them a fault; what is refused is so in one line; no file is touched."""
    seen: Counter[int] = Counter()  # statuses

    async def ask_all(targets: list[str], hows: list[Any]) -> None:
        for where, (method, more, body) in product(targets, hows):
            reply = await called(random_app, where, method, [*HEADERS, *more], body)
            seen[reply.status] += 1
            assert reply.status < 500
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert b"Traceback" not in reply.body
            if reply.status >= 400 and where.startswith("/api/") and method != "HEAD":
                assert "\n" not in reply.json["error"]

    @settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=ALL)
    @given(targets=several(TARGETS, 20), hows=several(HOWS, 10))
    def ask(targets: list[str], hows: list[Any]) -> None:
        with watch:
            asyncio.run(ask_all(targets, hows))
        assert watch.seen <= {f"open {CAT}", f"open {web.__file__}"}  # FastAPI looks up a line for its errors

    ask()
    assert sum(seen.values()) >= 5_000
    assert seen[200] > 500
    assert {400, 403, 404, 405, 421} <= set(seen)
