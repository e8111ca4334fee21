"""``partreid compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, plain_table


def compare(
    model: opt.Model,
    first: Annotated[Path, typer.Argument(help="An image.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    calibration: opt.Calibration = None,
    mirror: opt.Mirror = False,
    overrides: opt.TestOverrides = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
) -> None:
    """Compare two images: distance, the parts it was averaged over, and how probable it is that both show one person.

    A part that one of the images does not show is not compared (Eq. 9).
    """
    from partreid.retrieval.how_compared import find_calibration, load_for_comparison

    known = find_calibration(calibration, model)
    runtime = opt.runtime_config(device, precision)
    extractor, compared = load_for_comparison(
        model, runtime=runtime, mirror=mirror, overrides=overrides or (), calibration=known
    )
    embeddings = extractor.embed([first, second])
    found = partreid.compare(embeddings[0], embeddings[1], matching=compared.matching, calibration=known)
    seen = compared.matching.prepare(embeddings).visibility
    distances = found.parts()
    rows = [
        (slot, f"{distances[slot]:.4f}" if slot in distances else "not compared", f"{one:.2f}", f"{other:.2f}")
        for slot, one, other in zip(found.slots, *seen.tolist(), strict=True)
    ]
    title = f"{first.name} and {second.name}"
    console.print(plain_table(title, ("part", "distance", "visible in the first", "in the second"), rows))
    distance, count = float(found.distances[0, 0]), int(found.compared[0, 0])
    if not count:
        console.print("The images show no part in common: nothing was compared, and nothing is known.")
    else:
        console.print(f"Distance {distance:.4f}, the mean over {count} of {len(found.slots)} parts.")
    if found.probability is not None:
        told = f"Probability of one person: {float(found.probability[0, 0]):.3f}"
        console.print(f"{told} (before anything was compared: {known.prior:.3f})" if known else told)
    console.print(str(compared), style="dim", soft_wrap=True)
