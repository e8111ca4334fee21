"""What a command prints to be saved can be read again and is the thing itself: at any width, encoding and colour."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from partreid.app.users import Users
from partreid.base_config import flatten, meanings
from partreid.cli import main
from partreid.cli.console import console, emit, emit_json
from partreid.retrieval import Gallery, begin_audit_log
from partreid.training.network_presets import NETWORK_PRESETS
from partreid.training.presets import PRESETS, get_preset
from partreid.training.train_config import TrainConfig
from partreid.types import PartEmbeddings
from partreid.version import __version__
from tests.cli.conftest import every_command
from tests.conftest import write_blocks

Saved = Callable[..., str]
ROUND_TRIPS = {
    "config show",
    "config list",
    "config diff",
    "config fields",
    "gallery info",
    "gallery search",
    "gallery compact",
    "audit show",
    "users list",
    "data check",
}
"""Commands whose output or file is read again by a test below."""

AWKWARD = [
    "people [v2]/[bold]a[/bold].jpg",
    "shop [/] :warning: \\[x].jpg",
    "Zoë–🙂 一.jpg",
    "'single' \"double\" back\\slash\tab.jpg",
    "long " + "x" * 300 + ".jpg",
]


@pytest.fixture(params=["narrow", "coloured", "ascii", "plain"])
def saved(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Saved:
    """``saved("config", "show")`` → what stands in the file after ``partreid config show > file``."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if request.param == "narrow":
        monkeypatch.setenv("COLUMNS", "40")
    elif request.param == "coloured":
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    elif request.param == "plain":
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("TERM", "dumb")

    def call(*arguments: object) -> str:
        file = tmp_path / "saved"
        encoding = "ascii" if request.param == "ascii" else "utf-8"
        with file.open("wb") as raw, monkeypatch.context() as patch:
            patch.setattr("sys.argv", ["partreid", *map(str, arguments)])
            patch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding=encoding))
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code
            sys.stdout.flush()
        return file.read_bytes().decode()

    return call


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery whose ids, cameras and metadata hold everything that markup, JSON and terminals treat in their way."""
    path = tmp_path_factory.mktemp("stores") / "people [v2]"
    count = len(AWKWARD)
    embeddings = PartEmbeddings(torch.randn(count, 2, 4), torch.ones(count, 2), ("foreground", "head"))
    with Gallery.open(path) as opened:
        opened.add(
            embeddings,
            AWKWARD,
            cameras=[f"[red]{i}" for i in range(count)],
            times=datetime(2026, 11, 23, 14, 30, tzinfo=UTC),
            metadata=[{"note [b]": name, "n": i, "none": None} for i, name in enumerate(AWKWARD)],
        )
    return path


@pytest.mark.parametrize("preset", ["light", "bot"])
def test_a_configuration(preset: str, saved: Saved, tmp_path: Path) -> None:
    text = saved("config", "show", "--preset", preset, "--set", "labels='a [bold] ü'", "--set", "seed=7")
    (tmp_path / "run.toml").write_text(text)
    expected = get_preset(preset).override(["labels='a [bold] ü'", "seed=7"])
    assert TrainConfig.load(tmp_path / "run.toml") == expected
    assert {f"[{name}]" for name in tomllib.loads(text) if f"[{name}]" in text} >= {"[model]", "[optimizer]"}
    assert saved("config", "show", "--config", tmp_path / "run.toml") == text


def test_tables_of_configurations(saved: Saved) -> None:
    rows = [line.split("\t") for line in saved("config", "fields").splitlines()]
    assert [row[:2] for row in rows] == [[key, str(value)] for key, value in flatten(TrainConfig())]
    said = meanings(TrainConfig)
    assert [row[2] for row in rows] == [" ".join(said[row[0]].split()) for row in rows]
    assert len(max((row[2] for row in rows), key=len)) > 100, "nothing is cut off"
    some = [line.split("\t")[0] for line in saved("config", "fields", "Epochs").splitlines()]
    assert "optimizer.epochs" in some
    assert set(some) < {row[0] for row in rows}
    on_networks = [f"{name} FILE" for name in NETWORK_PRESETS]
    assert [line.split("\t")[0] for line in saved("config", "list").splitlines()] == [*PRESETS, *on_networks]
    differences = {
        line.split("\t")[0]: line.split("\t")[1:] for line in saved("config", "diff", "light", "bot").splitlines()
    }
    expected = {key: [str(a), str(b)] for key, (a, b) in get_preset("light").diff(get_preset("bot")).items()}
    assert differences == expected


def test_a_gallery_as_json(saved: Saved, gallery: Path) -> None:
    facts = json.loads(saved("gallery", "info", gallery, "--json"))
    assert facts["items"] == len(AWKWARD)
    assert "[red]3" in json.dumps(facts["cameras"])
    (answer,) = json.loads(saved("gallery", "search", gallery, "--like", AWKWARD[0], "--json"))
    assert answer["query"] == AWKWARD[0]
    assert {row["id"] for row in answer["found"]} == set(AWKWARD[1:])
    with Gallery.open(gallery, create=False) as opened:
        for row in answer["found"]:
            (item,) = opened.get([row["id"]]).items
            assert (row["metadata"], row["camera"]) == (item.metadata, item.camera)
            assert datetime.fromisoformat(row["time"]) == item.time


def test_the_records_of_an_audit_log_and_what_a_compaction_did(saved: Saved, gallery: Path, tmp_path: Path) -> None:
    people = Path(shutil.copytree(gallery, tmp_path / "people [v2]"))
    begin_audit_log(people)
    saved("gallery", "search", people, "--like", AWKWARD[0])
    done = json.loads(saved("gallery", "compact", people, "--json"))
    assert done["bytes_after"] > 0
    records = [json.loads(line) for line in saved("audit", "show", people, "--json").splitlines()]
    searched = next(record for record in records if record["action"] == "search")
    assert searched["asked"]["like"] == [AWKWARD[0]]


def test_the_users_of_a_page(saved: Saved, tmp_path: Path) -> None:
    Users(tmp_path / "users.json").add("zoe@gate-2", "add")
    (user,) = json.loads(saved("users", "list", tmp_path / "users.json", "--json"))
    assert (user["name"], user["role"]) == ("zoe@gate-2", "add")


def test_the_findings_of_a_check(saved: Saved, tmp_path: Path) -> None:
    root = tmp_path / "set [v2]"
    write_blocks(root, "bounding_box_train", range(1, 3), range(2))
    write_blocks(root, "bounding_box_test", range(5, 7), range(2))
    write_blocks(root, "query", range(5, 7), range(2, 3))
    found = json.loads(saved("data", "check", root, "--json"))
    assert found["problems"] == 0
    assert found["datasets"][0]["name"] == "set [v2]"


def test_the_version(saved: Saved) -> None:
    assert saved("--version") == f"{__version__}\n"


def test_bytes_of_a_name_that_are_no_text_survive_in_json(saved: Saved, tmp_path: Path) -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    with (tmp_path / "x").open("wb") as raw, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
        emit_json({name: ["[/]", "\x1b[31m", 0.1]})
    assert json.loads((tmp_path / "x").read_bytes()) == {name: ["[/]", "\x1b[31m", 0.1]}
    with pytest.raises(ValueError, match="JSON compliant"):
        emit_json({"distance": float("nan")})


def test_without_an_output_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    emit("text")
    console.print("text")


def test_every_command_that_prints_json_is_tried_above() -> None:
    commands = every_command()
    with_json = {name for name, one in commands.items() if any("json" in o for p in one.params for o in p.opts)}
    assert commands.keys() >= ROUND_TRIPS >= with_json, "a round trip is missing in this file"


MARKUP = re.compile(r"\[/?(bold|dim|italic|red|green|yellow|blue|cyan|magenta|white|link)\b[^\]]*\]")


def test_no_command_prints_such_text_another_way() -> None:
    """Only ``emit`` and its kin write what is to be saved, and no name can be taken for markup."""
    for path in sorted(Path(sys.modules["partreid.cli"].__file__ or "").parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("rich.markup", "rich.syntax", "rich.json", "rich"), where
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not MARKUP.search(node.value), f"{where}: the console knows no markup; use style= or Text"
            if not isinstance(node, ast.Call):
                continue
            assert not any(k.arg == "markup" and getattr(k.value, "value", 0) is True for k in node.keywords), where
            called = ast.unparse(node.func)
            assert not called.endswith(".print_json"), f"{where}: use emit_json"
            if path.name != "console.py":
                printing = called == "print" or called.startswith(("sys.stdout.", "typer.echo", "pprint"))
                assert not printing or called == "sys.stdout.flush", f"{where}: use emit"
            if called.endswith((".print", "say_error")):
                inner = {ast.unparse(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)}
                assert not inner & {"json.dumps", "tomli_w.dumps"}, f"{where}: use emit_json or emit"
                assert not any(name.endswith((".to_toml", ".model_dump_json")) for name in inner), f"{where}: use emit"
