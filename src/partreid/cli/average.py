"""``partreid average``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console
from partreid.errors import ConfigError


def average(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Two or more: runs, checkpoint folders, shipped, or hf:org/name. The average compares like the first.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint folder to write.")],
    shares: Annotated[
        str, typer.Option(metavar="SHARE,SHARE,...", help="A positive number for each model. Default: all equal.")
    ] = "",
) -> None:
    """Average the weights of models that were trained from one start, for example a model and its further training.

    The result is one model. It often generalises better than each of them: on the images of the further training it is
    nearly as good as the model trained further, and on other images as good as the model before.
    """
    from partreid.models import average_checkpoints, save_checkpoint

    try:
        numbers = [float(word) for word in shares.split(",")] if shares else None
    except ValueError:
        raise ConfigError(f"--shares: expected numbers with commas, such as 1,0.5, got {shares!r}.") from None
    save_checkpoint(average_checkpoints(models, numbers), out)
    console.print(
        f"Average of {len(models)} models: {out}    Score it: partreid evaluate {out} DATA\n"
        "The calibrations of these models are not valid for the average. Fit a new one: partreid calibrate.",
        soft_wrap=True,
    )
