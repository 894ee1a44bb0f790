"""Python programs as forks of a process that has imported what they import: torch alone takes two seconds.

`Popen` and `run` are those of `subprocess`: a process of its own, with its arguments, environment, folder, pipes,
signals and exit code. The server is that of `multiprocessing`; workers of dask come from it too. What depends on
how an interpreter starts, on what it has imported or on its memory is a matter for `subprocess`.
"""

from __future__ import annotations

import atexit
import inspect
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import types
from contextlib import suppress
from multiprocessing import forkserver, reduction, spawn
from typing import Any, NoReturn

from caffe_viz.processes import ONE_THREAD

PRELOADED = [
    "fork_server", "pytest", "torch", "scipy.ndimage", "skimage.transform", "skimage.io", "matplotlib.figure", "matplotlib.backends.backend_agg",
    "caffe_viz.cli", "caffe_viz.ascent.worker", "caffe_viz.server.worker", "caffe_viz.tasks.cluster_worker", "caffe_viz.engine.pycaffe", "caffe_viz.engine.evaluator",
    "distributed", "distributed.nanny", "distributed.http.worker",
]  # fmt: skip
CONTEXT = multiprocessing.get_context("forkserver")
_FORKS: list[tuple[list[str], Any]] = []
PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL


class Popen(subprocess.Popen[Any]):
    """A fork where it is [sys.executable, "-c" or "-m" or a script, ..], else what it is in `subprocess`.

    Workers that the program starts are forks too, but those of one in a session of its own: `forks` asks for them.
    """

    _fork: Any = None

    def __init__(self, *given: Any, forks: bool = False, **options: Any) -> None:
        self._forks = forks or not options.get("start_new_session")
        super().__init__(*given, **options)

    def _execute_child(self, *given: Any) -> None:
        start = super()._execute_child
        told = inspect.signature(start).bind(*given).arguments
        words = [os.fsdecode(word) for word in told["args"]]
        option = words[1:2] and words[1].startswith("-")
        if words[0] != sys.executable or (option and words[1] not in ("-c", "-m")) or told["preexec_fn"]:
            start(*given)
            return
        ends = [told[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        streams = [n if end == -1 else end for n, end in enumerate((ends[0], ends[3], ends[5]))]
        env = dict(os.environ if told["env"] is None else told["env"])
        cwd = os.path.abspath(told["cwd"] or ".")
        process = CONTEXT.Process(
            target=_program, daemon=True,
            args=(words, cwd, env, told["start_new_session"], self._forks, [_Stream(n) for n in streams]),
        )  # fmt: skip
        try:
            process.start()
            while (
                told["start_new_session"]
                and process.exitcode is None
                and os.getsid(process.pid or 0) != process.pid
            ):
                time.sleep(0.001)
        finally:
            self._close_pipe_fds(*ends)
        self._fork, self.pid, self._child_created = process, process.pid or 0, True
        _FORKS.append((words, process))

    def _internal_poll(self, *given: Any, **more: Any) -> int | None:
        if self._fork is None:
            return super()._internal_poll(*given, **more)
        if self.returncode is None:
            self.returncode = self._fork.exitcode
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if self._fork is None:
            return super()._try_wait(flags)
        code = self._fork._popen.poll(flags)
        return (0, 0) if code is None else (self.pid, -code if code < 0 else code << 8)


def living(word: str) -> list[int]:
    """Numbers of the forks that this process began and that live, of those with `word` in an argument."""
    _FORKS[:] = [one for one in _FORKS if one[1].is_alive()]
    return [process.pid for words, process in _FORKS if any(word in one for one in words)]


def for_dask() -> None:
    """Its workers are forks too, as far as `subprocess` starts no other process."""
    with suppress(ImportError):
        import dask

        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})


def run(words: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`."""
    given, timeout, check = (
        options.pop("input", None),
        options.pop("timeout", None),
        options.pop("check", False),
    )
    if given is not None:
        options["stdin"] = PIPE
    if options.pop("capture_output", False):
        options |= {"stdout": PIPE, "stderr": PIPE}
    with Popen([*map(str, words)], **options) as process:
        try:
            out, said = process.communicate(given, timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(words, process.returncode, out, said)
    if check:
        done.check_returncode()
    return done


class _Stream:
    """A file descriptor as an argument of a process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return reduction.DupFd(self.number).detach, ()


def _program(
    words: list[str], cwd: str, env: dict[str, str], alone: bool, forks: bool, streams: list[int]
) -> None:
    """What an interpreter does with these words."""
    if alone:
        os.setsid()
    multiprocessing.current_process()._config["daemon"] = False
    for n, stream in enumerate(streams):
        os.dup2(stream, n)
    for stream in streams:
        os.close(stream)
    # They stay open as long as the process.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    paths = env.get("PYTHONPATH", "").split(os.pathsep) if env.get("PYTHONPATH") else []
    sys.path[:] = [*paths, *_PATH]
    from caffe_viz import processes

    if forks:
        processes.subprocess = sys.modules[__name__]
    try:
        _execute(words[1:])
    except SystemExit:
        raise
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            _die_of(signal.SIGINT)
        sys.exit(1)
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()


def _execute(words: list[str]) -> None:
    kind, *rest = words
    if kind == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if kind == "-c":
        sys.argv, code = ["-c", *rest[1:]], compile(rest[0], "<string>", "exec")
        sys.path.insert(0, "")
    else:
        main.__file__ = path = os.path.abspath(kind)
        with open(path, "rb") as file:
            sys.argv, code = words, compile(file.read(), path, "exec")
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    exec(code, vars(main))


def _die_of(number: int) -> NoReturn:
    sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError


# --- The server has the environment of its start; each fork gets that of who asks for it. ---

_HERE = os.path.dirname(os.path.abspath(__file__))
_PATH = [path for path in sys.path if path not in ("", _HERE)]
_SERVER: Any = forkserver._forkserver
_tell, _prepare, _run_server = spawn.get_preparation_data, spawn.prepare, _SERVER.ensure_running


def _told(name: str) -> dict[str, Any]:
    return {**_tell(name), "environ": dict(os.environ)}


def _prepared(data: dict[str, Any]) -> None:
    _SERVER.ensure_running = lambda: None  # it runs: it is the parent
    os.environ.clear()
    os.environ.update(data.pop("environ"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _prepare(data)


def _ensure_running() -> None:
    before, known = dict(os.environ), _SERVER._forkserver_pid
    os.environ.update(ONE_THREAD, PYTHONPATH=os.pathsep.join([_HERE, *_PATH]))
    try:
        CONTEXT.set_forkserver_preload(PRELOADED)
        _run_server()
    finally:
        os.environ.clear()
        os.environ.update(before)
    if known is None:
        atexit.register(_stop, _SERVER._forkserver_pid)


def _stop(server: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):  # it has ended, and was waited for
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)  # what it took counts as this process's


spawn.get_preparation_data, spawn.prepare, _SERVER.ensure_running = _told, _prepared, _ensure_running
