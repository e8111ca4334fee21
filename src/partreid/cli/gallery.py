"""``partreid gallery``: keep people seen, and find them again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from partreid.cli.console import console, emit_json, errors, plain_table, progress_bar
from partreid.cli.gallery_change import copy, delete
from partreid.cli.gallery_search import DATED, search
from partreid.cli.options import (
    BatchSize,
    Calibrated,
    Device,
    GalleryLocation,
    Mirror,
    ModelOption,
    PrecisionOption,
    gallery_extractor,
    key_values,
    runtime_config,
)
from partreid.cli.times import parse_moment
from partreid.errors import ConfigError
from partreid.inference.inputs import walk
from partreid.retrieval.filling import Filled, Naming, add_files, add_images
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.stores.addresses import without_secrets
from partreid.runtime import keep_freed_memory

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
    camera: Annotated[str | None, typer.Option(help="Camera of all images.")] = None,
    time: Annotated[str | None, typer.Option(help="When all were taken: 90m (ago), now, a date and time.")] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="KEY=VALUE", help="Metadata of all images. Repeatable.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="What ids begin with, before the names: `site2/`.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Embed and replace what is there already.")] = False,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out images that cannot be read, and say which.")
    ] = False,
    mirror: Mirror = False,
    calibrated: Calibrated = False,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSize = 64,
) -> None:
    """Add images, each under its name as given. Killed or stopped, the same command goes on where it was.

    Before anything is embedded, names that are in the gallery for other images are refused, and images that are
    there with another camera, time or metadata.
    """
    naming = Naming(
        pattern=pattern,
        camera=camera,
        time=None if time is None else parse_moment(time),
        metadata=key_values(data),
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
        extractor = gallery_extractor(model, runtime, mirror=mirror, calibrated=calibrated)
    with Gallery.open(gallery, extractor=extractor) as opened:
        names = [] if embedded else [Path(str(image)) for image in walk(list(sources))]
        with progress_bar("adding", len(names)) as (progress, task):

            def advance(count: int) -> None:
                progress.advance(task, count)

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
def info(
    gallery: GalleryLocation,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Say what a gallery holds: items, cameras, times, slots, the model it belongs to."""
    with Gallery.open(gallery, create=False) as opened:
        facts = _facts(opened)
    if as_json:
        emit_json(facts)
        return
    rows = [(key, _plainly(value)) for key, value in facts.items() if value not in (None, [], {})]
    console.print(plain_table(without_secrets(gallery), ("", ""), rows))


def _facts(gallery: Gallery) -> dict[str, Any]:
    cameras, dated, header = gallery.read(
        lambda: (gallery.cameras(), gallery.count(DATED), gallery.store.header()),
    )
    times = [time for camera in cameras for time in (camera.first, camera.last) if time is not None]
    items = sum(camera.count for camera in cameras)
    return {
        "items": items,
        "slots": list(header.slots) if header else [],
        "width": header.width if header else None,
        "model": (header.model or None) if header else None,
        "cameras": {camera.camera or "unknown": camera.count for camera in cameras},
        "first": min(times).isoformat() if times else None,
        "last": max(times).isoformat() if times else None,
        "without a time": items - dated,
    }


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
