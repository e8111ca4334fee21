"""Figures from arrays: rankings (Figures 3 and 4), attention (Figure 5), labels, curves.

Only this package imports matplotlib. It draws without a display and without matplotlib's global state.
"""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.viz.attention import AttentionRow, draw_attention
    from partreid.viz.canvas import save_png, to_array
    from partreid.viz.colors import part_colors
    from partreid.viz.curves import draw_cmc, draw_curves, draw_distances
    from partreid.viz.labels import LabelledImage, draw_label_sheet, label_strip
    from partreid.viz.overlay import overlay_heat, overlay_part_maps, overlay_parts, paint_labels
    from partreid.viz.rankings import RankedImage, RankingRow, draw_rankings, judge

__all__ = [
    "AttentionRow", "LabelledImage", "RankedImage", "RankingRow", "draw_attention", "draw_cmc", "draw_curves",
    "draw_distances", "draw_label_sheet", "draw_rankings", "judge", "label_strip", "overlay_heat",
    "overlay_part_maps", "overlay_parts", "paint_labels", "part_colors", "save_png", "to_array",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
