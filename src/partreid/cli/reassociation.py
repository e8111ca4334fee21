"""``partreid evaluate --reassociation``: its options, and the table that it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from partreid.cli.console import console, plain_table, show_progress
from partreid.errors import ConfigError

if TYPE_CHECKING:
    from partreid.evaluation import Reassociation

Sequences = Annotated[
    Path | None,
    typer.Option(
        "--reassociation",
        metavar="FOLDER",
        help="Folder of sequences in MOTChallenge's layout, with gt/gt.txt. Measures whether a person is found again "
        "some frames later among the people in that frame. Works with or without data sets.",
    ),
]
Gaps = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...", help="With --reassociation: frames, or seconds (0.5s,2s). Default: 1,10,30,100 frames."
    ),
]
Levels = Annotated[
    str | None,
    typer.Option(
        metavar="V,V,...", help="With --reassociation: borders between levels of visibility. Default: 0.3,0.6,0.8."
    ),
]
VisibilityOf = Annotated[
    Literal["query", "target", "lower"] | None,
    typer.Option(help="With --reassociation: the box whose visibility decides the level. Default: the lower of both."),
]
Every = Annotated[
    int | None, typer.Option(min=1, help="With --reassociation: use only boxes of every n-th frame as queries.")
]
SkipDamaged = Annotated[
    bool, typer.Option("--skip-damaged", help="With --reassociation: leave out damaged frames and wrong boxes.")
]


def asked(**options: object) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def refuse_idle(sequences: Path | None, options: dict[str, Any], *, of_retrieval: object, retrieval: object) -> None:
    """Refuse options that change nothing.

    Raises:
        ConfigError: options of this protocol without sequences, or of retrieval without a data set.
    """
    if sequences is None and options:
        raise ConfigError(
            "--gaps, --levels, --visibility-of, --every and --skip-damaged are for sequences. Add --reassociation "
            "FOLDER."
        )
    if sequences is not None and of_retrieval and not retrieval:
        raise ConfigError("--limit-ids, --query and --rerank are for data sets. Name a data set too.")


def reassociate_and_print(
    model: str,
    folder: Path,
    out: Path | None,
    *,
    bootstrap: int,
    gaps: str = "1,10,30,100",
    levels: str = "0.3,0.6,0.8",
    by: Literal["query", "target", "lower"] = "lower",
    every: int = 1,
    skip_damaged: bool = False,
    **how: Any,
) -> None:
    """:func:`partreid.reports.evaluate_reassociation`; its table, and how boxes were compared, are printed."""
    from partreid.cli.tracks import _say_left_out
    from partreid.evaluation.reassociation import check_levels
    from partreid.reports import evaluate_reassociation

    left_out: list[str] = []
    borders = check_levels(levels.split(","))  # type: ignore[arg-type]  # it takes what float takes
    evaluated = evaluate_reassociation(
        model, folder, gaps=gaps.split(","), levels=borders, every=every, out=out,
        on_error=left_out.append if skip_damaged else None, progress=show_progress, **how,
    )  # fmt: skip
    _say_left_out(left_out, set())
    found = evaluated.found
    console.print(_table(found, by, borders, bootstrap))
    for gap, alone in zip(found.gaps, found.alone, strict=True):
        if alone:
            console.print(f"Gap {gap}: {alone} queries left out, because the person was alone then.", style="dim")
    console.print(str(evaluated.how), style="dim")
    if out is not None:
        console.print(f"Results by the visibility of query, target, and the lower one: {out / 'reassociation.csv'}")


def _table(
    found: Reassociation, by: Literal["query", "target", "lower"], levels: tuple[float, ...], bootstrap: int
) -> Table:
    """A line for each gap and level, with rank-1, margin and share not comparable for each way of comparing."""
    rows = found.rows(by=by, levels=levels, bootstrap=bootstrap)
    by_cell = {(row.gap, row.level, row.way): row for row in rows}
    first, *others = found.ways
    gains = {way: found.differences(way, first, by=by, levels=levels, bootstrap=max(bootstrap, 1)) for way in others}
    apart = any(row.not_comparable for row in rows)
    lines = []
    for gap, level in dict.fromkeys((row.gap, row.level) for row in rows):
        of_way = [by_cell[gap, level, way] for way in found.ways]
        line = [gap, level, str(of_way[0].queries), str(of_way[0].persons), f"{100 * of_way[0].chance:.1f}"]
        for row in of_way:
            shown = f"{100 * row.rank1:.1f}"
            if "rank1" in row.confidence:
                low, high = row.confidence["rank1"]
                shown += f" [{100 * low:.1f}, {100 * high:.1f}]"
            margin = "-" if row.margin is None else f"{row.margin:+.3f}"
            line.append(f"{shown} · {margin}{f' · {100 * row.not_comparable:.1f}' * apart}")
        for way in others:
            if (gain := gains[way].get((gap, level))) is None:
                line.append("-")
                continue
            interval = f" [{100 * gain.interval.low:+.1f}, {100 * gain.interval.high:+.1f}]" if bootstrap else ""
            line.append(f"{100 * gain.mean:+.1f}{interval}")
        lines.append(line)
    title = f"Found again, by the visibility of {by}: rank-1 % · margin{' · not comparable %' * apart}"
    gained = [f"{first} - {way}" for way in others]
    return plain_table(title, ["gap", "visible", "queries", "people", "chance", *found.ways, *gained], lines)
