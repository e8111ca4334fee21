"""What the README and docs/ show is there: the README's Python runs; commands, links, files and names exist.

The Python of docs/ runs in test_page_code.py.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid import BPBReID, ModelConfig, PreprocessConfig, save_checkpoint
from partreid.models.checkpoint import Checkpoint
from tests.cli.conftest import every_command

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/partreid"
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "examples/README.md",
    *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md"))),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the README's Python runs: a model of random weights, and images."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8)).save(name)
    model = BPBReID(ModelConfig(backbone="resnet18", parts="five", visibility="argmax"), num_identities=2).eval()
    save_checkpoint(Checkpoint(model, PreprocessConfig(height=64, width=32)), tmp_path / "runs/mine")
    return tmp_path


def test_python_runs(at_hand: Path, blocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partreid.datasets.synthetic.shipped.shipped_split", lambda: blocks)  # fewer images
    assert len(_blocks("python")) == 2
    for block in _blocks("python"):
        exec(block, {})


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("README.md", 5),
        ("docs/adapt.md", 6),
        ("docs/app.md", 1),
        ("docs/data.md", 5),
        ("docs/dossier.md", 3),
        ("docs/embed.md", 2),
        ("docs/figures.md", 3),
        ("docs/evaluate.md", 4),
        ("docs/labels.md", 3),
        ("docs/reproduce.md", 6),
        ("docs/start.md", 5),
        ("docs/options.md", 3),
        ("docs/reassociation.md", 3),
        ("docs/models.md", 3),
        ("docs/gallery.md", 8),
        ("docs/link.md", 9),
        ("docs/export.md", 3),
        ("docs/extending.md", 4),
        ("docs/scale.md", 1),
        ("docs/tracking.md", 1),
        ("docs/tracklets.md", 1),
        ("docs/training.md", 3),
    ],
)
def test_commands_exist_with_these_options(page: str, least: int) -> None:
    blocks = _blocks("console", (ROOT / page).read_text(encoding="utf-8"))
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    ours = [line.split()[1:] for line in lines if line.startswith("partreid ")]
    assert len(ours) >= least
    commands = every_command()
    for words in ours:
        found = next(commands[name] for name in (" ".join(words[:2]), words[0]) if name in commands)
        options = {o for parameter in found.params for o in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            if word.startswith("-"):
                assert word in options, f"{found.name} has no {word}"


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", "\n".join(_blocks("console")), re.MULTILINE):
        assert f"\n{target}:" in makefile


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        linked = path.parent / target if target else path
        assert linked.exists(), f"{page} links to {target}, which does not exist"
        if anchor:
            assert anchor in _anchors(linked), f"{page} links to {target}#{anchor}: there is no such heading"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_source_files_named_exist(page: str) -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", (ROOT / page).read_text(encoding="utf-8")))
    ours = [
        file.relative_to(ROOT).as_posix()
        for top in ("src", "tests", "benchmarks", "docs")
        for file in ROOT.glob(f"{top}/**/*.py")
    ]
    assert {name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in ours)} == set()


@pytest.mark.parametrize(("page", "least"), [("docs/architecture.md", 45), ("docs/paper_map.md", 20)])
def test_names_stand_in_the_modules_they_are_said_to_stand_in(page: str, least: int) -> None:
    """As in "`losses/gilt.py`: `gilt_terms`"; of "`Trainer.fit`" both words."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = [
        (module, name)
        for module, names in re.findall(r"`([\w/]+\.py)`: (`[A-Za-z_.]+`(?:, `[A-Za-z_.]+`)*)", text)
        for name in re.findall(r"`([A-Za-z_.]+)`", names)
    ]
    assert len(named) >= least
    for module, name in named:
        source = (PACKAGE / module).read_text(encoding="utf-8")
        assert all(re.search(rf"\b{word}\b", source) for word in name.split(".")), f"{module} has no {name}"


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda file: file.stem)
def test_what_a_benchmark_imports_exists(file: Path) -> None:
    """Benchmarks take minutes, so that nobody notices for long that one has lost what it measures."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("partreid"):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
