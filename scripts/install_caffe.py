#!/usr/bin/env python3
"""Install real Caffe into the Python environment that runs this script.

    python scripts/install_caffe.py              build once, install, verify
    python scripts/install_caffe.py --selftest   also run Caffe's own Python tests

It builds brocolli-caffe 9.0.2 from PyPI, pinned by its SHA-256: a fork of BVLC Caffe 1.0
with the layers of SSD (docs/faq.md lists the differences). The ``setup.py`` of that
package insists on conda and old Pythons, but its CMake project does not. So this script
runs CMake and packs the result into a wheel. The wheel stays in the user's cache folder:
a second environment of the same kind installs in seconds. Python files of Caffe that no
longer run are replaced (caffe_viz/caffe_files.py); the originals are in caffe/original.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from logged import InstallError, drain, run, say

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from caffe_viz import caffe_files

SDIST = "brocolli-caffe"
VERSION = "9.0.2"
SHA256 = "c6410cc60bdd6db685d441b66be7df05410f8850ac88d6b75d48ef9b2315c08a"

SYSTEM_PACKAGES = [
    "cmake",
    "g++",
    "make",
    "libboost-system-dev",
    "libboost-thread-dev",
    "libboost-filesystem-dev",
    "libboost-regex-dev",
    "libboost-python-dev",
    "libprotobuf-dev",
    "protobuf-compiler",
    "libhdf5-dev",
    "libopenblas-dev",
    "libgoogle-glog-dev",
    "libgflags-dev",
    "libgtest-dev",
]

# Caffe's Python files import these; the wheel names them as its requirements.
PYTHON_PACKAGES = ("numpy", "protobuf>=4.21", "scikit-image", "six")

# A unity build halves the work. The third-party files define macros (INF, verbose)
# that break their neighbours, so they are compiled one by one.
UNITY = """\
function(_leave_third_party_alone)
  file(GLOB third_party ${CMAKE_SOURCE_DIR}/src/caffe/3rdparty/*.cpp)
  set_source_files_properties(${third_party} TARGET_DIRECTORY pycaffe
                              PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
cmake_language(DEFER CALL _leave_third_party_alone)
"""

CMAKE_ARGUMENTS = (
    "-DANACONDA_HOME=/usr",
    f"-DPYTHON_VERSION=python{sys.version_info.major}.{sys.version_info.minor}",
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_UNITY_BUILD=ON",
    "-DCMAKE_UNITY_BUILD_BATCH_SIZE=12",
)

VERIFY = """
import os, tempfile
os.environ["GLOG_minloglevel"] = "2"
import caffe, numpy as np
net_text = '''
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 1 kernel_size: 3 } }
force_backward: true
'''
with tempfile.NamedTemporaryFile("w", suffix=".prototxt", delete=False) as f:
    f.write(net_text)
net = caffe.Net(f.name, caffe.TEST)
os.unlink(f.name)
net.params["conv"][0].data[...] = np.arange(9).reshape(1, 1, 3, 3)
net.blobs["data"].data[...] = 1
assert (net.forward()["conv"] == 36).all(), "forward gives wrong numbers"
net.blobs["conv"].diff[...] = 1
assert net.backward(diffs=["data"])["data"].sum() == 4 * 36, "backward gives wrong numbers"
print(len(caffe.layer_type_list()), "layer types")
"""


# Python 3.12 dropped two old names that Caffe's tests use.
RUN_TESTS = """
import sys, unittest
unittest.TestCase.assertEquals = unittest.TestCase.assertEqual
unittest.TestCase.assertRaisesRegexp = unittest.TestCase.assertRaisesRegex
unittest.main(module=None, argv=["unittest", "discover", "-s", sys.argv[1]])
"""

# Of Caffe's own Python tests, those that cannot pass in this source, and why.
EXPECTED_FAILURES = {
    "test_apply_update": "pycaffe of this source has no Solver.apply_update",
}


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "caffe_viz" / "caffe"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One build at a time in `folder`; what an interrupted one left there is removed."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build in {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob("build-*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        yield


# --- system packages ---------------------------------------------------------------


def missing_packages() -> list[str]:
    if shutil.which("dpkg-query") is None:
        raise InstallError(
            "This is no Debian or Ubuntu (no dpkg-query). Install the packages' equivalents by hand "
            f"({' '.join(SYSTEM_PACKAGES)}) or see environment.yml for conda."
        )
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *SYSTEM_PACKAGES],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    installed = {line.split()[0] for line in found.splitlines() if line.endswith(" installed")}
    return [p for p in SYSTEM_PACKAGES if p not in installed]


def install_system_packages(log: Path) -> None:
    missing = missing_packages()
    if not missing:
        return
    line = "apt-get install -y --no-install-recommends " + " ".join(missing)
    if os.geteuid() != 0:
        raise InstallError(f"Missing system packages. Run this, then try again:\n    sudo {line}")
    say(f"installing {len(missing)} system packages: {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    drain(run(["apt-get", "update"], log, env))
    drain(run(line.split(), log, env))


def boost_python() -> Path:
    """Debian's Boost.Python library for this Python: it serves the system's own version only."""
    name = f"libboost_python{sys.version_info.major}{sys.version_info.minor}.so"
    folders = [*Path("/usr/lib").glob("*-linux-gnu*"), Path("/usr/lib64"), Path("/usr/lib")]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    served = sorted(p.name for f in folders for p in f.glob("libboost_python3*.so"))
    raise InstallError(
        f"Boost.Python for Python {sys.version_info.major}.{sys.version_info.minor} ({name}) is not there; "
        f"the system has {', '.join(served) or 'none'}. Make the environment with the system's own "
        "Python: `rm -rf .venv && make caffe PYTHON=/usr/bin/python3`."
    )


# --- source and build --------------------------------------------------------------


def download_command(folder: Path) -> list[str | Path]:
    """pip asks an sdist's own code for its metadata; given a hash, it compares that first."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{SDIST}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", SDIST]
    return [*pip, "-r", wanted, "-d", folder]


def fetch_sdist(
    folder: Path, log: Path, download: Callable[[Path], Sequence[str | Path]] = download_command
) -> Path:
    kept = folder / f"{SDIST}-{VERSION}.tar.gz"
    if not kept.exists() or sha256(kept) != SHA256:
        say(f"fetching {SDIST} {VERSION}")
        with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as tmp:
            drain(run(download(Path(tmp)), log))
            (got,) = Path(tmp).glob("*.tar.gz")
            if sha256(got) != SHA256:
                raise InstallError(f"{got.name} has SHA-256 {sha256(got)}, expected {SHA256}: not used.")
            os.replace(got, kept)
    return kept


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def extract(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python 3.10 before its security backport; the archive is pinned by its hash
            tar.extractall(folder)
    return folder / f"{SDIST}-{VERSION}"


def build_environment(links: Path) -> dict[str, str]:
    """Where the compiler looks: NumPy, Python and HDF5, and Boost.Python under its plain name."""
    import numpy as np

    links.mkdir()
    (links / "libboost_python.so").symlink_to(boost_python())
    hdf5 = [str(p) for p in Path("/usr/lib").glob("*/hdf5/serial")]
    headers = [np.get_include(), sysconfig.get_paths()["include"], "/usr/include/hdf5/serial"]
    return {
        **os.environ,
        "CPATH": os.pathsep.join(headers),
        "LIBRARY_PATH": os.pathsep.join([str(links), *hdf5]),
    }


def compile_caffe(source: Path, log: Path) -> None:
    env = build_environment(source / "links")
    unity = source / "unity.cmake"
    unity.write_text(UNITY, encoding="utf-8")
    build = source / "build"
    say("configuring")
    drain(
        run(
            ["cmake", "-S", source, "-B", build, f"-DCMAKE_PROJECT_INCLUDE={unity}", *CMAKE_ARGUMENTS],
            log,
            env,
        )
    )
    jobs = str(os.cpu_count() or 1)
    shown = -10
    for line in run(["cmake", "--build", build, "--target", "pycaffe", "-j", jobs], log, env):
        percent = re.match(r"\[ *(\d+)%\]", line)
        if percent and int(percent[1]) >= shown + 10:
            shown = int(percent[1])
            say(f"compiling {shown:3d} %  (about two minutes in all on two cores)")


# --- wheel -------------------------------------------------------------------------


def wheel_name() -> str:
    """One name per Python, NumPy ABI, machine, sdist and recipe; the hash is the wheel's build number."""
    import numpy as np

    recipe = repr((SHA256, UNITY, CMAKE_ARGUMENTS, PYTHON_PACKAGES, np.__version__.split(".")[0], system()))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"caffe-1.0.0-1_{digest}-{python}-{python}-{tag}.whl"


def system() -> str:
    """The release whose libraries the build links against: "debian 12 glibc 2.36"."""
    release = Path("/etc/os-release")
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    fields = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', text, re.M))
    return " ".join((fields.get("ID", ""), fields.get("VERSION_ID", ""), *platform.libc_ver()))


def record_of(wheel: Path) -> Path:
    """Where the SHA-256 of the wheel is kept, beside it."""
    return wheel.with_name(wheel.name + ".sha256")


def intact(wheel: Path) -> bool:
    """Whether `wheel` is there and is what was packed; another one is removed."""
    if not wheel.exists():
        return False
    record = record_of(wheel)
    if record.exists() and record.read_text() == sha256(wheel):
        return True
    say(f"{wheel} is damaged and was removed")
    wheel.unlink()
    return False


def wheel_files(source: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted((source / "python" / "caffe").rglob("*")):
        if path.suffix in (".py", ".npy", ".so") and path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(source / "python").as_posix(), path.read_bytes()
    info = "caffe-1.0.0.dist-info"
    needs = "".join(f"Requires-Dist: {p}\n" for p in PYTHON_PACKAGES)
    yield (
        f"{info}/METADATA",
        (
            f"Metadata-Version: 2.1\nName: caffe\nVersion: 1.0.0\n"
            f"Summary: BVLC Caffe, built from {SDIST} {VERSION}\nLicense: BSD-2-Clause\n{needs}"
        ).encode(),
    )
    tag = "-".join(wheel_name()[: -len(".whl")].split("-")[-3:])
    yield (
        f"{info}/WHEEL",
        f"Wheel-Version: 1.0\nGenerator: caffe_viz\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    )
    yield f"{info}/licenses/LICENSE", (source / "LICENSE").read_bytes()


def repaired_name() -> str:
    """The name of the wheel in which Caffe's Python files that no longer run are replaced."""
    files = [(name, text) for name, _, text in caffe_files.sources()]
    digest = hashlib.sha256(repr((wheel_name(), files, caffe_files.ADDED)).encode()).hexdigest()[:12]
    return re.sub(r"-1_\w+-", f"-2_{digest}-", wheel_name(), count=1)


def repaired_files(built: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a compiled wheel, with those of `caffe_files`; what they replace is in original/."""
    new = {}
    for module, _, text in caffe_files.sources():
        path = f"{module}.__init__" if module == caffe_files.PRIVATE else module
        new[path.replace(".", "/") + ".py"] = text.encode()
    with zipfile.ZipFile(built) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if name in new:
                yield name.replace("caffe/", "caffe/original/", 1), data
            elif not name.endswith("/RECORD"):
                yield name, data + caffe_files.ADDED.get(name, "").encode()
    yield "caffe/original/__init__.py", b'"""The files of this package that caffe_viz has replaced."""\n'
    yield from new.items()


def pack(files: Iterable[tuple[str, bytes]], wheel: Path, folder: Path) -> None:
    """Write the wheel under a temporary name in `folder`; it gets its own only when it is whole."""
    partial = folder / f"{wheel.name}.part"
    record = []
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}")
        name = "caffe-1.0.0.dist-info/RECORD"
        archive.writestr(name, "\n".join([*record, f"{name},,", ""]))
    record_of(wheel).write_text(sha256(partial))  # first, so that no wheel is ever without its record
    os.replace(partial, wheel)


def build_wheel(folder: Path, wheel: Path) -> None:
    log = folder / "build.log"
    log.write_text("", encoding="utf-8")
    install_system_packages(log)
    boost_python()
    sdist = fetch_sdist(folder, log)
    with tempfile.TemporaryDirectory(dir=folder, prefix="build-", ignore_cleanup_errors=True) as tmp:
        source = extract(sdist, Path(tmp))
        compile_caffe(source, log)
        pack(wheel_files(source), wheel, source)
    say(f"built {wheel}")


# --- installation ------------------------------------------------------------------


def works() -> str | None:
    """What the installed Caffe says of itself, or None where it is missing or broken."""
    done = subprocess.run([sys.executable, "-c", VERIFY], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def need_pip() -> None:
    """Environments of other tools than venv may have none."""
    if importlib.util.find_spec("pip") is not None:
        return
    done = subprocess.run([sys.executable, "-m", "ensurepip"], capture_output=True, check=False)
    if done.returncode:
        raise InstallError(
            f"{sys.executable} has no pip. Install it (`uv pip install pip`, or apt-get install "
            "python3-venv and a new environment), then try again."
        )


def install_requirements(log: Path) -> None:
    constraints = Path(__file__).parent.parent / "constraints.txt"
    pinned = ["-c", str(constraints)] if constraints.exists() else []
    drain(run([sys.executable, "-m", "pip", "install", "--quiet", *pinned, *PYTHON_PACKAGES], log))


def install(wheel: Path, log: Path) -> None:
    install_requirements(log)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    drain(run([*pip, "--no-deps", "--force-reinstall", wheel], log))


def install_repaired(built: Path, log: Path) -> None:
    """Install a compiled wheel, repaired: a second or two, whatever changed in the files that it gets."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / repaired_name()
        pack(repaired_files(built), wheel, Path(folder))
        install(wheel, log)


def stamp() -> Path:
    """Names the wheel that this environment got, so that a second run has nothing to do."""
    return Path(sysconfig.get_paths()["platlib"]) / "caffe" / "installed-from.txt"


def selftest() -> None:
    """Run Caffe's own Python tests; only those of EXPECTED_FAILURES may fail, and they must."""
    spec = importlib.util.find_spec("caffe")
    assert spec is not None
    assert spec.origin is not None
    say("running Caffe's own Python tests")
    done = subprocess.run(
        [sys.executable, "-c", RUN_TESTS, str(Path(spec.origin).parent / "test")],
        env={**os.environ, "GLOG_minloglevel": "2"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    say(verdict(done.stderr))


def verdict(output: str) -> str:
    """What unittest's `output` says, in one line.

    Raises:
        InstallError: other tests failed than those expected.
    """
    ran = re.search(r"^Ran (\d+) tests?", output, re.M)
    skipped = re.search(r"skipped=(\d+)", output)
    failed = set(re.findall(r"^(?:ERROR|FAIL): (\w+)", output, re.M))
    if ran is None or failed != set(EXPECTED_FAILURES):
        raise InstallError(
            f"Caffe's own tests: {', '.join(sorted(failed)) or 'none'} failed, "
            f"{', '.join(EXPECTED_FAILURES)} expected.\n{output[-3000:]}"
        )
    count = int(ran[1]) - (int(skipped[1]) if skipped else 0)
    reasons = "; ".join(f"{name}: {why}" for name, why in EXPECTED_FAILURES.items())
    return f"{count - len(failed)} of Caffe's own {count} runnable tests pass, as expected ({reasons})"


def ensure_caffe(rebuild: bool) -> None:
    folder = cache_folder()
    if importlib.util.find_spec("numpy") is None:  # a bare environment; the wheel's name tells NumPy's ABI
        install_system_packages(folder / "install.log")
        need_pip()
        say("installing what Caffe's Python files import")
        install_requirements(folder / "install.log")
    built = folder / wheel_name()
    if rebuild:
        built.unlink(missing_ok=True)
    elif stamp().exists() and stamp().read_text() == repaired_name() and works():
        say("real Caffe is installed and works")
        return
    need_pip()
    with locked(folder):
        if intact(built):
            say(f"real Caffe was built before: {built}")
            install_system_packages(folder / "build.log")
        else:
            build_wheel(folder, built)
        install_repaired(built, folder / "install.log")
    result = works()
    if result is None:
        done = subprocess.run([sys.executable, "-c", VERIFY], capture_output=True, text=True, check=False)
        built.unlink(missing_ok=True)
        raise InstallError("The built Caffe does not work; its wheel was removed.\n" + done.stderr[-1500:])
    stamp().write_text(repaired_name())
    say(f"real Caffe works: {result}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--selftest", action="store_true", help="also run Caffe's own Python tests")
    parser.add_argument("--rebuild", action="store_true", help="build again even where a wheel is kept")
    options = parser.parse_args()
    # `kill` and a closed terminal end a build as Ctrl-C does, with all its compilers.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        ensure_caffe(options.rebuild)
        if options.selftest:
            selftest()
    except InstallError as error:
        print(f"install_caffe: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninstall_caffe: stopped; nothing was installed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
