"""``partreid dossier``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli import options as opt
from partreid.cli.console import console, show_progress


def dossier(
    model: opt.Model,
    data: opt.DataSets = None,
    more: opt.MoreData = None,
    about: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Facts that only the model's makers know: license, contact, purpose, not_for, limits, training_data, "
            "test_data (docs/dossier.md). The page states only those that the file contains.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Page to write.")] = Path("dossier.html"),
    calibration: opt.Calibration = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "float32",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Write one page about a model: use, data, accuracy by groups of images and people, failures, guarantees, hashes.

    Accuracy is measured on the data sets, by occlusion, part, view, light, resolution, skin and body if a set records
    them. Rendered sets record them all. Pictures show only rendered people.
    """
    from partreid.reports import gather_dossier

    gathered = gather_dossier(
        model, opt.all_datasets(data, more), about=about, calibration=calibration,
        runtime=opt.runtime_config(device, precision, batch_size=batch_size), progress=show_progress,
    )  # fmt: skip
    gathered.save(out)
    for one in gathered.measured:
        for words in one.worse:
            console.print(f"{one.name}: {words}", markup=False)
    console.print(f"The dossier: {out}")
