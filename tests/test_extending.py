"""docs/extending.md runs: its package is put where Python finds it, and new processes and commands know its names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from partreid.functional import VISIBILITY_RULES, slot_weights
from tests.conftest import tiny_config

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILES = {block.splitlines()[0].removeprefix("# "): block for block in BLOCKS if block.startswith("# ")}
(PROJECT,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
GROUPS: dict[str, dict[str, str]] = tomllib.loads(PROJECT)["project"]["entry-points"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds the page's package as pip leaves it there."""
    site = tmp_path_factory.mktemp("site")
    for name, code in FILES.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(code)
    install(site, "ourlab", GROUPS)
    return site


def install(site: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """What pip writes beside a package."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))


def new_process(site: Path, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}, cwd=cwd, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def command(site: Path, *arguments: object, cwd: Path) -> str:
    run = new_process(site, "-m", "partreid", *arguments, cwd=cwd)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_page_names_every_registry_and_its_own_files() -> None:
    assert set(GROUPS) == {f"partreid.{kind}" for kind in
                           ("backbones", "losses", "visibility_rules", "label_providers", "stores")}  # fmt: skip
    places = {
        value.partition(":")[0].replace(".", "/") + ".py" for points in GROUPS.values() for value in points.values()
    }
    assert places == set(FILES)


def test_registering_in_a_script_runs() -> None:
    (script,) = [block for block in BLOCKS if "@VISIBILITY_RULES.register" in block]
    try:
        exec(script, {})
        assert slot_weights(torch.tensor([[0.5]]), "squared").item() == 0.25
    finally:
        VISIBILITY_RULES.unregister("squared")


def test_using_the_store_runs(installed: Path, tmp_path: Path) -> None:
    (script,) = [block for block in BLOCKS if "Gallery.open" in block]
    run = new_process(installed, "-c", script, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "people.pt").is_file()


def test_nothing_of_the_package_is_imported_before_it_is_asked_for(installed: Path) -> None:
    script = (
        "import sys; from partreid import MatchingConfig, ModelConfig\n"
        "from partreid.models import BACKBONES; BACKBONES.names(), MatchingConfig(visibility='cautious')\n"
        "before = 'ourlab' in sys.modules; ModelConfig(backbone='patches').stride\n"
        "print(before, 'ourlab.backbone' in sys.modules, 'ourlab.visibility' in sys.modules)"
    )
    assert new_process(installed, "-c", script).stdout.split() == ["False", "True", "False"]


def test_commands_know_all_five(installed: Path, blocks: Path, tmp_path: Path) -> None:
    made = command(
        installed, "labels", "make", blocks, "--provider", "standing", "--limit", 2, "--out", ".", cwd=tmp_path
    )
    assert "2 labels made" in made
    assert len(list((tmp_path / "masks" / "standing").rglob("*.np*"))) == 2

    (tmp_path / "tiny.toml").write_text(tiny_config("optimizer.epochs=1", "pretrained=none").to_toml())
    ours = ["--set", "model.backbone=patches", "--set", "objective.extra.center=0.0005"]
    command(installed, "train", blocks, "--config", "tiny.toml", *ours, "-o", "run", "--device", "cpu", cwd=tmp_path)
    state = torch.load(tmp_path / "run" / "checkpoint" / "train_state.pt", weights_only=True)
    assert state["extra"]["loss_center.centers"].shape == (6, 16)
    assert state["means"]["extra/center"] > 0

    rule = ["--set", "model.visibility=continuous", "--set", "matching.visibility=cautious"]
    shown = command(installed, "evaluate", "run", blocks, *rule, "--device", "cpu", cwd=tmp_path)
    assert "f(v_q)·f(v_g), f = the visibility rule 'cautious'" in " ".join(shown.split())

    images = blocks / "query"
    command(installed, "gallery", "add", "onefile://g.pt", images, "--model", "run", "--device", "cpu", cwd=tmp_path)
    held = command(installed, "gallery", "info", "onefile://g.pt", cwd=tmp_path)
    assert "onefile://g.pt" in held
    assert re.search(r"items\W+4\b", held), held

    run = new_process(tmp_path, "-m", "partreid", "evaluate", "run", blocks, cwd=tmp_path)
    assert run.returncode == 2
    said = " ".join(run.stderr.split())
    assert "Unknown backbone 'patches'." in said
    assert "install it here (entry point group 'partreid.backbones'), or register it first" in said


@pytest.mark.parametrize(
    ("files", "options", "chosen", "least"),
    [
        (["tests/models/test_backbones.py"], {}, "other_packages", 1),
        pytest.param(
            ["tests/retrieval/stores/test_contract.py"],
            {"PARTREID_TEST_STORE_HANDLES": "1"},
            "outside",
            20,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_partreids_own_tests_run_on_the_package(
    files: list[str], options: dict[str, str], chosen: str, least: int,
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PARTREID_TEST_STORE", f"onefile://{tmp_path}/{{}}.pt")
    for name, value in options.items():
        monkeypatch.setenv(name, value)
    run = new_process(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", chosen)
    assert run.returncode == 0, run.stdout[-3000:]
    (passed,) = re.findall(r"(\d+) passed", run.stdout)
    assert int(passed) >= least
