"""The command line: one file per command."""

from __future__ import annotations

import io
import logging
import signal
import sys
import warnings
from contextlib import suppress
from typing import NoReturn

import typer

from partreid import processes
from partreid.cli.commands import CommandGroup, add_commands
from partreid.cli.console import emit, errors, say_error, say_warning
from partreid.errors import PartReIDError
from partreid.surroundings import ensure_home
from partreid.version import __version__

program = typer.Typer(
    name="partreid",
    cls=CommandGroup,
    help="Part-based person re-identification under occlusion (BPBReID): train, evaluate, embed, search.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
add_commands(program)


@program.callback(invoke_without_command=True)
def version_option(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    """Options of every command."""
    if version:
        emit(__version__)
        raise typer.Exit


INTERRUPTED, TERMINATED = 130, 143
"""Exit status after Ctrl-C, as Typer has it, and after SIGTERM, as the shell has it."""


def main() -> None:
    """Entry point: a user's mistake is one message and exit status 2, never a traceback."""
    with suppress(PartReIDError):  # whoever needs the folder says so
        ensure_home()
    if not processes.launched():  # torchrun ends its processes itself, and at once
        with suppress(ValueError):  # only the main thread may
            signal.signal(signal.SIGTERM, _terminated)  # what is half-written is cleared away, as after Ctrl-C
    warnings.showwarning = _show_warning
    warnings.filterwarnings("ignore", message="(?s)Glyph .* missing from font")  # a box stands for it in the image
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        program()
    except PartReIDError as error:
        say_error(error)
        sys.exit(2)
    except OSError as error:  # a folder that may not be read, above all
        say_error(_reason(error))
        sys.exit(2)
    except SystemExit as stop:
        if stop.code in (INTERRUPTED, TERMINATED):
            errors.print("Interrupted. Nothing half-written was left.", soft_wrap=True)
        raise


def _terminated(*_: object) -> NoReturn:
    sys.exit(TERMINATED)


def _reason(error: OSError) -> str:
    return f"Cannot use {error.filename}: {error.strerror}." if error.filename else str(error)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: object = None,
) -> None:
    if issubclass(category, UserWarning):
        say_warning(message)
