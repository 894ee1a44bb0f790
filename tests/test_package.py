"""What says something of the whole package, and must say the same: its version, its Pythons, its files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import caffe_viz

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
VERSION = caffe_viz.__version__


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads(text("pyproject.toml"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def yaml(name: str) -> Any:
    return pytest.importorskip("yaml").safe_load(text(name))


def test_the_version_is_written_once(project: dict[str, Any]) -> None:
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "caffe_viz/__init__.py"


def test_the_citation_and_the_site_say_this_version() -> None:
    assert str(yaml("CITATION.cff")["version"]) == VERSION
    assert "release = caffe_viz.__version__" in text("docs/conf.py")


def test_the_changelog_is_in_the_form_that_others_read() -> None:
    """Keep a Changelog's: what is not released on top, then each version with its date, the newest first."""
    heads = re.findall(r"^## (.*)$", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\](?: - (\d{4}-\d\d-\d\d))?", head) for head in heads[1:]]
    assert all(released), heads
    assert next(found[1] for found in released if found) == VERSION
    dates = [found[2] for found in released if found and found[2]]  # nobody noted that of 0.1.0
    assert dates == sorted(dates, reverse=True)
    assert dates[0] == str(yaml("CITATION.cff")["date-released"])
    kinds = set(re.findall(r"^### (.*)$", text("CHANGELOG.md"), flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout: tags are its own")
@pytest.mark.parametrize(
    ("tag", "right"), [(f"v{VERSION}", True), (VERSION, False), ("v0.1.0", False), (f"v{VERSION}.1", False)]
)
def test_a_tag_that_is_not_this_version_is_refused(tag: str, right: bool) -> None:
    found = subprocess.run(["bash", ROOT / ".ci" / "tag", tag], capture_output=True, text=True, check=False)
    assert (found.returncode == 0) is right, found.stderr
    if not right:
        assert f"{tag} is not v{VERSION}" in found.stderr


def test_every_python_that_is_promised_is_named_once(project: dict[str, Any]) -> None:
    """By the classifiers, of which nox takes them; the oldest and the newest are those of the workflow."""
    said = re.findall(r":: (3\.\d+)$", "\n".join(project["project"]["classifiers"]), flags=re.MULTILINE)
    assert f">={said[0]}" == project["project"]["requires-python"]
    assert said == [f"3.{minor}" for minor in range(10, int(said[-1][2:]) + 1)]
    if (ROOT / ".github").exists():
        jobs = yaml(".github/workflows/tests.yml")["jobs"]
        assert jobs["embedded-engine"]["strategy"]["matrix"]["python"] == [said[0], said[-1]]
        assert f"lowest-{said[0]}" in str(jobs["lowest"]["steps"])


def test_every_job_of_the_workflow_ends_by_itself() -> None:
    if not (ROOT / ".github").exists():
        pytest.skip("no .github/ here")
    jobs = yaml(".github/workflows/tests.yml")["jobs"]
    assert {name for name, job in jobs.items() if "timeout-minutes" not in job} == set()
    assert jobs["tag"]["if"] == "github.ref_type == 'tag'"
