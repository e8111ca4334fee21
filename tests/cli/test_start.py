"""What is asked of a command before it runs: its help, a wrong word, the shell's completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import partreid
from partreid import Gallery, PartEmbeddings
from partreid.app.users import Users
from partreid.cli import commands
from partreid.retrieval import AuditLog
from tests.cli.conftest import Run, every_command

COMMANDS = every_command()
SOURCES = {"PYTHONPATH": str(Path(partreid.__file__).parents[1])}


def test_help_lists_every_command_in_order(run: Run) -> None:
    text = run("--help")[1]
    listed = [line.split()[1] for line in text.partition("─ Commands")[2].splitlines() if line[2:3].islower()]
    assert listed == list(dict.fromkeys(path.split()[0] for path in COMMANDS))
    assert listed[:4] == ["demo", "synth", "train", "evaluate"]
    text = run("gallery", "--help")[1]
    assert "Galleries: store images of people" in text
    assert "Read and check the whole content of a gallery." in text


def test_every_command_fits_its_threads() -> None:
    assert {type(command) for command in COMMANDS.values()} == {commands._Command}


def test_no_help_waits_for_pytorch() -> None:
    code = (
        "import sys; from partreid.cli.commands import program\n"
        "for words in sys.argv[1:]:\n"
        "    program([*words.split(), '--help'], standalone_mode=False)\n"
        "    heavy = {'torch', 'numpy', 'PIL', 'pyarrow', 'lightning_fabric'} & sys.modules.keys()\n"
        "    assert not heavy, f'{words} --help imports {heavy}'"
    )
    done = subprocess.run([sys.executable, "-c", code, "data", *COMMANDS], env=os.environ | SOURCES,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == 1 + len(COMMANDS)


def test_the_audit_log_does_not_wait_for_pytorch(tmp_path: Path) -> None:
    AuditLog(tmp_path).append({"who": "ana", "action": "search"})
    code = (
        "import sys; from partreid.cli.commands import program\n"
        "program(['audit', 'show', sys.argv[1]], standalone_mode=False)\n"
        "assert not {'torch', 'numpy'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ | SOURCES,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ana" in done.stdout


WITHOUT_A_NETWORK = (
    "data list", "config list", "config show --preset light --set optimizer.epochs=3", "config fields",
    "config diff light demo", "gallery info GALLERY", "gallery info --json GALLERY", "audit on GALLERY",
    "audit show GALLERY", "audit verify GALLERY", "users add USERS ben", "users list USERS", "users revoke USERS ana",
)  # fmt: skip


@pytest.mark.parametrize("words", WITHOUT_A_NETWORK)
def test_a_command_without_a_network_does_not_wait_for_pytorch(tmp_path: Path, words: str) -> None:
    people = PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",))
    with Gallery(tmp_path / "people") as gallery:
        gallery.add(people, ["ana", "ben", "cleo"], cameras=[1, 1, 2])
    if words != "audit on GALLERY":
        AuditLog(tmp_path / "people" / "audit").append({"who": "ana", "action": "search"})
    Users(tmp_path / "users.json").add("ana", "search")
    code = (
        "import sys; from partreid.cli.commands import program\n"
        "try: program(sys.argv[1:], standalone_mode=False)\n"
        "finally: assert 'torch' not in sys.modules, 'PyTorch was imported'"
    )
    given = words.replace("GALLERY", str(tmp_path / "people")).replace("USERS", str(tmp_path / "users.json"))
    done = subprocess.run([sys.executable, "-c", code, *given.split()], env=os.environ | SOURCES,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("galery",), "No such command 'galery'. Did you mean 'gallery'?"),
        (("gallery", "seach"), "No such command 'seach'. Did you mean 'search'?"),
        (("data", "list", "--jsn"), "No such option: --jsn"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest(run: Run, words: tuple[str, ...], message: str) -> None:
    status, text = run(*words)
    assert status == 2
    assert message in text


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("partreid tr", {"train", "tracks"}),
        ("partreid gallery ver", {"verify"}),
        ("partreid gallery search --sin", {"--since"}),
        ("partreid train --preset li", {"light"}),
        ("partreid evaluate m --precision f", {"float32", "float16"}),
    ],
)
def test_the_shell_completes_commands_and_options(typed: str, completed: set[str]) -> None:
    variables = {
        **SOURCES,
        "_PARTREID_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    code = (
        "import sys, atexit; sys.argv = ['partreid']; from partreid.cli import main\n"
        "atexit.register(lambda: print('torch' * ('torch' in sys.modules)))\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True)
    assert set(done.stdout.split()) == completed, done.stderr
