"""Commands are listed from a table and imported when they are called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from partreid.cli import commands
from partreid.cli.commands import COMMANDS
from tests.cli.conftest import Run, every_command

GROUPS = {path.partition(" ")[0] for path in COMMANDS if " " in path}


def test_the_list_says_of_a_command_what_it_says_of_itself() -> None:
    said = {path: " ".join(command.help.split("\n\n")[0].split()) for path, command in every_command().items()}
    assert said == {path: text for path, text in COMMANDS.items() if path in said}


def test_every_command_of_a_group_is_listed() -> None:
    for group in GROUPS:
        module = __import__(f"partreid.cli.{group}", fromlist=["app"])
        made = {c.name or c.callback.__name__.replace("_", "-") for c in module.app.registered_commands}
        assert made == {path.partition(" ")[2] for path in COMMANDS if path.startswith(f"{group} ")}


def test_help_lists_every_command_in_order(run: Run) -> None:
    text = run("--help")[1]
    listed = [line.split()[1] for line in text.partition("─ Commands")[2].splitlines() if line[2:3].islower()]
    assert listed == [path for path in COMMANDS if " " not in path]
    text = run("gallery", "--help")[1]
    assert COMMANDS["gallery"] in text
    assert COMMANDS["gallery verify"] in text


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
    ],
)
def test_the_shell_completes_commands_and_options(typed: str, completed: set[str]) -> None:
    variables = {
        "PYTHONPATH": str(Path(commands.__file__).parents[2]),
        "_PARTREID_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    code = "import sys; sys.argv = ['partreid']; from partreid.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True)
    assert set(done.stdout.split()) == completed, done.stderr
