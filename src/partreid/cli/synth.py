"""``partreid synth``: render a set of pedestrians."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, show_progress
from partreid.cli.options import ConfigFile, OtherOverrides
from partreid.datasets.synthetic.dataset import render_dataset
from partreid.datasets.synthetic.render_config import SyntheticConfig
from partreid.surroundings import usable_cores

_DEFAULT = SyntheticConfig()


def synth(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the set; a killed run resumes.")],
    train_ids: Annotated[int, typer.Option(help="Identities to train on.")] = _DEFAULT.train_identities,
    test_ids: Annotated[int, typer.Option(help="Identities of queries and gallery.")] = _DEFAULT.test_identities,
    height: Annotated[int, typer.Option(help="Height of an image in pixels.")] = _DEFAULT.image_height,
    width: Annotated[int, typer.Option(help="Width of an image in pixels.")] = _DEFAULT.image_width,
    seed: Annotated[int, typer.Option(help="Everything random derives from it.")] = _DEFAULT.seed,
    detector_noise: Annotated[
        float, typer.Option(help="Errors of the pose labels, as a detector makes them: 0 none, 1 strong.")
    ] = _DEFAULT.detector_noise,
    config: ConfigFile = None,
    overrides: OtherOverrides = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="How many render; one per processor if not given. Images are the same.")
    ] = None,
) -> None:
    """Render pedestrians into OUT, with pose labels, body regions and the degree of occlusion.

    Layout as Market-1501: train with `partreid train OUT --preset light -o RUN`. Needs `pip install "partreid[synth]"`.
    """
    flags = {
        "train_identities": (train_ids, _DEFAULT.train_identities),
        "test_identities": (test_ids, _DEFAULT.test_identities),
        "image_height": (height, _DEFAULT.image_height),
        "image_width": (width, _DEFAULT.image_width),
        "seed": (seed, _DEFAULT.seed),
        "detector_noise": (detector_noise, _DEFAULT.detector_noise),
    }
    base = SyntheticConfig.load(config) if config else _DEFAULT
    given = {name: value for name, (value, default) in flags.items() if value != default}
    chosen = base.override(given, overrides or [])
    render_dataset(chosen, out, workers=processes or usable_cores(), progress=show_progress)
    console.print(f"Rendered into {out}. Next: partreid train {out} --preset light -o runs/rendered")
