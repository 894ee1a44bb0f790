"""The report of a network: what is made, kept, gone on with, left out; and what the page says. No browser here."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import fork_server
import numpy as np
import pytest
from attribution_toy import pooled
from commands import here

from caffe_viz import netdef, tables
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError, RunError
from caffe_viz.images import Preprocess, load_image, save_png
from caffe_viz.network import Network
from caffe_viz.parity import seeded_weights
from caffe_viz.report import RunningReport, make_report, parts
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import Figure, PartCache, PartResult
from caffe_viz.report.plan import Plan, spread

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
RECORD = REPOSITORY / "examples" / "caffenet_cifar10.record"
TINY = """
name: "tiny"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 8 kernel_size: 4 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc" inner_product_param { num_output: 6 } }
"""
HOSTILE = ('<script>alert("1")</script>', "../../up", "\"quoted' & é日本", "x" * 3000)


class Elements(HTMLParser):
    """Tags with their attributes, and the words that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder with the two files of a tiny net, how images get in, and two images."""
    message = netdef.parse_net(TINY)
    return write_toy(tmp_path, message, seeded_weights(message, 5))


def write_toy(tmp_path: Path, message: netdef.NetParameter, weights: netdef.NetParameter) -> Path:
    netdef.write_net(message, tmp_path / "deploy.prototxt")
    netdef.write_weights(weights, tmp_path / "toy.caffemodel")
    (tmp_path / "preprocess.toml").write_text(
        'mean = [100, 110, 120]\nscale = 0.015625\nresize = false\nlabels = "labels.txt"\n', encoding="utf-8"
    )
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\ndog\neel\nfox\n", encoding="utf-8")
    (tmp_path / "images").mkdir()
    for number in range(2):
        rgb = np.random.default_rng(number).random((40, 40, 3)).astype(np.float32)
        save_png(tmp_path / "images" / f"{number}.png", rgb)
    return tmp_path


def subject(toy: Path, engine: str = "auto", **more: Any) -> ReportContext:
    network = Network(
        toy / "deploy.prototxt", toy / "toy.caffemodel", preprocess_near(toy / "deploy.prototxt"), engine
    )
    return ReportContext.of(network, **{"images": [toy / "images"], **more})


def finish(reporting: RunningReport) -> Elements:
    for _ in reporting:
        pass
    return Elements(reporting.path.read_text("utf-8"))


def one_image(toy: Path, engine: str = "auto") -> ReportContext:
    """Whose report is half the work."""
    return subject(toy, engine, images=[toy / "images" / "0.png"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunningReport, Elements]:
    """The report without what takes long, and its page."""
    folder = tmp_path_factory.mktemp("finished")
    reporting = RunningReport(subject(write_toy(folder, *pooled())), folder / "out", budget=0)
    return reporting, finish(reporting)


def test_everything_of_a_small_net(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "STEPS", 8)
    toy = write_toy(tmp_path, *pooled())
    about = subject(toy, engine, images=[toy / "images" / "1.png"], photos=toy / "images")
    reporting = RunningReport(about, tmp_path / "out", budget=600)
    page = finish(reporting)
    assert reporting.unfinished == []
    assert "no time" not in page.text
    assert "could not be made" not in page.text
    for words in (f"engine {engine}", "3 x 31 x 27", "as the net sees it", "guided-grad-cam", "score-cam"):
        assert words in page.text
    saved = [button["data-save"] for button in page.all("button") if "data-save" in button]
    for name in (
        "conv1_kernels.png", "conv1_1_activation.png", "fc_5_ascent.jpg", "conv2_top.png", "1_input.jpg",
        "1_occlusion.png",
    ):  # fmt: skip
        assert name in saved, name
    assert sum("_ascent" in name for name in saved) == 8 + 12 + 6  # every filter of conv1, conv2 and fc
    assert all(int(image["width"]) and int(image["height"]) and "alt" in image for image in page.all("img"))


def test_the_page_asks_nothing_of_the_network_and_runs_nothing_but_its_script(
    finished: tuple[RunningReport, Elements],
) -> None:
    _, page = finished
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert len(page.all("script")) == 1
    assert "unsafe" not in policy
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")) or name not in attributes
    assert not page.all("link")


def test_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    message = netdef.parse_net(TINY)
    weights = seeded_weights(message, 5)
    renamed = dict(zip(("conv1", "fc", "pool1", "data"), HOSTILE, strict=True))
    for net in (message, weights):
        for layer in net.layer:
            layer.name = renamed.get(layer.name, layer.name)
            for blobs in (layer.bottom, layer.top):
                blobs[:] = [renamed.get(blob, blob) for blob in blobs]
    message.name = "</title><script>alert(2)</script>"
    preprocess = Preprocess(mean=(100,), scale=1 / 64, resize=None, labels=("</script><b>", *"abcde"))
    image = tmp_path / "<img src=x onerror=alert(3)>.png"
    save_png(image, load_image(CAT))
    folder = tmp_path / "out"
    page = finish(
        RunningReport(
            ReportContext.of(Network(message, weights, preprocess, "torch"), [image]),
            folder,
            budget=600,
            command=HOSTILE[0],
        )
    )
    assert len(page.all("script")) == 1
    assert not page.all("b")
    assert all(name in page.text for name in HOSTILE[:3])
    assert "<img src=x onerror=alert(3)>.png" in page.text
    assert "could not be made" not in page.text
    assert {path.parent for path in folder.rglob("*") if path.is_file()} == {
        folder,
        next(folder.glob("*_parts")),
    }
    for button in page.all("button"):
        assert re.fullmatch(r"[\w.-]*", button.get("data-save", ""))


def test_the_table_has_the_numbers_of_shapes(finished: tuple[RunningReport, Elements]) -> None:
    reporting, page = finished
    about = reporting.context
    for row in tables.layer_table(about.network.geometry).rows:
        assert " ".join(" ".join(map(tables.text, row)).split()) in page.text
    values = [int(cell["data-value"]) for cell in page.all("td") if "data-value" in cell]
    assert sum(x.macs for x in about.network.geometry.layers) == sum(values[1::2])


def test_a_layer_that_sees_everything_has_no_stride(finished: tuple[RunningReport, Elements]) -> None:
    _, page = finished
    assert "stride 1 x 1" in page.text
    assert "stride 0" not in page.text


def test_dead_and_repeated_filters_are_named(toy: Path, tmp_path: Path) -> None:
    weights = netdef.read_weights(toy / "toy.caffemodel")
    layer = next(x for x in weights.layer if x.name == "conv1")
    array = netdef.blob_array(layer.blobs[0])
    array[3] = 0
    array[7] = 2 * array[5]
    layer.blobs[0].CopyFrom(netdef.make_blob(array))
    netdef.write_weights(weights, toy / "toy.caffemodel")
    page = finish(RunningReport(subject(toy, images=()), tmp_path / "out", budget=0))
    assert (
        "8 filters; 1 dead (weights next to 0): 3; 1 repeat an earlier one: 5 and 7 (cosine 1.000)"
        in page.text
    )


def test_an_interrupted_report_goes_on(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, made = tmp_path / "out", list[str]()
    real = parts.activation

    def counted(subject: ReportContext, number: int, layer: Any, blob: str) -> PartResult:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(f"{number} {blob}")
        return real(subject, number, layer, blob)

    monkeypatch.setattr(parts, "activation", counted)
    first = RunningReport(one_image(toy), folder, budget=0)
    with pytest.raises(KeyboardInterrupt):
        finish(first)
    first.write()
    page = Elements(first.path.read_text("utf-8"))
    names = [b["data-save"] for b in page.all("button") if "_activation" in b.get("data-save", "")]
    assert len(names) == 2
    done, made[:] = made[:], []
    monkeypatch.setattr(parts, "activation", lambda *a: made.append(f"{a[1]} {a[3]}") or real(*a))
    page = finish(RunningReport(one_image(toy), folder, budget=0))
    assert not set(done) & set(made)
    assert len(done) + len(made) == 4  # blobs
    made.clear()
    finish(RunningReport(one_image(toy), folder, budget=0))
    assert not made


def test_ctrl_c_leaves_a_page_and_the_same_command_ends_it(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = [
        sys.executable, "-m", "caffe_viz.cli", "report", str(toy / "deploy.prototxt"), str(toy / "toy.caffemodel"),
        "--engine", "torch", "--image", str(toy / "images"), "--budget", "300", "--output", str(folder),
    ]  # fmt: skip
    process = fork_server.Popen(command, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not list(folder.glob("*_parts/image-000-*.json")):
        assert time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        errors.strip()
        == "interrupted: the page shows what was finished; run the same command again to resume"
    )
    page = Elements((folder / "toy_report.html").read_text("utf-8"))
    assert "There was no time yet for inputs that" in page.text
    done = fork_server.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    page = Elements((folder / "toy_report.html").read_text("utf-8"))
    assert "no time" not in page.text
    assert shlex.join(["caffe-viz", "report", *command[4:]]) in page.text


def test_another_net_begins_anew_and_foreign_folders_are_left_alone(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    first = RunningReport(one_image(toy), folder, budget=0)
    finish(first)
    kept = first.cache.get("image-000-answer")
    assert kept is not None
    weights = netdef.read_weights(toy / "toy.caffemodel")
    weights.layer[0].blobs[0].data[0] += 1
    netdef.write_weights(weights, toy / "toy.caffemodel")
    assert RunningReport(one_image(toy), folder, budget=0).cache.get("image-000-answer") is None
    changed = Network(netdef.read_net(toy / "deploy.prototxt"), weights)
    finish(RunningReport(ReportContext.of(changed, [CAT]), folder, budget=0))
    weights.layer[0].blobs[0].data[0] += 1  # in memory
    assert (
        RunningReport(ReportContext.of(changed, [CAT]), folder, budget=0).cache.get("image-000-answer")
        is None
    )
    strange = tmp_path / "other" / "toy_report_parts"
    strange.mkdir(parents=True)
    (strange / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no parts of a report"):
        RunningReport(one_image(toy), tmp_path / "other")
    assert (strange / "thesis.txt").exists()


def test_two_runs_in_one_folder_never_mix(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    first = RunningReport(one_image(toy), folder, budget=0)
    parts = iter(first)
    next(parts)
    again = RunningReport(one_image(toy), folder, budget=0)  # the same report: both may go on
    finish(again)
    next(parts)
    other = RunningReport(subject(toy, images=[CAT]), folder, budget=0)
    with pytest.raises(RunError, match="another report was started in it"):
        finish(first)
    page = finish(other)
    assert "cat.png" in page.text
    with pytest.raises(RunError, match="another report was started in it"):
        first.write()
    assert Elements(other.path.read_text("utf-8")).text == page.text


def test_a_net_of_several_inputs_has_its_weights_shown(tmp_path: Path, engine: str) -> None:
    side = 'bottom: "{0}" top: "{0}1" convolution_param {{ num_output: 2 kernel_size: 3 }} }}\n'
    message = netdef.parse_net(
        'name: "pair" input: "left" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }'
        'input: "right" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }'
        + "".join(f'layer {{ name: "{x}1" type: "Convolution" {side.format(x)}' for x in ("left", "right"))
        + 'layer { name: "sum" type: "Eltwise" bottom: "left1" bottom: "right1" top: "sum" }'
        'layer { name: "fc" type: "InnerProduct" bottom: "sum" top: "fc" inner_product_param { num_output: 9 } }'
    )
    network = Network(message, seeded_weights(message), engine=engine)
    page = finish(RunningReport(ReportContext.of(network), tmp_path / "out", budget=600))
    assert "input left, right" in page.text
    assert "images get in as" in page.text  # into whichever takes one
    saved = [b["data-save"] for b in page.all("button") if "data-save" in b]
    assert {"left1_kernels.png", "right1_kernels.png"} <= set(saved)
    assert {"left1_0_ascent.jpg", "right1_1_ascent.jpg"} <= set(saved)  # they depend on one each
    assert page.text.count("'fc' of net 'pair' depends on 2 inputs") == 1  # a layer, not batches of filters


def test_one_failure_does_not_cost_the_rest(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = parts.activation

    def failing(subject: ReportContext, number: int, layer: Any, blob: str) -> PartResult:
        if blob == "pool1":
            raise RunError("the disk is on <fire>.")
        return real(subject, number, layer, blob)

    monkeypatch.setattr(parts, "activation", failing)
    reporting = RunningReport(subject(toy), tmp_path / "out", budget=0)
    notes = [progress.note for progress in reporting if progress.note]
    page = Elements(reporting.path.read_text("utf-8"))
    assert len(notes) == 2
    assert notes[0].endswith("0.png: the disk is on <fire>.")
    assert page.text.count("could not be made: the disk is on <fire>.") == 2
    assert "2 pictures could not be made" in page.text
    assert sum("_activation" in b.get("data-save", "") for b in page.all("button")) == 6
    monkeypatch.undo()  # what failed is tried again
    assert "could not be made" not in finish(RunningReport(subject(toy), tmp_path / "out", budget=0)).text


def test_the_most_active_filters_come_first(tmp_path: Path, finished: tuple[RunningReport, Elements]) -> None:
    reporting, _ = finished
    about = reporting.context
    layer = about.network.geometry.layer("conv2")
    strength = np.mean([about.blobs(n)["conv2"].mean((1, 2)) for n in range(2)], axis=0)
    plan = Plan(about, reporting.cache, lambda: False)
    np.testing.assert_array_equal(plan.most_active(layer), np.argsort(-strength, kind="stable"))
    blind = Plan(about, PartCache(tmp_path / "empty", {}), lambda: False)
    assert blind.most_active(layer) == list(range(12))


def test_classes_are_called_by_their_whole_labels(toy: Path, tmp_path: Path) -> None:
    (toy / "labels.txt").write_text("ant\nbee 1 a\ncat\ndog 30\neel\nfox\n", encoding="utf-8")
    page = finish(RunningReport(subject(toy, "torch", images=()), tmp_path / "out", budget=600))
    assert "1 bee 1 a:" in page.text
    assert "3 dog 30:" in page.text


@pytest.mark.parametrize(
    ("name", "file"),
    [("..", "network"), ("--help", "help"), ("a/b", "a-b"), ("", "network"), ("n" * 300, "n" * 80)],
)
def test_the_file_has_a_plain_name(networks: Path, tmp_path: Path, name: str, file: str) -> None:
    message = netdef.read_net(networks / "lenet" / "deploy.prototxt")
    message.name = name
    assert (
        RunningReport(ReportContext.of(Network(message)), tmp_path).path == tmp_path / f"{file}_report.html"
    )


def test_coarse_to_fine() -> None:
    assert spread(range(9)) == [8, 0, 4, 2, 6, 1, 3, 5, 7]
    assert spread([]) == []


def test_what_takes_long_stops_in_time(tmp_path: Path, finished: tuple[RunningReport, Elements]) -> None:
    reporting, page = finished
    late = Plan(reporting.context, PartCache(tmp_path / "parts", {}), lambda: True)
    for what in ("ascent", "occlusion"):
        part = next(part for part in late.extra() if what in part.key)
        with pytest.raises(parts.OutOfTime):
            part.make()
    assert reporting.unfinished == [
        "inputs that maximise filters of 3 of 3 layers",
        "attributions by smoothgrad, integrated-gradients, occlusion, score-cam",
    ]
    assert f"There was no time yet for {'; '.join(reporting.unfinished)}." in page.text
    assert page.text.count("Not made yet: inputs that maximise its filters.") == 3
    assert not [p for p in page.all("p") if p.get("class") == "notice"]


def test_a_search_that_ran_out_of_time_goes_on(toy: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number in range(40):
        save_png(
            photos / f"{number:02d}.png", np.random.default_rng(number).random((8, 8, 3)).astype(np.float32)
        )
    about = subject(toy, photos=photos)
    cache, layer = PartCache(tmp_path / "parts", {}), about.network.geometry.layer("conv1")
    with pytest.raises(parts.OutOfTime):
        parts.places(about, layer, [0, 1], cache, lambda: True)
    assert list(cache.folder.glob("*.npz"))
    seen = list[int]()
    found = parts.places(about, layer, [0, 1], cache, lambda: bool(seen.append(1)))
    whole = parts.places(about, layer, [0, 1], PartCache(tmp_path / "new", {}), lambda: False)
    assert found.facts == whole.facts == {"seen": 40, "dead": [], "state": found.facts["state"]}
    np.testing.assert_array_equal(found.figures[0].rgb, whole.figures[0].rgb)


def test_pictures_beside_the_page(toy: Path, tmp_path: Path) -> None:
    page = finish(RunningReport(one_image(toy), tmp_path / "out", budget=0, beside=True))
    sources = [image["src"] for image in page.all("img")]
    assert sources
    assert all((tmp_path / "out" / source).is_file() for source in sources)
    assert (tmp_path / "out" / "toy_report.html").stat().st_size < 500_000


def test_without_weights_no_engine_is_needed(networks: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['caffe'] = None\n"
        "from caffe_viz import make_report; print(make_report(sys.argv[1], folder=sys.argv[2]))"
    )
    prototxt = networks / "lenet" / "deploy.prototxt"
    done = subprocess.run(
        [sys.executable, "-c", code, str(prototxt), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = Elements(Path(done.stdout.strip()).read_text("utf-8"))
    assert "parameters 431,080" in page.text
    assert not page.all("img")


def test_inputs_that_are_no_images(tmp_path: Path, engine: str) -> None:
    prototxt = tmp_path / "deploy.prototxt"
    prototxt.write_text(
        'name: "rows"\n'
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 8 dim: 3 dim: 24 } } }\n'
        'layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 3 kernel_h: 1 kernel_w: 5 weight_filler { type: "xavier" } } }\n'
    )
    rng = np.random.default_rng(0)
    np.save(tmp_path / "rows.npy", rng.normal(size=(8, 3, 24)).astype(np.float32))
    weights = netdef.NetParameter()
    weights.layer.add(
        name="conv1", blobs=[netdef.make_blob(rng.normal(size=s)) for s in ((3, 8, 1, 5), (3,))]
    )
    network = Network(prototxt, weights, engine=engine)
    page = finish(
        RunningReport(ReportContext.of(network, [tmp_path / "rows.npy"]), tmp_path / "out", budget=600)
    )
    assert "not one value for each class" in page.text
    assert "8 x 3 x 24" in page.text
    saved = [b["data-save"] for b in page.all("button") if "data-save" in b]
    assert sum("_ascent.png" in name for name in saved) == 3
    assert "could not be made" not in page.text


def test_a_loss_is_shown_as_its_value(toy: Path, engine: str, tmp_path: Path) -> None:
    message = netdef.read_net(toy / "deploy.prototxt")
    message.layer.add(name="mean", type="Reduction", bottom=["fc"], top=["mean"])  # its top has no axes
    netdef.write_net(message, toy / "deploy.prototxt")
    page = finish(RunningReport(one_image(toy, engine), tmp_path / "out", budget=0))
    assert "could not be made" not in page.text
    assert "mean_0_activation.png" in [b.get("data-save") for b in page.all("button")]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"images": ["{toy}/nothing.png"]}, "there is no such image"),
        ({"images": ["{toy}/labels.txt"]}, "not the path of an image and its label"),
        ({"record": "{toy}/nothing.record"}, "nothing.record cannot be read"),
        ({"record": "{toy}/labels.txt"}, "not the record of a training"),
        ({"record": str(RECORD)}, "record of another net, 'CaffeNet_CIFAR10'"),
        ({"photos": "{toy}/nowhere"}, "there is no such image, folder"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(toy: Path, more: dict[str, Any], words: str) -> None:
    def filled(value: Any) -> Any:
        return [filled(x) for x in value] if isinstance(value, list) else value.format(toy=toy)

    with pytest.raises(InputError, match=words):
        subject(toy, **{name: filled(value) for name, value in more.items()})


def test_images_need_weights(networks: Path) -> None:
    with pytest.raises(InputError, match="give the caffemodel too"):
        make_report(networks / "lenet" / "deploy.prototxt", CAT)


def test_half_written_parts_are_none(tmp_path: Path) -> None:
    cache = PartCache(tmp_path / "parts", {"net": 1})
    cache.keep("a", PartResult({"x": 1}, (Figure(np.ones((4, 6, 3)), "white", "w"),)))
    found = cache.get("a")
    assert found is not None
    assert (found.facts, found.figures[0].width, found.figures[0].height) == ({"x": 1}, 6, 4)
    (tmp_path / "parts" / "a.json").write_bytes(b'{"facts": {"x"')
    assert cache.get("a") is None
    assert cache.get("b") is None


def test_a_shelf_that_could_not_be_cleared_is_still_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, there = tmp_path / "parts", Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(there(self), reverse=True)))
    PartCache(folder, {"net": 1}).keep("000", PartResult({}))
    (folder / "001.json").mkdir()  # as if what clears it was stopped there
    with pytest.raises(RunError, match="cannot be removed"):
        PartCache(folder, {"net": 2})
    (folder / "001.json").rmdir()
    PartCache(folder, {"net": 2}).keep("a", PartResult({}))


def test_report_as_json(toy: Path, tmp_path: Path) -> None:
    made = json.loads(here("report", toy / "deploy.prototxt", "-o", tmp_path, "--json"))
    assert made == {"files": [str(tmp_path / "tiny_report.html")], "unfinished": [], "interrupted": False}


def test_snapshots_of_one_net_have_a_page_each(toy: Path, tmp_path: Path) -> None:
    finish(RunningReport(subject(toy, images=()), tmp_path, budget=0))
    (toy / "toy.caffemodel").rename(toy / "iter_2000.caffemodel")
    network = Network(toy / "deploy.prototxt", toy / "iter_2000.caffemodel")
    finish(RunningReport(ReportContext.of(network), tmp_path, budget=0))
    assert {path.name for path in tmp_path.glob("*.html")} == {"toy_report.html", "iter_2000_report.html"}


def test_progress_ends_near_its_total(toy: Path, tmp_path: Path) -> None:
    told = list(RunningReport(subject(toy, "torch", images=()), tmp_path / "out", budget=8))
    assert all(0 <= one.done <= one.total for one in told)
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert len({one.total for one in told}) == 1  # or the remaining time starts anew
    assert told[-1].total - told[-1].done < 8  # the budget ran, or nothing was left to do


def test_what_is_not_known_is_drawn_and_said(tmp_path: Path) -> None:
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
            convolution_param { num_output: 2 kernel_size: 3 quant { bits: 4 } } }
    layer { name: "secret" type: "Mystery" bottom: "conv" top: "secret" }
    layer { name: "after" type: "ReLU" bottom: "secret" top: "after" }
    layer { name: "beside" type: "ReLU" bottom: "conv" top: "beside" }
    """
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    here("report", path, "-o", tmp_path / "out")
    page = unescape(next((tmp_path / "out").glob("*.html")).read_text(encoding="utf-8"))
    assert "left out: secret, after; layer 'secret' is of type 'Mystery'" in page
    assert "conv has convolution_param.quant, which is ignored" in page
    assert "Mystery (unknown type)" in page
    targets = set(re.findall(r'href="#(layer-\d+)"', page))
    assert targets
    assert targets <= set(re.findall(r'id="(layer-\d+)"', page))
    names = re.findall(r'id="layer-\d+"[^>]*>.*?<h3>(.*?)</h3>', page, re.DOTALL)
    assert "secret" not in " ".join(names)
