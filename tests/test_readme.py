"""What the README shows runs: its Python, its commands' names and options, its links."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid import BPBReID, ModelConfig, PreprocessConfig, save_checkpoint
from partreid.models.checkpoint import Checkpoint
from tests.cli.conftest import every_command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8)).save(name)
    model = BPBReID(ModelConfig(backbone="resnet18", parts="five", visibility="argmax"), num_identities=2).eval()
    save_checkpoint(Checkpoint(model, PreprocessConfig(height=64, width=32)), tmp_path / "demo")
    assert len(_blocks("python")) == 1
    exec(_blocks("python")[0], {})


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("README.md", 5),
        ("docs/app.md", 1),
        ("docs/data.md", 3),
        ("docs/figures.md", 3),
        ("docs/labels.md", 3),
        ("docs/options.md", 3),
        ("docs/models.md", 3),
        ("docs/gallery.md", 8),
        ("docs/export.md", 3),
        ("docs/extending.md", 4),
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


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{page} links to {target}, which does not exist"
