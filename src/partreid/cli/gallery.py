"""``partreid gallery``: store people that cameras saw, and find them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partreid import retrieval
from partreid.cli import options as opt
from partreid.cli.console import console, counted, emit_json, errors, show_progress
from partreid.cli.gallery_backup import backup, move_files, re_embed, restore
from partreid.cli.gallery_upkeep import compact, copy, delete, erase, expire, info, verify
from partreid.cli.models import chosen as chosen_model
from partreid.cli.open_set import Confidence, MaxFalse, RuleFile, asked_rule, warn_of
from partreid.cli.searching import open_to_search, print_found
from partreid.cli.shares import share
from partreid.errors import ConfigError

if TYPE_CHECKING:
    pass

app = typer.Typer(
    help="Galleries: store images of people with camera, time and metadata, and find the people again.",
    no_args_is_help=True,
)


@app.command()
def add(
    gallery: opt.Gallery,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCES...", help="Images, folders of images, or files that `partreid embed` wrote."),
    ],
    model: opt.ModelOption = "",
    pattern: Annotated[
        str,
        typer.Option(
            help=r"Read fields from the file names by a regular expression with named groups: "
            r"`(?P<track>\d+)_c(?P<camera>\d+)`. The groups camera and time set camera and time; others set metadata."
        ),
    ] = "",
    camera: opt.OneCamera = None,
    time: Annotated[str | None, typer.Option(help="Time of all images: 90m (ago), now, or a date and time.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Metadata of all images. Repeatable.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Text before the names in the ids, e.g. `site2/`.")] = "",
    replace: opt.Replace = False,
    skip_damaged: opt.SkipDamaged = False,
    mirror: opt.Mirror = False,
    calibration: opt.Calibration = None,
    adaptation: opt.Adaptation = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Add images. The id of an image is its name as given. If interrupted, the same command continues.

    A name that the gallery uses for another image is refused, and so is an image that the gallery has with another
    camera, time or metadata. This is checked before anything is embedded.
    """
    from partreid.inference.inputs import walk
    from partreid.retrieval.how_compared import load_for_comparison
    from partreid.runtime import keep_freed_memory
    from partreid.types.moments import parse_moment

    naming = retrieval.Naming(
        pattern=pattern,
        camera=camera,
        time=None if time is None else parse_moment(time),
        metadata={key: values[-1] for key, values in opt.key_values(metadata).items()},
        prefix=prefix,
    )
    files = [one for one in sources if one.suffix in (".safetensors", ".parquet") or (one / "manifest.json").is_file()]
    if files and len(files) < len(sources):
        raise ConfigError("Give either images or files of embeddings, not both at once.")
    extractor = None
    keep_freed_memory()
    if model or not files:
        runtime = opt.runtime_config(device, precision, batch_size=batch_size)
        extractor, _ = load_for_comparison(
            chosen_model(model), runtime=runtime, mirror=mirror, calibration=calibration, adaptation=adaptation
        )
    with retrieval.Gallery.open(gallery, extractor=extractor) as opened:
        names = [] if files else [Path(str(image)) for image in walk(list(sources))]
        with show_progress("adding", len(names)) as advance:
            if extractor is None or files:
                filled = retrieval.add_files(opened, files, naming, replace=replace, advance=advance)
            else:
                filled = retrieval.add_images(
                    opened, extractor, names, naming, replace=replace, skip_damaged=skip_damaged, advance=advance
                )
        held = len(opened)
    for image in filled.skipped:
        errors.print(f"left out: {image.reason}", soft_wrap=True)
    console.print(
        f"{filled.added} added, {filled.known} there already, {len(filled.skipped)} left out. The gallery has "
        f"{counted(held, 'item')}.",
        soft_wrap=True,
    )
    for given, name in list(filled.renamed.items())[:1]:
        said = f"{len(filled.renamed)} of these images have another id there: {given!r} is {name!r}."
        console.print(said, soft_wrap=True)


@app.command()
def search(
    gallery: opt.Gallery,
    images: Annotated[list[Path] | None, typer.Argument(help="Query images, or folders of them.")] = None,
    model: opt.ModelOption = "",
    like: Annotated[
        list[str] | None, typer.Option("--like", metavar="ID", help="Use this item as a query. Repeatable.")
    ] = None,
    one_person: Annotated[
        bool, typer.Option("--one-person", help="All queries show one person: merge them, and search once.")
    ] = False,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of results per query.")] = 10,
    parts: Annotated[
        str, typer.Option(help="Compare only these slots, for example foreground,head,torso. Default: all.")
    ] = "",
    cameras: opt.Cameras = None,
    not_cameras: opt.NotCameras = None,
    since: opt.Since = None,
    until: opt.Until = None,
    where: opt.Where = None,
    not_where: opt.NotWhere = None,
    undated: opt.Undated = False,
    max_false: MaxFalse = None,
    confidence: Confidence = 0.95,
    prior: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            parser=share,
            help="Share of searches whose person is in the gallery, e.g. 30%. Used for probabilities and wrong names.",
        ),
    ] = None,
    rule: RuleFile = None,
    as_json: opt.AsJson = False,
    mirror: opt.Mirror = False,
    calibration: opt.Calibration = None,
    adaptation: opt.Adaptation = None,
    camera_from: opt.CameraFrom = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
) -> None:
    """Find the people of images in a gallery, with distances, also of each part, and probabilities if calibrated.

    With --max-false the answer is one item or "nobody", together with a bound on wrong answers.
    """
    chosen = opt.gallery_filter(cameras, not_cameras, since, until, where, not_where, undated)
    if model or images or max_false is not None:
        model = chosen_model(model)
        runtime = opt.runtime_config(device, precision)
        opened, known, _ = open_to_search(
            gallery, model, calibration, runtime=runtime, mirror=mirror, adaptation=adaptation
        )
    else:
        opened, known = retrieval.Gallery.open(gallery, create=False), None
    with opened:
        named = asked_rule(rule, model, known, max_false=max_false, confidence=confidence, prior=prior)
        answer = retrieval.look_up(
            opened, images or (), like=like or (), one_person=one_person, k=k,
            parts=parts.replace(" ", "").split(",") if parts else (), where=chosen, calibration=known,
            cameras=opt.cameras_of(camera_from), rule=named, prior=prior,
        )  # fmt: skip
    if answer.found.decision is not None:
        warn_of(answer.found.decision)
    if as_json:
        emit_json(answer.to_json())
        return
    if answer.undated:
        errors.print(f"{answer.undated} items have no time, and were not searched (--undated includes them).")
    for one in answer.to_json():
        print_found(one, answer.found.slots)
    if answer.found.decision is not None:
        console.print(answer.found.decision.statement, soft_wrap=True)
    console.print(str(answer.how), style="dim", soft_wrap=True)


for _function in (
    info, verify, delete, copy, expire, erase, compact, backup, restore, move_files, re_embed
):  # fmt: skip
    app.command()(_function)
