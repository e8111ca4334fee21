"""The command line: it parses, calls the library and prints."""

from __future__ import annotations

import io
import logging
import signal
import sys
import warnings
from contextlib import suppress

from partreid import processes
from partreid.cli.commands import program
from partreid.cli.console import errors, say_error, say_warning
from partreid.errors import PartReIDError
from partreid.surroundings import ensure_home


def main() -> None:
    """Entry point: a user's mistake is one message and exit status 2, never a traceback."""
    with suppress(PartReIDError):  # a command that needs the folder reports the error
        ensure_home()
    if not processes.launched():  # torchrun ends its processes itself, and at once
        with suppress(ValueError):  # only the main thread may
            # Half-written files are removed, as after Ctrl-C.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    warnings.showwarning = _show_warning
    warnings.filterwarnings("ignore", message="(?s)Glyph .* missing from font")  # the image shows a box instead
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
    except OSError as error:  # mostly a folder without permission to read it
        say_error(f"Cannot use {error.filename}: {error.strerror}." if error.filename else error)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code in (130, 143):  # Ctrl-C as Typer has it, SIGTERM as the shell has it
            errors.print("Interrupted. Nothing half-written was left.", soft_wrap=True)
        raise


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if issubclass(category, UserWarning):
        say_warning(message)
