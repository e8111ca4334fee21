"""``partreid gallery``: backups, moved files, and other models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partreid import lifecycle, retrieval
from partreid.cli import options as opt
from partreid.cli.console import console, counted, errors, show_progress
from partreid.cli.gallery_upkeep import DryRun
from partreid.cli.models import chosen as chosen_model

SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Continue without missing image files. Otherwise they are an error.")
]


def backup(
    gallery: opt.Gallery,
    to: Annotated[Path, typer.Argument(metavar="BACKUP", help="Folder to write; it must not exist yet.")],
    model: opt.ModelOption = "",
    with_model: Annotated[bool, typer.Option("--with-model", help="Include the model.")] = False,
    with_images: Annotated[bool, typer.Option("--with-images", help="Include the items' image files.")] = False,
    skip_missing: SkipMissing = False,
    mirror: opt.Mirror = False,
    adaptation: opt.Adaptation = None,
) -> None:
    """Write a whole gallery of any store as a folder of checked files. Others may write to the gallery meanwhile.

    Every file is read again and gets a SHA-256. Only then does the folder appear.
    """
    from partreid.models.shipped import named_model, shipped_name
    from partreid.retrieval.how_compared import load_for_comparison

    with retrieval.Gallery.open(gallery, create=False) as opened:
        extractor = None
        if model or with_model or named_model(opened.model).startswith(f"{shipped_name()} ("):
            extractor, _ = load_for_comparison(
                chosen_model(model), runtime=opt.runtime_config("auto", "auto"), mirror=mirror, adaptation=adaptation
            )
        with show_progress("backing up", len(opened)) as advance:
            facts = lifecycle.backup_gallery(
                opened, to, extractor=extractor, with_model=with_model, with_images=with_images,
                skip_missing=skip_missing, advance=advance,
            )  # fmt: skip
    console.print(
        f"{counted(facts.items, 'item')} and {counted(facts.images, 'image')} in {to}, read again and complete.",
        soft_wrap=True,
    )
    if facts.images < facts.items and with_images:
        errors.print(f"{facts.items - facts.images} items have no image in the backup.")


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="Folder that `partreid gallery backup` wrote.")],
    to: Annotated[str, typer.Argument(metavar="GALLERY", help="A new folder, qdrant://… or postgres://…")],
    images_to: Annotated[
        Path | None, typer.Option("--images-to", help="Folder for the images of the backup; items will refer to it.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Check a backup, and restore it into a new gallery. If interrupted, the same command continues."""
    from partreid.lifecycle.backup_files import read_facts
    from partreid.retrieval.stores.addresses import without_secrets

    if dry_run:
        facts = lifecycle.verify_backup(source)
        console.print(
            f"{source} is complete: {counted(facts.items, 'item')} and {counted(facts.images, 'image')} "
            f"of {facts.time}.",
            soft_wrap=True,
        )
    else:
        with show_progress("restoring", read_facts(source).items) as advance:
            facts = lifecycle.restore_gallery(source, to, images_to=images_to, advance=advance)
        console.print(f"{counted(facts.items, 'item')} in {without_secrets(to)}.", soft_wrap=True)
    if facts.model.folder:
        console.print(f"Its model: --model {source / facts.model.folder}", soft_wrap=True)


def move_files(
    gallery: opt.Gallery,
    former: Annotated[Path, typer.Argument(metavar="OLD", help="Folder where the images were.")],
    folder: Annotated[Path, typer.Argument(metavar="NEW", help="Folder where they are now.")],
    skip_missing: SkipMissing = False,
    dry_run: DryRun = False,
) -> None:
    """Tell a gallery that its image files have moved. Ids do not change. If interrupted, the same command continues."""
    with retrieval.Gallery.open(gallery, create=False) as opened, show_progress("moving", len(opened)) as advance:
        done = lifecycle.move_files(opened, former, folder, skip_missing=skip_missing, dry_run=dry_run, advance=advance)
    for name in done.missing[:10]:
        errors.print(f"missing: {name}", soft_wrap=True)
    if len(done.missing) > 10:
        errors.print(f"and {len(done.missing) - 10} more.")
    what = "would refer" if dry_run else "refer"
    console.print(
        f"{done.moved} items {what} to the new folder. The files of {len(done.missing)} are missing, and those of "
        f"{done.elsewhere} are elsewhere.",
        soft_wrap=True,
    )


def re_embed(
    gallery: opt.Gallery,
    model: opt.ModelOption = "",
    target: Annotated[
        str, typer.Option("--target", help="Fill this new gallery, and do not change the former one.")
    ] = "",
    workplace: Annotated[
        Path | None,
        typer.Option("--workplace", help="Folder for the new embeddings until the end. Default: beside the gallery."),
    ] = None,
    skip_missing: SkipMissing = False,
    tracks_from_one_image: Annotated[
        bool,
        typer.Option("--tracks-from-one-image", help="Embed tracks too, from the one image that the gallery has."),
    ] = False,
    mirror: opt.Mirror = False,
    adaptation: opt.Adaptation = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
    batch_size: opt.BatchSize = 64,
) -> None:
    """Embed the items again with another model, from their images. If interrupted, the same command continues.

    The gallery uses the former embeddings until all new ones replace them in one step.
    """
    from partreid.retrieval.how_compared import load_for_comparison

    runtime = opt.runtime_config(device, precision, batch_size=batch_size)
    extractor, _ = load_for_comparison(chosen_model(model), runtime=runtime, mirror=mirror, adaptation=adaptation)
    with retrieval.Gallery.open(gallery, create=False) as opened:
        to = retrieval.Gallery.open(target, extractor=extractor) if target else None
        try:
            with show_progress("embedding", len(opened)) as advance:
                done = lifecycle.re_embed(
                    opened, extractor, target=to, workplace=workplace, skip_missing=skip_missing,
                    tracks_from_one_image=tracks_from_one_image, advance=advance,
                )  # fmt: skip
        finally:
            if to is not None:
                to.close()
    for name, reason in list(done.left_out.items())[:10]:
        errors.print(f"left out: {name}: {reason}", soft_wrap=True)
    if len(done.left_out) > 10:
        errors.print(f"and {len(done.left_out) - 10} more.")
    console.print(f"{counted(done.items, 'item')} embedded again, {len(done.left_out)} left out.")
    if not target:
        console.print(
            "Files still contain the former embeddings: `partreid gallery compact` removes them.", soft_wrap=True
        )
