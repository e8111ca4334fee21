"""What GitHub reads says the same as the package: versions, targets, pages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import partreid

ROOT = Path(partreid.__file__).parents[2]
WORKFLOWS = {file.stem: file.read_text(encoding="utf-8") for file in (ROOT / ".github/workflows").glob("*.yml")}


def test_every_version_of_python_that_is_promised_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = [words.rpartition(" ")[2] for words in project["classifiers"] if re.search(r":: 3\.\d+$", words)]
    systems = yaml.safe_load(WORKFLOWS["tests"])["jobs"]["systems"]
    assert systems["strategy"]["matrix"]["python"] == promised
    assert project["requires-python"] == f">={promised[0]}"


def test_what_workflows_run_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    words = [word for text in WORKFLOWS.values() for line in re.findall(r"run: (.*)", text) for word in line.split()]
    targets = re.findall(r"run: make ([a-z-]+)$", "\n".join(WORKFLOWS.values()), re.MULTILINE)
    assert set(targets) == {"lint", "docs", "release"}
    assert [target for target in (*targets, "test", "test-all") if f"\n{target}:" not in makefile] == []
    assert [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()] == []


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == partreid.__version__
    assert f"## [{partreid.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert [page.name for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in named] == []
