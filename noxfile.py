"""The package as others get it: each Python, and the oldest and the newest of what it needs.

`uvx "nox[uv]" -l` lists the sessions, `uvx "nox[uv]" -s tests-3.14` runs one; words behind `--` go to pytest.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
# Those in touch with every library that has a lowest version, and what they need beside the package.
SOON = (
    "tests/test_check.py", "tests/test_convert.py", "tests/test_figures.py", "tests/test_geometry.py",
    "tests/test_hdf5.py", "tests/test_images.py", "tests/test_netdef.py", "tests/test_probe.py",
    "tests/test_server_web.py", "tests/test_usage.py", "tests/test_zarr.py",
)  # fmt: skip
TOOLS = ("httpx", "hypothesis", "psutil", "pytest", "pytest-timeout", "pytest-xdist")
WITHOUT = {"onnx"}  # extras that need a newer torch than the others

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "docs", "dist"]
nox.options.error_on_missing_interpreters = True


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests on the embedded engine, with the newest versions of what the package needs."""
    session.install(f"{built(session)}[app,torch,report]", *nox.project.dependency_groups(PROJECT, "dev"))
    session.install("--no-deps", "torch-lucent")
    run(session, *(session.posargs or ("-n", "auto", "--dist", "worksteal")))


@nox.session(python=PYTHONS[:2], venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Some tests, with the lowest versions that pyproject.toml allows."""
    pins = Path(session.create_tmp()).resolve() / "lowest.txt"
    extras = sorted(PROJECT["project"]["optional-dependencies"].keys() - WITHOUT)
    session.run(
        "uv", "pip", "compile", "pyproject.toml", *(f"--extra={name}" for name in extras),
        "--resolution=lowest-direct", "--only-binary=:all:", f"--python-version={session.python}",
        f"--output-file={pins}", silent=True,
    )  # fmt: skip
    session.install("--only-binary=:all:", "--requirement", str(pins), *TOOLS)
    session.install("--no-deps", str(built(session)))
    run(session, *(session.posargs or SOON))


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, ruff format, mypy."""
    session.run("make", "check", external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """The site, without a warning."""
    session.run("make", "docs", external=True)


@nox.session
def dist(session: nox.Session) -> None:
    """Wheel and sdist, checked."""
    session.run("make", "dist", external=True)


def built(session: nox.Session) -> Path:
    """The wheel of this checkout."""
    folder = Path(session.create_tmp()).resolve() / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--wheel", f"--outdir={folder}", silent=True)
    return next(folder.glob("*.whl"))


def run(session: nox.Session, *words: str) -> None:
    """pytest, in a folder that has the tests and not the package."""
    folder = Path(session.create_tmp()).resolve() / "outside"
    shutil.rmtree(folder, ignore_errors=True)
    left = shutil.ignore_patterns(
        "caffe_viz", ".git", ".nox", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "out"
    )
    shutil.copytree(".", folder, ignore=left)
    with session.chdir(folder):
        session.run("pytest", *words, env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
