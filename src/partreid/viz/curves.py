"""Charts: training curves, CMC curves, and histograms of distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from partreid.errors import ShapeError
from partreid.evaluation.separation import DistanceDistribution
from partreid.types import EvaluationResult
from partreid.viz.canvas import DPI, SCALE, check_rows, check_size, one_line
from partreid.viz.colors import DIFFERENT, FAINT, INK, SAME, part_colors

_LONGEST = 60  # most characters of a name; a longer one leaves no space for the curves

Series = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
"""Steps, and the value at each."""


def draw_curves(
    panels: Mapping[str, Mapping[str, Series]], *, title: str = "", xlabel: str = "epoch", columns: int = 3
) -> Figure:
    """One panel per quantity, one line per series, for example the terms of the objective (Eq. 5) over training.

    Args:
        panels: panel title → series name → (steps, values). Values that are not finite leave a gap.
        title: a line above. xlabel: the unit of the steps. columns: number of panels side by side.

    Raises:
        ShapeError: no panel, or steps and values differ in number.
    """
    if not panels:
        raise ShapeError("Expected at least one panel of curves, got none.")
    check_size(columns)
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    figure = Figure(figsize=(3.6 * across, 2.7 * down + (0.4 if title else 0)), dpi=DPI * SCALE, layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.12, h_pad=0.08)
    if title:
        figure.suptitle(
            one_line(title, longest=2 * _LONGEST), fontsize=11, fontweight="bold", color=INK, parse_math=False
        )
    every = part_colors([f"series {i}" for i in range(max(len(series) for series in panels.values()))])
    for number, (name, series) in enumerate(panels.items()):
        axes = figure.add_subplot(down, across, number + 1)
        for color, (label, (steps, values)) in zip(every.values(), series.items(), strict=False):
            if len(steps) != len(values):
                raise ShapeError(f"{name}, {label}: {len(steps)} steps but {len(values)} values.")
            known = np.asarray(values, np.float64)
            finite = np.where(np.isfinite(known), known, np.nan)
            axes.plot(steps, finite, color=color, lw=1.6, label=_entry(label), marker="o" if len(steps) == 1 else None)
        _dress(axes, name, xlabel, "")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if len(series) > 1:
            _plain(axes.legend(fontsize=7, frameon=False))
    return figure


def draw_cmc(
    results: EvaluationResult | Mapping[str, EvaluationResult], *, max_rank: int = 20, title: str = "CMC"
) -> Figure:
    """CMC curves of several results, with Rank-1 and mAP in the legend.

    Args:
        results: one, or several by the names to show. max_rank: the last rank shown.

    Raises:
        ShapeError: no result, not an EvaluationResult, or ``max_rank`` is below 2.
    """
    if isinstance(results, EvaluationResult):
        results = {"": results}
    check_rows(list(results.values()) if isinstance(results, Mapping) else results, EvaluationResult)
    if max_rank < 2:
        raise ShapeError(f"Expected max_rank >= 2, got {max_rank}.")
    figure = Figure(figsize=(4.6, 3.4), dpi=DPI * SCALE, layout="constrained")
    axes = figure.add_subplot()
    colors = part_colors([f"series {i}" for i in range(len(results))])
    for color, (name, result) in zip(colors.values(), results.items(), strict=True):
        curve = 100 * np.asarray(result.cmc[:max_rank])
        label = f"{_entry(name)}  (Rank-1 {100 * result.rank(1):.1f}, mAP {100 * result.mean_ap:.1f})"
        axes.plot(np.arange(1, len(curve) + 1), curve, color=color, lw=1.8, marker="o", ms=3, label=label)
    _dress(axes, title, "rank", "queries with a match up to this rank (%)")
    axes.set_xlim(0.5, max_rank + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=2))
    axes.margins(y=0.08)
    _plain(axes.legend(fontsize=7.5, loc="lower right", frameon=True, edgecolor=FAINT))
    return figure


def draw_distances(distribution: DistanceDistribution, *, title: str = "", bins: int = 50) -> Figure:
    """Both histograms on one axis of distances. Each shows percentages of its own comparable pairs, because there are
    many more pairs of two persons.

    Args:
        distribution: the counts. title: a line above. bins: approximate largest number of bars.
    """
    figure = Figure(figsize=(3.6, 2.6), dpi=DPI * SCALE, layout="constrained")
    axes = figure.add_subplot()
    shown = distribution.coarse(bins)
    entries = []
    kinds = (("same person", shown.same, SAME), ("different persons", shown.different, DIFFERENT))
    for (name, counts, color), pairs, missing in zip(
        kinds, distribution.pairs, distribution.not_comparable, strict=True
    ):
        percent = 100 * counts / max(1, counts.sum())
        axes.stairs(percent, shown.edges, fill=True, color=color, alpha=0.35, lw=0)
        axes.stairs(percent, shown.edges, color=color, lw=1.2)
        apart = f", {100 * missing / pairs:.1f} % not comparable" if missing else ""
        entries.append(Patch(facecolor=(*color, 0.35), edgecolor=color, label=f"{name}{apart}"))
    _dress(axes, title, "distance", "comparable pairs (%)")
    axes.margins(x=0)
    if not (shown.same.any() or shown.different.any()):
        axes.set_xticks([])
        axes.text(0.5, 0.4, "no pair is comparable", ha="center", fontsize=8, transform=axes.transAxes)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)  # room for the legend
    axes.legend(handles=entries, fontsize=6.5, frameon=False, loc="upper left")
    return figure


def _entry(name: str) -> str:
    """A name for a legend. Matplotlib would leave out a name that begins with an underscore."""
    name = one_line(name, longest=_LONGEST)
    return f" {name}" if not name or name.startswith("_") else name


def _plain(legend: Legend) -> None:
    """A text in which dollar signs do not begin a formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def _dress(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Names, sizes and lines, the same on all charts."""
    axes.set_title(one_line(title, longest=_LONGEST), fontsize=9, color=INK, parse_math=False)
    axes.set_xlabel(one_line(xlabel, longest=_LONGEST), fontsize=8, parse_math=False)
    axes.set_ylabel(one_line(ylabel, longest=_LONGEST), fontsize=8, parse_math=False)
    axes.tick_params(labelsize=7)
    axes.grid(color=FAINT, lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
