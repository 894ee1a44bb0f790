"""Images at addresses: of fsspec's memory, and of an HTTP server in this process that counts what it sends."""

from __future__ import annotations

import io
import pickle
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_type_hints

import clusters
import numpy as np
import pytest
import typer
from commands import here, refused
from PIL import Image

import caffe_viz as cv
from caffe_viz.cli.app import app
from caffe_viz.cli.networks import as_option
from caffe_viz.errors import InputError, RunError
from caffe_viz.files import shown
from caffe_viz.geometry.stored import WITH_FILES
from caffe_viz.images import ImageCollection, Preprocess, load_image
from caffe_viz.images.arrays import array_bytes, load_array
from caffe_viz.images.prefetch import AHEAD
from caffe_viz.netdef import read_net
from caffe_viz.network import Network
from caffe_viz.report.context import ReportContext
from caffe_viz.server.handlers.resources import Resources
from caffe_viz.server.image_library import ImageLibrary
from caffe_viz.server.messages import Setup

fsspec: Any = pytest.importorskip("fsspec", reason="fsspec is not installed")
IMAGES = 40
SECRET = "hunter2"
TREE = (
    "10.png", "2.png", "b/x.png", "a/10.jpg", "a/9.jpg", "a/c/1.png", "a10/1.png", "a2/1.png", ".hidden/1.png",
    "b/.1.png", "a/note.md",
)  # fmt: skip


class Site(SimpleHTTPRequestHandler):
    """Files of a folder. Below /whole there are no ranges, below /own a password is asked for, below /again
    every other request fails, below /dead all, below a status that one is the answer.
    """

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked += 1
        found = re.match(r"/(whole|own|again|slow|dead|[45][0-9]{2})(/.*)", self.path)
        how, self.path = found.groups() if found else ("", self.path)
        file = Path(self.translate_path(self.path))
        if how == "dead":
            self.connection.close()
        elif how.isdecimal():
            self.send_error(int(how))
        elif how == "own" and not self.headers.get("Authorization"):
            self.send_error(401)
        elif how == "slow" and file.suffix == ".png":
            with server.slow:  # from the third on they wait until four are asked for at once
                server.inside += 1
                server.slow.notify_all()
                few = file.stem in ("0", "1")
                together = server.slow.wait_for(lambda: few or server.inside >= 6, clusters.PATIENCE)
            self._send(file.read_bytes(), True) if together else self.send_error(404)
        elif how == "again" and server.asked % 2:
            self.send_error(503)
        elif file.is_file():
            self._send(file.read_bytes(), how == "whole")
        elif self.command == "GET":
            super().do_GET()
        else:
            super().do_HEAD()

    do_HEAD = do_GET

    def _send(self, data: bytes, whole: bool) -> None:
        server: Any = self.server
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if part and not whole:
            first, last = int(part[1]), min(int(part[2]) + 1, len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(data)}")
            data = data[first:last]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            server.sent += len(data)
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy net, photos/, and a large archive of 200."""
    made = tmp_path_factory.mktemp("remote")
    clusters.write_toy(made)
    clusters.write_noise(made / "photos", IMAGES)
    (made / "photos" / "7.png").write_bytes(b"no image")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(made / "200.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(200):
            archive.writestr(f"in/{n}.png", png(rng.integers(0, 256, (64, 64, 3), np.uint8)))
    return made


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Any]:
    """The server of that folder; `at` gives an address, `sent` is how many bytes it sent."""
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(folder)))
    server.sent = server.asked = server.inside = 0
    server.slow = threading.Condition()
    server.handle_error = lambda *_: None  # a client that went away
    server.at = lambda path: f"http://127.0.0.1:{server.server_port}/{path}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait before HTTP is tried again."""
    monkeypatch.setattr("caffe_viz.images.addresses.WAITS", (0.0, 0.0))


@pytest.fixture
def memory() -> Iterator[Any]:
    found = fsspec.filesystem("memory")
    yield found
    found.store.clear()


def png(array: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(array).save(data, "png")
    return data.getvalue()


# --- what there is ------------------------------------------------------------------


def test_a_folder_has_the_order_and_names_of_one_on_disk(memory: Any, tmp_path: Path) -> None:
    for n, name in enumerate(TREE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(np.full((2, 2, 3), n, np.uint8)))
        memory.pipe(f"/tree/{name}", (tmp_path / name).read_bytes())
    local, found = ImageCollection.of(tmp_path), ImageCollection.of("memory://tree")
    assert [e.name for e in found.entries] == [
        e.name.replace(str(tmp_path), "memory://tree") for e in local.entries
    ]
    assert [e.size for e in found.entries] == [e.size for e in local.entries]
    assert [e.name for e in found.entries][:3] == [
        f"memory://tree/{n}" for n in ("2.png", "10.png", "a/9.jpg")
    ]
    assert len(ImageCollection.of("memory://tree/a/")) == 3
    for k in range(len(local)):
        np.testing.assert_array_equal(found.load(k), local.load(k))
    assert (
        found.digest
        == ImageCollection.of("memory://tree").digest
        != ImageCollection.of("memory://tree/a").digest
    )


def test_a_page_of_links_is_a_folder(folder: Path, site: Any) -> None:
    """What lies elsewhere, or above, is not in it."""
    links = (
        "./1.png",
        "sub/",
        "../photos/0.png",
        "?C=N;O=D",
        "/photos/0.png",
        "http://elsewhere.invalid/1.png",
        "..",
        "./",
    )
    for name, found in (("", links), ("sub", ("2.png", "../", "../sub/", ".."))):
        (folder / "page" / name).mkdir()
        text = "".join(f'<a href="{link}">.</a>' for link in found)
        (folder / "page" / name / "index.html").write_text(text)
    collection = ImageCollection.of(site.at("page"))
    assert [entry.name for entry in collection.entries] == [site.at("page/1.png"), site.at("page/sub/2.png")]


def test_an_archive_and_folders_in_it(memory: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for n, name in enumerate(TREE):
            archive.writestr(name, png(np.full((2, 2, 3), n, np.uint8)))
    memory.pipe("/in/a.zip", (tmp_path / "a.zip").read_bytes())
    for inside in ("", "/a", "/b/x.png"):
        local, found = (ImageCollection.of(f"{place}/a.zip{inside}") for place in (tmp_path, "memory://in"))
        assert [e.member for e in found.entries] == [e.member for e in local.entries]
        assert found.name(0) == f"memory://in/a.zip/{found.entries[0].member}"
        np.testing.assert_array_equal(found.load(0), local.load(0))
    memory.pipe("/folder.zip/1.png", png(np.zeros((2, 2, 3), np.uint8)))
    assert ImageCollection.of("memory://folder.zip").name(0) == "memory://folder.zip/1.png"


def test_of_an_archive_only_what_is_asked_for_travels(folder: Path, site: Any) -> None:
    local = ImageCollection.of(folder / "200.zip")
    site.sent = site.asked = 0
    collection = ImageCollection.of(site.at("200.zip/in"))
    for k in (3, 150):
        np.testing.assert_array_equal(collection.load(k), local.load(k))
    assert len(collection) == 200
    assert 0 < site.sent < (folder / "200.zip").stat().st_size / 20
    assert site.asked < 8
    with pytest.raises(InputError, match=r"200\.zip: the server sends whole files only: download it"):
        ImageCollection.of(site.at("whole/200.zip"))


def test_arrays_and_inputs_by_name(memory: Any, site: Any, folder: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    memory.pipe("/a.npy", array_bytes(array))
    np.testing.assert_array_equal(load_array("memory://a.npy"), array)
    np.testing.assert_array_equal(ImageCollection.of("memory://a.npy").load(0), array)
    photo = site.at("photos/0.png")
    np.testing.assert_array_equal(load_image(photo), load_image(folder / "photos" / "0.png"))
    net = Network(folder / "deploy.prototxt", folder / "net.caffemodel")
    np.testing.assert_array_equal(net.pixels(photo), net.pixels(folder / "photos" / "0.png"))
    assert net.taking([f"data={photo}"])[1] == [photo]


# --- many of them -------------------------------------------------------------------


def test_what_is_found_is_the_same_as_of_files(folder: Path, site: Any, engine: str) -> None:
    """A page of links is a folder. What is no image is passed over by its address."""
    net = Network(folder / "deploy.prototxt", folder / "net.caffemodel", engine=engine)
    here_, there = (
        cv.top_images(net, where, "conv2").top for where in (folder / "photos", site.at("photos"))
    )
    assert there.failed == (
        f"{site.at('photos/7.png')} is not an image in a known format, such as PNG, JPEG or TIFF.",
    )
    assert there.names[0] == site.at(f"photos/{Path(here_.names[0]).name}")
    for name in ("values", "images", "units", "boxes", "crops", "seen"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here_, name), err_msg=name)
    rows = [cv.features(net, where, ["fc"]).arrays["fc"] for where in (folder / "photos", site.at("photos/"))]
    np.testing.assert_array_equal(*rows)


def test_the_next_ones_are_asked_for_at_once(folder: Path, site: Any) -> None:
    """In order; an image picked here and there is read alone."""
    local, collection = ImageCollection.of(folder / "photos"), ImageCollection.of(site.at("slow/photos/"))
    site.asked = site.inside = 0
    for k in (0, 1, 2, 3, 4, 5, 6, 8, 9, 10):
        np.testing.assert_array_equal(collection.load(k), local.load(k))
    assert site.asked <= 10 + 1 + AHEAD
    del collection
    picked = ImageCollection.of(site.at("photos"))
    site.asked = 0
    for k in (0, 10, 20, 39, 2):
        picked.load(k)
    assert site.asked == 5


def test_another_process_opens_its_own(folder: Path, site: Any) -> None:
    collection = ImageCollection.of(site.at("photos/0.png"), site.at("200.zip/in/5.png"))
    program = "import pickle, sys; a = pickle.load(sys.stdin.buffer); print([float(a.load(k).sum()) for k in (0, 1)])"
    data = pickle.dumps(collection)
    assert len(data) < 2000  # addresses only
    ran = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, timeout=120)
    assert ran.stdout.decode().strip() == str([float(collection.load(k).sum()) for k in (0, 1)]), ran.stderr


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ("photos/gone.png", InputError, "there is no such file or folder"),
        ("403/0.png", InputError, r"it may not be read \(403\)"),
        ("401/0.png", RunError, "cannot be reached: 401 Unauthorized"),
        ("503/0.png", RunError, "cannot be reached: 503 Service Unavailable"),
        ("dead/0.png", RunError, "cannot be reached: Server disconnected"),
    ],
)
def test_what_is_about_one_image_and_what_ends_the_run(
    folder: Path, site: Any, wrong: str, error: type[Exception], said: str
) -> None:
    """All were there when they were listed."""
    entries = [ImageCollection.of(site.at("photos/0.png")).entries[0]] * 3
    address = site.at(wrong)
    gone = entries[0]._replace(name=address, file=type(entries[0].file)(address))
    collection = ImageCollection((entries[0], gone, entries[2]))
    net = Network(folder / "deploy.prototxt", folder / "net.caffemodel")
    with pytest.raises(error, match=f"{address}:? {said}"):
        ImageCollection.of(address)
    if error is RunError:
        with pytest.raises(RunError, match=f"{address} {said}"):
            cv.top_images(net, collection, "conv2")
    else:
        (failed,) = cv.top_images(net, collection, "conv2").top.failed
        assert re.fullmatch(f"{address}: {said}.", failed)


@pytest.mark.parametrize(
    ("code", "error"), [("AccessDenied", InputError), ("403", InputError), ("ExpiredToken", RunError)]
)
def test_a_refusal_of_one_object_is_not_one_of_who_asks(code: str, error: type[Exception]) -> None:
    """As s3fs says them: by the exception of botocore that they are raised from."""

    class Refusing(fsspec.AbstractFileSystem):
        protocol = "refusing"

        def info(self, path: str, **_: Any) -> Any:
            cause = Exception(code)
            cause.response = {"Error": {"Code": code}}
            raise PermissionError(code) from cause

    fsspec.register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(error, match=r"^refusing://bucket/a\.png"):
        ImageCollection.of("refusing://bucket/a.png")


def test_http_is_tried_again(site: Any) -> None:
    for _ in range(2):
        assert load_image(site.at("again/photos/0.png")).shape == (12, 12, 3)


def test_an_archive_that_is_gone_ends_the_run(folder: Path, site: Any) -> None:
    """Not one image after the other is passed over."""
    with zipfile.ZipFile(folder / "gone.zip", "w") as archive:
        archive.writestr("1.png", b"no image")
        archive.writestr("2.png", png(np.zeros((2, 2, 3), np.uint8)))
    collection = ImageCollection.of(site.at("gone.zip"))
    for one in (collection, pickle.loads(pickle.dumps(collection))):
        with pytest.raises(InputError, match=r"gone\.zip/1\.png is not an image"):
            one.load(0)
    (folder / "gone.zip").unlink()
    for one in (collection, pickle.loads(pickle.dumps(collection))):
        with pytest.raises(RunError, match=r"gone\.zip: there is no such file"):
            one.load(1)


def test_one_that_has_grown_is_said(memory: Any) -> None:
    memory.pipe("/a.png", png(np.zeros((2, 2, 3), np.uint8)))
    collection = ImageCollection.of("memory://a.png")
    memory.pipe("/a.png", png(np.ones((9, 9, 3), np.uint8)) + bytes(9))
    with pytest.raises(InputError, match=r"memory://a\.png has changed since it was listed"):
        collection.load(0)


# --- what cannot be -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memory://nothing/here", "memory://nothing/here: there is no such file or folder."),
        (
            "memory://list.txt",
            "memory://list.txt: a list of images is read from disk only: download it first.",
        ),
        ("memory://film.mp4#3", "memory://film.mp4#3: a video is read from disk only: download it first."),
        ("memori://a.png", "memori://a.png: fsspec knows no addresses memori://. Did you mean 'memory'"),
    ],
)
def test_what_is_no_image_is_said_in_a_line(address: str, said: str) -> None:
    assert said in refused("classify", "caffenet_cifar10", "--image", address)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(RunError, match=r"^gs:// needs a library: pip install gcsfs\.$"):
        ImageCollection.of("gs://bucket/a.png")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(RunError, match=r"^s3:// needs libraries: pip install 'caffe-viz\[remote\]' s3fs\.$"):
        ImageCollection.of("s3://bucket/a.png")


def test_files_here_need_neither_fsspec_nor_dask(folder: Path) -> None:
    program = (
        "import sys, caffe_viz.cli.app, caffe_viz.views, caffe_viz.tasks.cluster, caffe_viz.tasks.addresses;"
        "from caffe_viz.images import ImageCollection;"
        f"ImageCollection.of({str(folder / 'photos')!r}).load(0);"
        "print({'fsspec', 'dask', 'distributed'} & {*sys.modules})"
    )
    assert subprocess.check_output([sys.executable, "-c", program], timeout=120).strip() == b"set()"


def test_passwords_are_not_said(site: Any) -> None:
    address = f"{site.at('own/photos/0.png').replace('//', f'//me:{SECRET}@')}?sign={SECRET}"
    with pytest.raises(RunError, match="401"):
        load_image(site.at("own/photos/0.png"))
    collection = ImageCollection.of(address)
    assert collection.load(0).shape == (12, 12, 3)
    said = collection.name(0)
    assert said == site.at("own/photos/0.png") == shown(address)
    assert collection.digest != ImageCollection.of(address + "1").digest  # perhaps another image
    with pytest.raises(InputError) as refusal:
        load_image(address.replace("0.png", "b.png"))
    with pytest.raises(RunError) as failure:
        load_image(address.replace("own", "503"))
    words = list(as_option("image", [f"data={address}", "sftp://me:hunter2@host/a.png"]))
    texts = [str(refusal.value), str(failure.value), repr(collection), *words]
    assert not [text for text in texts if SECRET in text]
    assert words == ["--image", f"data={said}", "--image", "sftp://me@host/a.png"]


# --- where they are given -----------------------------------------------------------


def test_no_command_makes_paths_of_them() -> None:
    """Path("s3://a") is s3:/a."""
    commands: Any = typer.main.get_command(app)
    hints = [get_type_hints(task.callback) for task in commands.commands.values()]
    taken = [one[name] for one in hints for name in ("image", "photos") if name in one]
    assert len(taken) > 15
    assert not [kind for kind in taken if "Path" in str(kind)]


def test_commands_read_them(folder: Path, site: Any) -> None:
    net = folder / "deploy.prototxt", folder / "net.caffemodel"
    assert site.at("photos/1.png") in here("classify", *net, "--image", site.at("photos/1.png"))
    subject = ReportContext.of(Network(*net), [site.at("photos/1.png")], site.at("photos"))
    assert subject.images[0].name == "1.png"
    assert subject.photos is not None
    assert len(subject.photos) == IMAGES


def test_the_strip_of_the_live_view(folder: Path, site: Any) -> None:
    library = ImageLibrary(ImageCollection.of(site.at("photos/1.png"), site.at("200.zip/in/5.png")))
    assert [one.name for one in library.strip] == ["1.png", "5.png"]
    assert library.source(library.strip[0].id).data == (folder / "photos" / "1.png").read_bytes()
    assert library.source(library.strip[1].id).data[1:4] == b"PNG"
    upload = library.add(site.at("photos/2.png"), b"no image")
    site.asked = 0
    with pytest.raises(InputError, match=r"2\.png is not an image"):
        load_image(site.at("photos/2.png"), library.source(upload.id).data)
    assert not site.asked
    assert len(Resources(Setup((), (site.at("photos"),))).photos) == IMAGES


def test_files_name_no_addresses(folder: Path, site: Any, tmp_path: Path) -> None:
    """What a stranger wrote, a list of a prototxt's or a preprocess.toml, has nothing fetched."""
    (tmp_path / "list.txt").write_text(f"{site.at('photos/0.png')} 0\n")
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "data" type: "ImageData" top: "data" top: "label"'
        f' image_data_param {{ source: "{tmp_path}/list.txt" batch_size: 1 }} }}'
    )
    (tmp_path / "preprocess.toml").write_text(f'mean = "{site.at("photos/0.png")}"\n')
    site.asked = 0
    with pytest.raises(InputError, match="there is no such file"):
        Preprocess.from_toml(tmp_path / "preprocess.toml")
    with pytest.raises(InputError, match="there is no image"):
        ImageCollection.of(tmp_path / "list.txt")
    layer = read_net(tmp_path / "net.prototxt").layer[0]
    with pytest.raises(InputError, match="there is no such file"):
        WITH_FILES["ImageData"].function(layer, [])
    assert not site.asked
