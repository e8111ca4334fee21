"""``partreid synth``: render a set of pedestrians."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli import options as opt
from partreid.cli.console import console, show_progress


def synth(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for the set; a killed run resumes. With --preview a .png or .jpg."),
    ],
    train_ids: Annotated[int | None, typer.Option(help="Identities to train on. Default: 100.")] = None,
    test_ids: Annotated[int | None, typer.Option(help="Identities of queries and gallery. Default: 60.")] = None,
    height: Annotated[int | None, typer.Option(help="Height of an image in pixels. Default: 256.")] = None,
    width: Annotated[int | None, typer.Option(help="Width of an image in pixels. Default: 128.")] = None,
    seed: Annotated[int | None, typer.Option(help="Everything random derives from it. Default: 0.")] = None,
    detector_noise: Annotated[
        float | None,
        typer.Option(help="Errors of the pose labels, as a detector makes them: 0 none, 1 strong. Default: 0."),
    ] = None,
    panoramas: Annotated[
        Path | None,
        typer.Option(help="Folder of panoramas (.exr, .exr.js, .hdr) for light and background. Default: made up."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="One sheet of 96 of the set's images instead of the set.")
    ] = False,
    assets: Annotated[
        Path | None, typer.Option(help="Folder of MakeHuman clothes and hair, to dress people in.", show_default=False)
    ] = None,
    config: opt.ConfigFile = None,
    overrides: opt.OtherOverrides = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="How many render; one per processor if not given. Images are the same.")
    ] = None,
) -> None:
    """Render pedestrians into OUT, with pose labels, body regions and the degree of occlusion.

    Layout as Market-1501: train with `partreid train OUT --preset light -o RUN`. Needs `pip install "partreid[synth]"`.
    """
    from partreid.datasets import SyntheticConfig, render_dataset, render_preview
    from partreid.surroundings import usable_cores

    flags = {
        "train_identities": train_ids, "test_identities": test_ids, "image_height": height, "image_width": width,
        "seed": seed, "detector_noise": detector_noise, "panoramas": panoramas, "assets": assets,
    }  # fmt: skip
    given = {field: value for field, value in flags.items() if value is not None}
    chosen = (SyntheticConfig.load(config) if config else SyntheticConfig()).override(given, overrides or [])
    if preview:
        render_preview(chosen, out, progress=show_progress)
        console.print(f"A sheet of the set's images: {out}")
        return
    render_dataset(chosen, out, workers=processes or usable_cores(), progress=show_progress)
    console.print(f"Rendered into {out}. Next: partreid train {out} --preset light -o runs/rendered")
