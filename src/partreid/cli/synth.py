"""``partreid synth``: render a set of pedestrians, or videos of people who cross."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from partreid.cli import options as opt
from partreid.cli.console import console, show_progress
from partreid.errors import ConfigError


def synth(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for the set; a killed run resumes. With --preview: a .png or .jpg."),
    ],
    train_ids: Annotated[int | None, typer.Option(help="Identities to train on. Default: 100.")] = None,
    test_ids: Annotated[int | None, typer.Option(help="Identities of queries and gallery. Default: 60.")] = None,
    height: Annotated[
        int | None, typer.Option(help="Height of an image in pixels; 360 with --sequences. Default: 256.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Width of an image in pixels; 640 with --sequences. Default: 128.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. Default: 0.")] = None,
    detector_noise: Annotated[
        float | None,
        typer.Option(help="How strongly the pose labels have a detector's errors, from 0 (none) to 1. Default: 0."),
    ] = None,
    panoramas: Annotated[
        Path | None,
        typer.Option(help="Folder of panoramas (.exr, .exr.js, .hdr) for light and background. Default: synthetic."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Write one sheet with 96 images of the set instead of the set.")
    ] = False,
    sequences: Annotated[
        int | None,
        typer.Option(help="Instead of a set, render this many scenes of people who cross, filmed by several cameras."),
    ] = None,
    assets: Annotated[
        Path | None, typer.Option(help="Folder of MakeHuman clothes and hair, to dress people in.", show_default=False)
    ] = None,
    config: opt.ConfigFile = None,
    overrides: opt.OtherOverrides = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one per processor. The images do not depend on it.")
    ] = None,
) -> None:
    """Render pedestrians into OUT, with pose labels, body regions and the degree of occlusion.

    The layout is that of Market-1501: train with `partreid train OUT --preset light -o RUN`. With --sequences, render
    videos with true boxes and identities in MOTChallenge's layout. Needs `pip install "partreid[synth]"`.
    """
    from partreid.datasets import SyntheticConfig, render_dataset, render_preview
    from partreid.surroundings import usable_cores

    workers = processes or usable_cores()
    common = {
        "image_height": height, "image_width": width, "seed": seed, "panoramas": panoramas, "assets": assets,
    }  # fmt: skip
    of_set = {"train_identities": train_ids, "test_identities": test_ids, "detector_noise": detector_noise}
    if sequences is not None:
        if preview or any(value is not None for value in of_set.values()):
            raise ConfigError(
                "--preview, --train-ids, --test-ids, --detector-noise are for images. Leave them out with --sequences."
            )
        _sequences(out, {"scenes": sequences, **common}, config, overrides or [], workers)
        return
    chosen = (SyntheticConfig.load(config) if config else SyntheticConfig()).override(
        _given(common | of_set), overrides or []
    )
    if preview:
        render_preview(chosen, out, progress=show_progress)
        console.print(f"A sheet of the set's images: {out}")
        return
    render_dataset(chosen, out, workers=workers, progress=show_progress)
    console.print(f"Rendered into {out}. Next: partreid train {out} --preset light -o runs/rendered")


def _sequences(out: Path, fields: dict[str, Any], config: Path | None, overrides: Sequence[str], workers: int) -> None:
    from partreid.datasets import SequenceConfig, render_sequences

    chosen = (SequenceConfig.load(config) if config else SequenceConfig()).override(_given(fields), overrides)
    render_sequences(chosen, out, workers=workers, progress=show_progress)
    console.print(f"Rendered into {out}. In each SCENE/CAMERA: img1, gt/gt.txt, parts.csv.")


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in fields.items() if value is not None}
