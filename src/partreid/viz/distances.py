"""Distances of images of one person and of different persons, as two histograms."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from partreid.evaluation.separation import DistanceDistribution
from partreid.viz.canvas import DPI, SCALE
from partreid.viz.colors import DIFFERENT, SAME
from partreid.viz.curves import dress


def draw_distances(distribution: DistanceDistribution, *, title: str = "", bins: int = 50) -> Figure:
    """Both histograms on one axis of distances, each as shares of its own comparable pairs: there are many more of two.

    Args:
        distribution: what was counted. title: a line above. bins: bars, at most about.

    Returns:
        A matplotlib figure.
    """
    figure = Figure(figsize=(3.6, 2.6), dpi=DPI * SCALE, layout="constrained")
    axes = figure.add_subplot()
    shown = distribution.coarse(bins)
    entries = []
    kinds = (("same person", shown.same, SAME), ("different persons", shown.different, DIFFERENT))
    for (name, counts, color), pairs, missing in zip(
        kinds, distribution.pairs, distribution.not_comparable, strict=True
    ):
        share = 100 * counts / max(1, counts.sum())
        axes.stairs(share, shown.edges, fill=True, color=color, alpha=0.35, lw=0)
        axes.stairs(share, shown.edges, color=color, lw=1.2)
        apart = f", {100 * missing / pairs:.1f} % not comparable" if missing else ""
        entries.append(Patch(facecolor=(*color, 0.35), edgecolor=color, label=f"{name}{apart}"))
    dress(axes, title, "distance", "share of comparable pairs (%)")
    axes.margins(x=0)
    if not (shown.same.any() or shown.different.any()):
        axes.set_xticks([])
        axes.text(0.5, 0.4, "no pair is comparable", ha="center", fontsize=8, transform=axes.transAxes)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)  # room for the legend
    axes.legend(handles=entries, fontsize=6.5, frameon=False, loc="upper left")
    return figure
