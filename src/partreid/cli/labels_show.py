"""``partreid labels show``: labels over their images, and the bad ones by reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partreid.cli.console import console, plain_table, show_progress
from partreid.cli.options import Data, Labels, Schema
from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.labels.locate import AUTO
from partreid.labels.quality import REASONS

if TYPE_CHECKING:
    from partreid.reports.label_report import LabelReport


def show(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")],
    split: Annotated[str, typer.Option(help="train, gallery, or a query set's name.")] = "train",
    labels: Labels = AUTO,
    schema: Schema = "five",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="A node where no part reaches it is background (λ_r, Eq. 10).")
    ] = LABEL_THRESHOLD,
    count: Annotated[int, typer.Option(min=1, help="Images on the contact sheet, evenly chosen.")] = 24,
    worst: Annotated[int, typer.Option(min=1, help="Bad labels to draw for each reason.")] = 8,
) -> None:
    """Draw labels over their images, and find the bad ones.

    Reads every label of the split. Writes OUT/labels.html, one page with everything, which any browser opens; its
    images alone as sheet.png and worst.png; and worst.csv, which lists every bad label.
    """
    from partreid.reports.label_report import review_labels

    report = review_labels(
        data, split=split, labels=labels, schema=schema, threshold=threshold, count=count, worst=worst, out=out,
        progress=show_progress,
    )  # fmt: skip
    _print_summary(report, out)


def _print_summary(report: LabelReport, out: Path) -> None:
    from partreid.reports.label_report import PAGE, SHEET, TABLE, WORST

    rows = [
        (REASONS[reason].title, str(len(found)), f"{100 * len(found) / len(report.ratings):.1f}")
        for reason, found in report.worst.items()
    ]
    console.print(report.title, soft_wrap=True, highlight=False, markup=False)
    console.print(plain_table("", ("worth a look", "labels", "%"), rows or [("nothing", "0", "0.0")]))
    for name, what in (
        (PAGE, "all of it; open it in a browser"),
        (SHEET, f"{len(report.chosen)} labels, evenly chosen"),
        (WORST, "the worst for each reason"),
        (TABLE, "every bad label"),
    ):
        console.print(f"  {out / name}  {what}", soft_wrap=True, highlight=False, markup=False)
