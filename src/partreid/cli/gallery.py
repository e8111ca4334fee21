"""``partreid gallery``: keep people seen, and find them again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from partreid.cli.console import console, emit_json, errors, plain_table, progress_bar
from partreid.cli.gallery_search import search
from partreid.cli.options import (
    BatchSize,
    Cameras,
    Device,
    GalleryLocation,
    Mirror,
    ModelOption,
    NotCameras,
    NotWhere,
    PrecisionOption,
    Since,
    Until,
    Where,
    gallery_filter,
    key_values,
    runtime_config,
)
from partreid.cli.times import parse_moment
from partreid.errors import ConfigError, DataError
from partreid.inference.load import load_extractor
from partreid.inference.pictures import walk
from partreid.inference.storage import iter_embeddings
from partreid.retrieval.filling import Filled, Naming, add_embeddings, add_pictures
from partreid.retrieval.gallery import Gallery
from partreid.runtime import keep_freed_memory

app = typer.Typer(
    help="Galleries: keep people seen, with camera, time and anything else, and find them again.", no_args_is_help=True
)

_EMBEDDED = (".safetensors", ".parquet")


@app.command()
def add(
    gallery: GalleryLocation,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCES...", help="Pictures, folders of pictures, or what `partreid embed` wrote."),
    ],
    model: ModelOption = "",
    pattern: Annotated[
        str,
        typer.Option(
            help=r"Read fields from the names by a regular expression with named groups: "
            r"`(?P<track>\d+)_c(?P<camera>\d+)`. camera and time are known; others become metadata."
        ),
    ] = "",
    camera: Annotated[str | None, typer.Option(help="Camera of all pictures.")] = None,
    time: Annotated[str | None, typer.Option(help="When all were taken: 90m (ago), now, a date and time.")] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="KEY=VALUE", help="Metadata of all pictures. Repeatable.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Embed and replace what is there already.")] = False,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out pictures that cannot be read, and say which.")
    ] = False,
    mirror: Mirror = False,
    device: Device = "auto",
    precision: PrecisionOption = "auto",
    batch_size: BatchSize = 64,
) -> None:
    """Add pictures, each under its name as given. Killed or stopped, the same command goes on where it was."""
    naming = Naming(
        pattern=pattern,
        camera=camera,
        time=None if time is None else parse_moment(time),
        metadata=key_values(data),
        read_time=parse_moment,
    )
    embedded = [source for source in sources if source.suffix in _EMBEDDED or (source / "manifest.json").is_file()]
    if embedded and len(embedded) < len(sources):
        raise ConfigError("Give either pictures or files of embeddings, not both at once.")
    if not embedded and not model:
        raise ConfigError("Embedding pictures needs a model: --model RUN.")
    extractor = None
    keep_freed_memory()
    if model:
        extractor = load_extractor(model, runtime=runtime_config(device, precision, 0, batch_size), mirror=mirror)
    filled = []
    with Gallery.open(gallery, extractor=extractor) as opened:
        total = 0 if embedded else sum(1 for _ in walk(list(sources)))
        with progress_bar("adding", total) as (progress, task):

            def advance(count: int) -> None:
                progress.advance(task, count)

            for source in embedded:
                filled.append(add_embeddings(opened, iter_embeddings(source), naming, replace=replace, advance=advance))
            if extractor is not None and not embedded:
                pictures = (Path(str(picture)) for picture in walk(list(sources)))
                filled.append(
                    add_pictures(
                        opened, extractor, pictures, naming, replace=replace, skip_damaged=skip_damaged, advance=advance
                    )
                )
        _say(filled, opened)


def _say(filled: list[Filled], gallery: Gallery) -> None:
    for part in filled:
        for picture in part.skipped:
            errors.print(f"left out: {picture.reason}", markup=False, soft_wrap=True)
    added, known = sum(part.added for part in filled), sum(part.known for part in filled)
    skipped = sum(len(part.skipped) for part in filled)
    console.print(
        f"{added} added, {known} there already, {skipped} left out. The gallery holds {len(gallery)} items.",
        highlight=False,
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
    console.print(plain_table(str(gallery), ("", ""), rows))


def _facts(gallery: Gallery) -> dict[str, Any]:
    cameras = gallery.cameras()
    times = [time for camera in cameras for time in (camera.first, camera.last) if time is not None]
    header = gallery.store.header()
    return {
        "items": len(gallery),
        "slots": list(gallery.slots),
        "width": header.width if header else None,
        "model": gallery.model or None,
        "cameras": {camera.camera or "unknown": camera.count for camera in cameras},
        "first": min(times).isoformat() if times else None,
        "last": max(times).isoformat() if times else None,
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
            console.print(f"problem: {problem}", markup=False, soft_wrap=True)
        count = "no problem" if not problems else "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        console.print(f"{len(opened)} items, {count}.", highlight=False)
    raise typer.Exit(1 if problems else 0)


@app.command()
def delete(
    gallery: GalleryLocation,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Items to delete.")] = None,
    cameras: Cameras = None,
    not_cameras: NotCameras = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    not_where: NotWhere = None,
) -> None:
    """Delete items, by id or by conditions: `partreid gallery delete G --until 30d` forgets what is older."""
    chosen = gallery_filter(cameras, not_cameras, since, until, where, not_where)
    with Gallery.open(gallery, create=False) as opened:
        if ids:
            chosen = chosen.model_copy(update={"ids": tuple(ids)})
        elif not chosen.model_fields_set or chosen == type(chosen)():
            raise ConfigError("Say which items to delete: ids, or conditions such as --until 30d or --camera 3.")
        console.print(f"{opened.delete(where=chosen)} deleted, {len(opened)} left.", highlight=False)


@app.command()
def copy(
    gallery: GalleryLocation,
    to: Annotated[str, typer.Argument(help="Where to: a folder, qdrant://… or postgres://…")],
) -> None:
    """Copy all items into another gallery, on another kind of store too. Items that are there are replaced."""
    with Gallery.open(gallery, create=False) as source, Gallery.open(to) as target:
        if source.model and target.model and source.model != target.model:
            raise DataError(f"{to} was made by another model ({target.model}) than {gallery} ({source.model}).")
        with progress_bar("copying", len(source)) as (progress, task):
            for page in source.records():
                target.add_records(page, replace=True)
                progress.advance(task, len(page))
        console.print(f"{len(source)} copied. {to} holds {len(target)} items.", highlight=False, markup=False)
