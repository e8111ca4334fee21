"""``partreid gallery``: keep people seen, and find them again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid.cli.console import console, emit_json, errors, plain_table, show_progress
from partreid.cli.gallery_change import copy, delete
from partreid.cli.gallery_search import search
from partreid.cli.options import (
    AsJson,
    BatchSize,
    Calibration,
    Device,
    GalleryLocation,
    Mirror,
    ModelOption,
    OneCamera,
    PrecisionOption,
    Replace,
    SkipDamaged,
    key_values,
    runtime_config,
)
from partreid.errors import ConfigError
from partreid.inference.inputs import walk
from partreid.retrieval.filling import Filled, Naming, add_files, add_images
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.how_compared import load_for_comparison
from partreid.retrieval.stores.addresses import without_secrets
from partreid.retrieval.upkeep import gallery_facts
from partreid.runtime import keep_freed_memory
from partreid.types.moments import parse_moment

app = typer.Typer()

_EMBEDDED = (".safetensors", ".parquet")


@app.command()
def add(
    gallery: GalleryLocation,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCES...", help="Images, folders of images, or what `partreid embed` wrote."),
    ],
    model: ModelOption = "",
    pattern: Annotated[
        str,
        typer.Option(
            help=r"Read fields from the names by a regular expression with named groups: "
            r"`(?P<track>\d+)_c(?P<camera>\d+)`. camera and time are known; others become metadata."
        ),
    ] = "",
    camera: OneCamera = None,
    time: Annotated[str | None, typer.Option(help="When all were taken: 90m (ago), now, a date and time.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="What is known of all. Repeatable.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="What ids begin with, before the names: `site2/`.")] = "",
    replace: Replace = False,
    skip_damaged: SkipDamaged = False,
    mirror: Mirror = False,
    calibration: Calibration = None,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSize = 64,
) -> None:
    """Add images, each under its name as given. Killed or stopped, the same command resumes.

    Before anything is embedded, names that are in the gallery for other images are refused, and images that are
    there with another camera, time or metadata.
    """
    naming = Naming(
        pattern=pattern,
        camera=camera,
        time=None if time is None else parse_moment(time),
        metadata=key_values(metadata),
        prefix=prefix,
    )
    embedded = [source for source in sources if source.suffix in _EMBEDDED or (source / "manifest.json").is_file()]
    if embedded and len(embedded) < len(sources):
        raise ConfigError("Give either images or files of embeddings, not both at once.")
    if not embedded and not model:
        raise ConfigError("Embedding images needs a model: --model RUN.")
    extractor = None
    keep_freed_memory()
    if model:
        runtime = runtime_config(device, precision, 0, batch_size)
        extractor, _ = load_for_comparison(model, runtime=runtime, mirror=mirror, calibration=calibration)
    with Gallery.open(gallery, extractor=extractor) as opened:
        names = [] if embedded else [Path(str(image)) for image in walk(list(sources))]
        with show_progress("adding", len(names)) as advance:
            if extractor is None or embedded:
                filled = add_files(opened, embedded, naming, replace=replace, advance=advance)
            else:
                filled = add_images(
                    opened, extractor, names, naming, replace=replace, skip_damaged=skip_damaged, advance=advance
                )
        _say(filled, opened)


def _say(filled: Filled, gallery: Gallery) -> None:
    for image in filled.skipped:
        errors.print(f"left out: {image.reason}", soft_wrap=True)
    console.print(
        f"{filled.added} added, {filled.known} there already, {len(filled.skipped)} left out. The gallery holds "
        f"{len(gallery)} items.",
        highlight=False,
        soft_wrap=True,
    )
    for given, name in list(filled.renamed.items())[:1]:
        console.print(
            f"{len(filled.renamed)} of these images have another id there: {given!r} is {name!r}.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


app.command()(search)


@app.command()
def info(gallery: GalleryLocation, as_json: AsJson = False) -> None:
    """Say what a gallery holds: items, cameras, times, slots, the model it belongs to."""
    with Gallery.open(gallery, create=False) as opened:
        facts = gallery_facts(opened)
    if as_json:
        emit_json(facts)
        return
    rows = [(key, _plainly(value)) for key, value in facts.items() if value not in (None, [], {})]
    console.print(plain_table(without_secrets(gallery), ("", ""), rows))


def _plainly(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@app.command()
def verify(gallery: GalleryLocation) -> None:
    """Read and check everything a gallery keeps. Exit status 0: all is well, 1: problems."""
    with Gallery.open(gallery, create=False) as opened:
        problems = opened.verify()
        for problem in problems:
            console.print(f"problem: {problem}", soft_wrap=True)
        count = "no problem" if not problems else "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        console.print(f"{len(opened)} items, {count}.", highlight=False)
    raise typer.Exit(1 if problems else 0)


app.command()(delete)
app.command()(copy)
