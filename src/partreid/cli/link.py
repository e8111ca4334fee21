"""``partreid link``: one name for a person across cameras and videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partreid import retrieval
from partreid.cli import options as opt
from partreid.cli.console import console, counted, errors, show_progress
from partreid.cli.models import chosen
from partreid.cli.open_set import Confidence, MaxFalse, RuleFile, asked_rule
from partreid.cli.shares import share
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid import MatchCalibration
    from partreid.linking import Corrections, Linked, LinkTracks, TravelTime
    from partreid.tracking import TrackBoxes

    Change = Callable[[Corrections], tuple[Corrections, Corrections]]

_FILES = (".safetensors", ".parquet")


def link(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="GALLERY | FILES...", help="A gallery, or files that `partreid tracks` wrote."),
    ],
    model: opt.ModelOption = "",
    max_wrong: Annotated[
        float,
        typer.Option(metavar="SHARE", parser=share, help="The largest expected share of wrong links among all links."),
    ] = 0.1,
    prior: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            parser=share,
            help="Fraction of all pairs of tracks that show one person. Default: estimated from the pairs.",
        ),
    ] = None,
    max_false: MaxFalse = None,
    confidence: Confidence = 0.95,
    rule: RuleFile = None,
    travel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FROM,TO,LEAST[,MOST] | FILE.csv",
            help="Seconds that people need from one camera to the other, in both directions. Repeatable; or a table "
            "with the columns from, to, least, most.",
        ),
    ] = None,
    same: Annotated[
        list[str] | None,
        typer.Option(metavar="TRACK,TRACK", help="Record that these two are one person. Repeatable."),
    ] = None,
    different: Annotated[
        list[str] | None,
        typer.Option(metavar="TRACK,TRACK", help="Record that these two are different persons. Repeatable."),
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="TRACK,TRACK", help="Remove the correction of these two. Repeatable."),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(help="File of the corrections. Default: corrections.json in the gallery's folder."),
    ] = None,
    who: Annotated[str, typer.Option(help="Author of the corrections, for that file.")] = "",
    known: Annotated[
        str, typer.Option(metavar="GALLERY", help="Another gallery, with people who have a name (metadata person).")
    ] = "",
    only_known: Annotated[
        bool, typer.Option("--only-known", help="Give unknown people no name, instead of p1, p2, ...")
    ] = False,
    boxes: Annotated[
        list[str] | None,
        typer.Option(metavar="VIDEO=TABLE", help="Boxes of a video's tracks. They give times, and --mot needs them."),
    ] = None,
    first_frame: Annotated[
        int | None, typer.Option(min=0, max=1, help="Number of the first frame in the tables of --boxes.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV table to write. Default for files: persons.csv.")
    ] = None,
    mot: Annotated[
        Path | None,
        typer.Option(help="Folder for a MOTChallenge file VIDEO.txt for each --boxes, with the numbers of persons."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change neither the gallery nor the corrections.")] = False,
    cameras: opt.Cameras = None,
    not_cameras: opt.NotCameras = None,
    since: opt.Since = None,
    until: opt.Until = None,
    where: opt.Where = None,
    not_where: opt.NotWhere = None,
    undated: opt.Undated = False,
    calibration: opt.Calibration = None,
) -> None:
    """Give all tracks of a person the same name, across cameras and videos.

    In a gallery the name becomes the metadata `person`, and `gallery search --where person=p7` searches only this
    person. Names that people gave (`gallery add --metadata person=anna`) stay, and new tracks of these people get
    them. Two tracks that one camera saw at the same time are never one person.
    """
    from partreid.linking import Corrections, LinkTracks, corrections_of
    from partreid.linking import link as link_tracks
    from partreid.linking.output import save_links, save_mot, save_persons

    tables = _tables(boxes, first_frame)
    if mot is not None and not tables:
        raise ConfigError("--mot writes the boxes of --boxes VIDEO=TABLE. Give --boxes too.")
    times, change = _travel_times(travel), _change(same, different, forget, who)
    curves, model = _calibration(calibration, model)
    asked = asked_rule(rule, model, curves, max_false=max_false, confidence=confidence)
    chosen_items = opt.gallery_filter(cameras, not_cameras, since, until, where, not_where, undated)
    opened = None if _are_files(sources) else retrieval.Gallery.open(sources[0], create=False)
    try:
        if opened is None:
            if chosen_items != retrieval.Filter():
                raise ConfigError(
                    "Files contain neither cameras nor times, so --camera, --since and similar options need a gallery."
                )
            tracks = LinkTracks.of_files(sources, tables)
        else:
            tracks = LinkTracks.of_gallery(opened, chosen_items)
            corrections = corrections or corrections_of(opened)
        if known:
            with retrieval.Gallery.open(known, create=False) as others:
                tracks = tracks.with_known(LinkTracks.of_gallery(others))
        if corrections is None and change is not None:
            raise ConfigError("There is no folder for the corrections. Give a file with --corrections.")
        said = before = Corrections() if corrections is None else Corrections.load(corrections)
        if change is not None:
            said, _ = change(before)
            _check_tracks(said, before, tracks)
        with show_progress("comparing", len(tracks)) as advance:
            found = link_tracks(
                tracks, curves, max_wrong=max_wrong, prior=prior, travel=times, corrections=said,
                only_known=only_known, rule=asked, advance=advance,
            )  # fmt: skip
        _tell(found)
        if not dry_run and corrections is not None and change is not None:
            Corrections.change(corrections, change)
        if opened is not None and not dry_run:
            console.print(f"{save_persons(opened, found)} items of the gallery changed.")
    finally:
        if opened is not None:
            opened.close()
    if out or opened is None:
        console.print(
            f"{save_links(out or Path('persons.csv'), found)}: {counted(len(found), 'track')}.", soft_wrap=True
        )
    for path in save_mot(mot, found, tables) if mot is not None else ():
        console.print(f"{path}: boxes with the persons' numbers.", soft_wrap=True)


def _tell(found: Linked) -> None:
    """Print the result and its notes."""
    for note in found.notes:
        errors.print(note, soft_wrap=True)
    sizes = found.sizes
    several = [size for size in sizes.values() if size > 1]
    nobody = len(found) - sum(sizes.values())
    said = (
        f"{counted(len(found), 'track')}, {counted(len(sizes), 'person')}, {len(several)} of them with several tracks"
    )
    console.print(said + (f"; {counted(nobody, 'track')} of unknown people." if nobody else "."), soft_wrap=True)
    if found.links:
        console.print(
            f"{found.links} links by appearance. {100 * found.expected_wrong:.1f} % of them are expected to be wrong; "
            f"the least probable one has a probability of {found.lowest:.2f}. An estimated {100 * found.prior:.2g} % "
            "of all pairs show one person.",
            soft_wrap=True,
        )


def _calibration(calibration: str | None, model: str) -> tuple[MatchCalibration, str]:
    """The calibration, and the model that it is looked for beside."""
    from partreid.models.shipped import SHIPPED
    from partreid.retrieval.how_compared import find_calibration

    model = model or (chosen("") if calibration in (None, "auto") else SHIPPED)
    found = find_calibration(calibration or "auto", model)
    assert found is not None
    return found, model


def _change(same: list[str] | None, different: list[str] | None, forget: list[str] | None, who: str) -> Change | None:
    """A function from the corrections before to those after this command; None if it makes none."""
    pairs = [_pairs(words) for words in (same, different)]
    gone = _pairs(forget)
    if not any((*pairs, gone)):
        return None

    def change(before: Corrections) -> tuple[Corrections, Corrections]:
        now = (before.without(gone) if gone else before).with_said(*pairs, who=who)
        return now, now

    return change


def _check_tracks(said: Corrections, before: Corrections, tracks: LinkTracks) -> None:
    """Check that the tracks of new corrections exist: a correction of a misspelt track would have no effect."""
    for one in {*said.said} - {*before.said}:
        for track in one.pair:
            if tracks.position(track) is None:
                raise ConfigError(f"There is no track {track!r} among the {len(tracks)} tracks to link.")


def _are_files(sources: list[str]) -> bool:
    files = [Path(one).suffix in _FILES or (Path(one) / "manifest.json").is_file() for one in sources]
    if not all(files) and len(sources) > 1:
        raise ConfigError(
            "Expected one gallery, or files that `partreid tracks` wrote; several galleries cannot be linked."
        )
    return all(files)


def _travel_times(words: list[str] | None) -> list[TravelTime]:
    from partreid.linking import TravelTime

    found: list[TravelTime] = []
    for word in words or ():
        found += TravelTime.read(word) if word.endswith(".csv") else [TravelTime.parse(word)]
    return found


def _pairs(words: list[str] | None) -> list[tuple[str, str]]:
    pairs = []
    for word in words or ():
        first, comma, second = word.partition(",")
        if not comma or not first or not second or "," in second:
            raise ConfigError(f"Expected two tracks, TRACK,TRACK, got {word!r}.")
        pairs.append((first, second))
    return pairs


def _tables(words: list[str] | None, first_frame: int | None) -> dict[str, TrackBoxes]:
    from partreid.tracking import read_boxes

    named = opt.key_values(words)
    if twice := [video for video, paths in named.items() if len(paths) > 1]:
        raise ConfigError(f"The video {twice[0]!r} has two tables in --boxes. Give one.")
    return {video: read_boxes(paths[0], first_frame=first_frame) for video, paths in named.items()}
