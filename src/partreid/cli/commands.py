"""All commands by name. Their modules import PyTorch and the like only when a command runs, so that help is quick."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand

from partreid.cli import audit, config, data, gallery, labels, show, users
from partreid.cli.adapt import adapt
from partreid.cli.app import app
from partreid.cli.average import average
from partreid.cli.calibrate import calibrate
from partreid.cli.compare import compare
from partreid.cli.console import emit
from partreid.cli.demo import demo
from partreid.cli.dossier import dossier
from partreid.cli.embed import embed
from partreid.cli.embed_boxes import embed_boxes
from partreid.cli.evaluate import evaluate
from partreid.cli.experiment import experiment
from partreid.cli.export import export
from partreid.cli.import_official import import_official
from partreid.cli.link import link
from partreid.cli.synth import synth
from partreid.cli.tracks import tracks
from partreid.cli.train import train
from partreid.surroundings import usable_cores
from partreid.version import __version__

program = typer.Typer(
    name="partreid",
    help="Part-based person re-identification under occlusion (BPBReID): train, evaluate, embed, search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@program.callback(invoke_without_command=True)
def version_option(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Options of every command."""
    if version:
        emit(__version__)
        raise typer.Exit


class _Command(TyperCommand):
    def invoke(self, ctx: Any) -> Any:
        """Run the command with a limited number of threads. Audit logs record that a command did it."""
        from partreid.retrieval.recording import acting

        _fit_threads()
        with acting(source="command"):
            return super().invoke(ctx)


def _fit_threads() -> None:
    """Limit threads to the processors that may be used, because PyTorch does not know the limit of a container."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(min(usable_cores(), torch.get_num_threads()))
    else:  # PyTorch reads it when it is imported; a command without PyTorch does not import it
        os.environ["OMP_NUM_THREADS"] = str(usable_cores())


for function in (
    demo, synth, train, evaluate, calibrate, adapt, embed, embed_boxes, tracks, link, compare, app, export, experiment,
    dossier, import_official, average,
):  # fmt: skip
    program.command(cls=_Command)(function)
for group in (data, labels, gallery, audit, users, show, config):
    for command in group.app.registered_commands:
        command.cls = _Command
    program.add_typer(group.app, name=group.__name__.rpartition(".")[2])
