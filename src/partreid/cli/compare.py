"""``partreid compare``."""

from __future__ import annotations

from typing import Annotated

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, plain_table
from partreid.cli.models import before_files
from partreid.models.shipped import is_shipped


def compare(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[MODEL] FIRST SECOND",
            help="Two images. To use another model than the shipped one, write MODEL before them, as for --model.",
        ),
    ],
    model: opt.ModelOption = "",
    calibration: opt.Calibration = None,
    mirror: opt.Mirror = False,
    overrides: opt.TestOverrides = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
) -> None:
    """Compare two images: their distance, the distance of each part, and the probability that both show one person.

    A part that is hidden in one of the images is not compared (Eq. 9). The shipped model uses its own calibration
    unless you choose how to compare.
    """
    from partreid.retrieval.how_compared import find_calibration, load_for_comparison

    chosen, (first, second) = before_files(words, model, ("FIRST", "SECOND"))
    if is_shipped(chosen) and not (overrides or mirror):
        calibration = calibration or "auto"
    known = find_calibration(calibration, chosen)
    runtime = opt.runtime_config(device, precision)
    extractor, compared = load_for_comparison(
        chosen, runtime=runtime, mirror=mirror, overrides=overrides or (), calibration=known
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
        console.print("The images have no visible part in common, so they cannot be compared.")
    else:
        console.print(f"Distance {distance:.4f}, the mean over {count} of {len(found.slots)} parts.")
    if found.probability is not None:
        told = f"Probability of one person: {float(found.probability[0, 0]):.3f}"
        console.print(f"{told} (prior: {known.prior:.3f})" if known else told)
    console.print(str(compared), style="dim", soft_wrap=True)
