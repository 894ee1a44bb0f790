"""Start a server that runs alongside the rest of the process until it is stopped."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from caffe_viz.backend import need_device
from caffe_viz.errors import InputError, RunError
from caffe_viz.geometry.python_layers import permits_of
from caffe_viz.layers_file import loaded_files
from caffe_viz.network import Network, PathLike
from caffe_viz.report.context import ReportContext
from caffe_viz.server.access import Access

if TYPE_CHECKING:
    import uvicorn

    from caffe_viz.server.dispatcher import Dispatcher

NEEDED = ("fastapi", "jinja2", "uvicorn")
PORT = 8642
PORTS = 100  # that are tried from there on
STOP_SECONDS = 10.0


class Server:
    """A running live view. It stops with `stop`, at the end of a `with` block, or with the process.

    Raises:
        RunError: The workers cannot be started.
    """

    def __init__(self, app: Any, dispatcher: Dispatcher, access: Access, listener: socket.socket) -> None:
        self._access, self._board, self._listener = access, dispatcher, listener
        self._uvicorn = _uvicorn(app)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending, self._began, self._over = asyncio.Event(), Future[None](), threading.Event()
        self._thread = threading.Thread(target=self._run, name="caffe-viz serve", daemon=True)
        self._thread.start()
        self._began.result()

    @property
    def address(self) -> str:
        """The address to open in a browser; its token grants access."""
        return self._access.address

    @property
    def host(self) -> str:
        """The host it listens on."""
        return self._access.host

    @property
    def port(self) -> int:
        return self._access.port

    @property
    def beyond(self) -> bool:
        """Whether other machines can reach it."""
        return self._access.beyond

    def wait(self) -> None:
        """Block until another thread or Ctrl-C stops the server."""
        while not self._over.wait(0.5):  # a signal just before a wait without end would not be seen
            pass

    def stop(self) -> None:
        """Stop the server and its workers at once; questions in progress fail."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(STOP_SECONDS)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        if self._over.is_set():
            return f"the live view at {self._access.origin} has ended"
        return f"the live view: open {self.address} (.stop() ends it)"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # as where no file can be opened any more
            if self._began.done():
                raise
            self._began.set_exception(error)
        finally:
            self._over.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._board.start()
        except Exception as error:
            self._listener.close()
            self._began.set_exception(error)
            return
        serving = asyncio.create_task(self._uvicorn.serve(sockets=[self._listener]))
        self._began.set_result(None)
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        await self._board.stop()  # first: then nothing under way keeps a connection
        self._uvicorn.should_exit = True
        await serving


def serve(
    net: Any,
    images: Any = (),
    *,
    photos: PathLike | None = None,
    beside: Any = None,
    record: PathLike | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    cache: PathLike | None = None,
) -> Server:
    """Start the live view of `net` in the browser; open the `address` of the result.

    Args:
        net: A net from `load_net`.
        images: Files and folders for the strip of images.
        photos: A folder or archive to search for the places that activate a unit most.
        beside: A second network, or other weights for the same layers.
        record: The record of a training.
        host: The host to listen on.
        port: Default: 8642, or the next free port.
        cache: A folder in which to keep answers. Default: memory only.

    Raises:
        InputError: A file cannot be read, Caffe would abort on the net, or the port is in use.
        RunError: No engine, or no library for servers, is installed.

    Example::

        server = cv.serve(net, ["cat.png"])
        print(server.address)
        server.stop()
    """
    return started(
        net, images, photos=photos, beside=beside, record=record, host=host, port=port, cache=cache
    )


def started(
    net: Any, images: Any = (), *, photos: PathLike | None, beside: Any, record: PathLike | None, host: str,
    port: int | None, cache: PathLike | None, command: str = "",
) -> Server:  # fmt: skip
    """Start the live view as `serve` does; `command` is the command line that asks for the same."""
    need_libraries()
    from caffe_viz.server.cache import Cache
    from caffe_viz.server.dispatcher import Dispatcher
    from caffe_viz.server.guard import Guard
    from caffe_viz.server.handlers import HANDLERS
    from caffe_viz.server.image_library import ImageLibrary
    from caffe_viz.server.messages import Setup
    from caffe_viz.server.pool import Pool
    from caffe_viz.server.view import View
    from caffe_viz.server.web import create_app

    network = Network.of(net)
    network.need_weights()
    network, collection = network.collection(images) if _some(images) else (network, None)
    contexts = (ReportContext.of(network, (), photos, record), *_beside(network, beside, photos))
    for one in contexts:
        need_device(one.network.device)
    folder = None if cache is None else Path(cache)
    permits = {word: paths for one in contexts for word, paths in permits_of(one.network.whole).items()}
    setup = Setup(
        tuple(replace(one.network) for one in contexts), () if photos is None else (photos,),
        contexts[0].record, folder or user_cache_path("caffe_viz") / "serve", loaded_files(), permits,
    )  # fmt: skip
    dispatcher = Dispatcher(Pool(setup), Cache(folder=folder), HANDLERS)
    app = create_app(View(contexts, ImageLibrary(collection), dispatcher, HANDLERS, command))
    listener = listening(host, port)
    access = Access(host, listener.getsockname()[1])
    return Server(Guard(app, access), dispatcher, access, listener)


def need_libraries() -> None:
    """Raise RunError if a library is not installed."""
    if any(find_spec(name) is None for name in NEEDED):
        raise RunError(f"the live view needs {', '.join(NEEDED)}: pip install 'caffe-viz[app]'.")


def listening(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens; without `port`, on the first free one from 8642 on.

    Raises:
        InputError: The port is in use, or the host is not this machine.
    """
    try:
        family, _, _, _, place = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise InputError(f"host {host!r} has no address: give 127.0.0.1, or one of this machine's.") from None
    tried = (port,) if port is not None else range(PORT, PORT + PORTS)
    for number in tried:
        # The protocol is named: asyncio sets TCP_NODELAY on such sockets only, and answers wait for nothing.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((place[0], number, *place[2:]))
            listener.listen()
        except OSError as error:
            listener.close()
            reason = error
        else:
            return listener
    raise _cannot_listen(host, port, reason)


def _cannot_listen(host: str, port: int | None, error: OSError) -> InputError:
    what = f"{host} port {port or f'{PORT} and those after it'}"
    if error.errno == errno.EADDRINUSE:
        return InputError(f"{what}: something listens there already; give another port.")
    return InputError(f"{what}: nothing can listen there: {error.strerror or error}.")


def _some(images: Any) -> bool:
    return not (hasattr(images, "__len__") and len(images) == 0)


def _beside(network: Network, given: Any, photos: PathLike | None) -> list[ReportContext]:
    """The second network, if there is one."""
    if given is None:
        return []
    second = replace(network, weights=given) if isinstance(given, str | Path) else Network.of(given)
    second.need_weights()
    return [ReportContext.of(second, (), photos)]


def _uvicorn(app: Any) -> uvicorn.Server:
    import uvicorn

    from caffe_viz.server.connections import Connection

    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", loop="asyncio", interface="asgi3",
        log_config=None, log_level="critical", access_log=False, proxy_headers=False, server_header=False,
        timeout_keep_alive=30, timeout_graceful_shutdown=1, h11_max_incomplete_event_size=2**16,
    )  # fmt: skip
    return uvicorn.Server(config)
