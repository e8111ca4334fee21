"""``partreid gallery``: keep people seen, and find them again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partreid import retrieval
from partreid.cli import options as opt
from partreid.cli.console import console, emit_json, errors, plain_table, say_warning, show_progress
from partreid.cli.found import print_found
from partreid.cli.models import chosen as chosen_model
from partreid.cli.open_set import Confidence, MaxFalse, RuleFile, asked_rule, warn_of
from partreid.errors import ConfigError, DataError

if TYPE_CHECKING:
    from partreid import Gallery, MatchCalibration, RuntimeConfig
    from partreid.retrieval import Deletion

app = typer.Typer(
    help="Galleries: keep people seen, with camera, time and anything else, and find them again.", no_args_is_help=True
)


@app.command()
def add(
    gallery: opt.Gallery,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCES...", help="Images, folders of images, or what `partreid embed` wrote."),
    ],
    model: opt.ModelOption = "",
    pattern: Annotated[
        str,
        typer.Option(
            help=r"Read fields from the names by a regular expression with named groups: "
            r"`(?P<track>\d+)_c(?P<camera>\d+)`. camera and time are known; others become metadata."
        ),
    ] = "",
    camera: opt.OneCamera = None,
    time: Annotated[str | None, typer.Option(help="When all were taken: 90m (ago), now, a date and time.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="What is known of all. Repeatable.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="What ids begin with, before the names: `site2/`.")] = "",
    replace: opt.Replace = False,
    skip_damaged: opt.SkipDamaged = False,
    mirror: opt.Mirror = False,
    calibration: opt.Calibration = None,
    adaptation: opt.Adaptation = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Add images, each under its name as given. Killed or stopped, the same command resumes.

    Before anything is embedded, names that are in the gallery for other images are refused, and images that are
    there with another camera, time or metadata.
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
        f"{filled.added} added, {filled.known} there already, {len(filled.skipped)} left out. The gallery holds "
        f"{held} items.",
        soft_wrap=True,
    )
    for given, name in list(filled.renamed.items())[:1]:
        said = f"{len(filled.renamed)} of these images have another id there: {given!r} is {name!r}."
        console.print(said, soft_wrap=True)


@app.command()
def search(
    gallery: opt.Gallery,
    images: Annotated[list[Path] | None, typer.Argument(help="Images to look for, or folders of them.")] = None,
    model: opt.ModelOption = "",
    like: Annotated[
        list[str] | None, typer.Option("--like", metavar="ID", help="Look for an item of the gallery. Repeatable.")
    ] = None,
    one_person: Annotated[
        bool, typer.Option("--one-person", help="All these show one person: search once, by what they show together.")
    ] = False,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="How many to find for each query.")] = 10,
    parts: Annotated[
        str, typer.Option(help="Compare these slots only, for example foreground,head,torso. All where empty.")
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
        typer.Option(help="How often the person is there at all, 0 to 1: for probabilities, and for wrong names."),
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
    """Find the people in images: distance, probability where the model is calibrated, and each part's distance.

    With --max-false it names somebody or says "nobody", and says which error that has.
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
        errors.print(f"{answer.undated} items have no time, and were not searched (--undated searches them too).")
    for one in answer.to_json():
        print_found(one, answer.found.slots)
    if answer.found.decision is not None:
        console.print(answer.found.decision.statement, soft_wrap=True)
    console.print(str(answer.how), style="dim", soft_wrap=True)


def open_to_search(
    location: str, model: str, calibration: str | None, *, runtime: RuntimeConfig, mirror: bool,
    adaptation: str | None = None,
) -> tuple[Gallery, MatchCalibration | None, str]:  # fmt: skip
    """A gallery with its model, the calibration to use, and why the one beside the model is not used.

    Raises:
        DataError: there is no gallery, it is another model's, or the calibration asks for another way of embedding.
    """
    from partreid.retrieval.how_compared import find_calibration, load_for_comparison
    from partreid.retrieval.lookup import calibration_beside

    known = find_calibration(calibration, model)
    extractor, _ = load_for_comparison(model, runtime=runtime, mirror=mirror, calibration=known, adaptation=adaptation)
    try:
        opened = retrieval.Gallery.open(location, extractor=extractor, create=False)
    except DataError:
        ways = [] if known is None else [*known.overrides, *(["mirror"] if known.mirror else [])]
        if not ways:
            raise
        with retrieval.Gallery.open(location, create=False) as found:
            raise DataError(
                f"The calibration is for images embedded with {', '.join(ways)} ({extractor.fingerprint}), "
                f"the gallery was made otherwise ({found.model or 'unknown'}). Make a calibration for the "
                "gallery's way with `partreid calibrate`, or leave --calibration away."
            ) from None
    known, problem = (known, "") if known else calibration_beside(model, opened)
    if problem:
        say_warning(problem)
    return opened, known, problem


@app.command()
def info(gallery: opt.Gallery, as_json: opt.AsJson = False) -> None:
    """Say what a gallery holds: items, cameras, times, slots, the model it belongs to."""
    from partreid.models.shipped import named_model
    from partreid.retrieval.stores.addresses import without_secrets

    with retrieval.Gallery.open(gallery, create=False) as opened:
        facts = retrieval.gallery_facts(opened)
    if as_json:
        emit_json(facts)
        return
    facts["model"] = named_model(facts["model"] or "")
    rows = [(key, _plainly(value)) for key, value in facts.items() if value not in (None, "", [], {})]
    console.print(plain_table(without_secrets(gallery), ("", ""), rows))


def _plainly(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {count}" for key, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@app.command()
def verify(gallery: opt.Gallery) -> None:
    """Read and check everything a gallery keeps. Exit status 0: all is well, 1: problems."""
    with retrieval.Gallery.open(gallery, create=False) as opened:
        problems = opened.verify()
        for problem in problems:
            console.print(f"problem: {problem}", soft_wrap=True)
        count = "no problem" if not problems else "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        console.print(f"{len(opened)} items, {count}.")
    raise typer.Exit(1 if problems else 0)


@app.command()
def delete(
    gallery: opt.Gallery,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Items to delete.")] = None,
    cameras: opt.Cameras = None,
    not_cameras: opt.NotCameras = None,
    since: opt.Since = None,
    until: opt.Until = None,
    where: opt.Where = None,
    not_where: opt.NotWhere = None,
    undated: opt.Undated = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for scripts.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
) -> None:
    """Delete items, by id or by conditions: `partreid gallery delete G --until 30d` forgets what is older.

    By conditions, how many there are, of which cameras and times, is shown and asked first. Items whose time nobody
    knows are not deleted by time, but with --undated.
    """
    chosen = opt.gallery_filter(cameras, not_cameras, since, until, where, not_where, undated)
    if undated and chosen.since is None and chosen.until is None:
        raise ConfigError("--undated goes with --since or --until.")
    with retrieval.Gallery.open(gallery, create=False) as opened:
        if ids:
            chosen = chosen.model_copy(update={"ids": retrieval.Filter.parse({"ids": ids}).ids})
            known = opened.known(ids)
            if missing := [repr(name) for name in dict.fromkeys(ids) if name not in known]:
                errors.print(f"Not in the gallery: {_few(missing)}.", soft_wrap=True)
        deletion = retrieval.preview_deletion(opened, chosen)
        if not ids or dry_run:
            _show(deletion)
        if deletion.undated:
            errors.print(
                f"{deletion.undated} more have no time, and stay (--undated deletes them too).", soft_wrap=True
            )
        if dry_run:
            console.print("Nothing was deleted.")
            return
        if deletion.count and not ids and not yes:
            _ask(deletion.count)
        console.print(f"{retrieval.carry_out(opened, deletion)} deleted, {len(opened)} left.")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _show(deletion: Deletion) -> None:
    """What is to be deleted: how many, the oldest and the newest, and the cameras."""
    said = f"{deletion.count} of {deletion.total} items meet the conditions."
    first, last = deletion.span
    if first is not None and last is not None:
        said += f" The oldest is of {_shown(first)}, the newest of {_shown(last)}."
    if names := [f"{one.camera or 'unknown'} ({one.count})" for one in deletion.cameras]:
        said += f" Cameras: {_few(names)}."
    console.print(said, soft_wrap=True)


def _ask(count: int) -> None:
    """Go on only if someone says so."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "Nothing was deleted: there is nobody to ask. Add --yes to delete without a question, or --dry-run to look "
            "only."
        )
    if not typer.confirm(f"Delete these {count} items for good?"):
        raise ConfigError("Nothing was deleted.")


def _shown(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S %z}" if 1 < time.year < 9999 else time.isoformat()


@app.command()
def copy(
    gallery: opt.Gallery,
    to: Annotated[str, typer.Argument(help="Where to: a folder, qdrant://… or postgres://…")],
    replace: opt.Replace = False,
) -> None:
    """Copy all items into another gallery, on another kind of store too. Stopped, the same command resumes.

    An id that stands there for another item is refused before anything is written, but with --replace.
    """
    from partreid.retrieval.stores.addresses import without_secrets

    with retrieval.Gallery.open(gallery, create=False) as source, retrieval.Gallery.open(to) as target:
        with show_progress("copying", len(source)) as advance:
            copied, there = retrieval.copy_gallery(source, target, replace=replace, advance=advance)
        shown = without_secrets(to)
        console.print(f"{copied} copied, {there} there already. {shown} holds {len(target)} items.")
