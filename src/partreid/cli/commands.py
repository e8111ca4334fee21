"""The commands by name, with the line of help of each; a command's module is imported when it is called."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

from partreid.surroundings import usable_cores

COMMANDS = {
    "demo": "Train the light model on the shipped rendered pedestrians, evaluate it, and draw what it sees.",
    "synth": "Render pedestrians into OUT, with pose labels, body regions and the degree of occlusion.",
    "train": "Train a model, then evaluate it.",
    "evaluate": "Search every query in the gallery and print rank-k, mAP and mINP, overall and per embedding.",
    "calibrate": "Learn the probability that two images show one person, from distance and number of compared slots.",
    "embed": "Embed images: one vector and one visibility per image and slot.",
    "tracks": "Embed the persons tracked in a video: one embedding per track, merged from all its boxes.",
    "compare": "Compare two images: distance, the parts it was averaged over, and how probable it is that both show "
    "one person.",
    "app": "Open a web page to look for people in a gallery.",
    "export": "Write a model as one file for onnxruntime, TensorRT or OpenVINO, preprocessing inside, and check it at "
    "once.",
    "experiment": "Run the rows of the paper's tables and write each table beside the paper's figures.",
    "import-official": "Make a checkpoint of published weights. No code of the file is run.",
    "data": "Data sets: see which are known, and check those on disk.",
    "data list": "List the data sets that are known by name, and what their folders hold.",
    "data check": "Check a data set, or every one in a folder: counts, ids, damaged and duplicate images, labels.",
    "data occlude": "Hide a set's queries behind other people and objects, seeded, as a set of its own.",
    "labels": "Human parsing labels: make them, or see what a data set has.",
    "labels make": "Make pose fields for the images of a data set, or of any folder, in masks/PROVIDER/.",
    "labels show": "Draw labels over their images, and find the bad ones.",
    "labels info": "Show which label folders there are, their size, and how often each part is in them.",
    "gallery": "Galleries: keep people seen, with camera, time and anything else, and find them again.",
    "gallery add": "Add images, each under its name as given. Killed or stopped, the same command resumes.",
    "gallery search": "Find the people in images: distance, probability where the model is calibrated, and each part's "
    "distance.",
    "gallery info": "Say what a gallery holds: items, cameras, times, slots, the model it belongs to.",
    "gallery verify": "Read and check everything a gallery keeps. Exit status 0: all is well, 1: problems.",
    "gallery delete": "Delete items, by id or by conditions: `partreid gallery delete G --until 30d` forgets what is "
    "older.",
    "gallery copy": "Copy all items into another gallery, on another kind of store too. Stopped, the same command "
    "resumes.",
    "show": "Figures of a model on a data set: rankings, attention, and a report of everything.",
    "show rankings": "Draw queries with what was found for each: attention, distance of each slot, right or wrong.",
    "show attention": "Draw the attention map of every part, and below it what the label says, where an image has one.",
    "show report": "Write one self-contained HTML page about a run: training, scores, distances, rankings, attention, "
    "configuration.",
    "config": "Show and compare configurations.",
    "config list": "List the presets.",
    "config show": "Print a configuration as TOML, ready to be saved and given to --config.",
    "config diff": "Print the fields in which two configurations differ.",
    "config fields": "Print every field with its default and meaning: what --set can change.",
}
"""What the list of commands says of each: the first paragraph of its docstring."""


class CommandGroup(TyperGroup):
    """Lists its commands from :data:`COMMANDS`, and imports the one that is called or that the shell completes."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Which command is meant, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and not isinstance(command, CommandGroup):
            command = load_command(name if ctx.parent is None else f"{self.name} {name}")
        return name, command, rest


def add_commands(program: typer.Typer) -> None:
    """Give a program, whose class is :class:`CommandGroup`, every command as its name and its line of help."""
    groups = {
        name: typer.Typer(cls=CommandGroup, no_args_is_help=True)
        for name in dict.fromkeys(path.split()[0] for path in COMMANDS if " " in path)
    }
    for path, text in COMMANDS.items():
        group, _, name = path.rpartition(" ")
        if path in groups:
            program.add_typer(groups[path], name=path, help=text)
        else:
            groups.get(group, program).command(name, help=text)(lambda: None)


def load_command(path: str) -> Any:
    """The command of a name in :data:`COMMANDS`, as Typer makes it.

    ``import-official`` is the function ``import_official`` in ``cli/import_official.py``; ``gallery add`` is a command
    of ``app`` in ``cli/gallery.py``.
    """
    word, _, name = path.partition(" ")
    function = word.replace("-", "_")
    module = import_module(f"partreid.cli.{function}")
    _fit_threads()
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    if name:
        program.add_typer(module.app)
    else:
        program.command(word)(getattr(module, function))
    command = typer.main.get_command(program)
    return command.commands[name] if isinstance(command, TyperGroup) else command


def _fit_threads() -> None:
    """No more threads than there are processors for them: PyTorch does not know what a container is granted."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
