"""Right arguments of figures and pages."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from partreid import viz
from partreid.evaluation.separation import DistanceDistribution
from partreid.parts import PART_SCHEMAS
from partreid.reports import blocks, html
from partreid.viz import canvas, colors, rankings
from tests.property.fuzz_types import evaluation
from tests.property.fuzzing import Target, fuzz

SLOTS = ("foreground", "head", "legs")
PARTS = SLOTS[1:]
IMAGE = np.full((16, 8, 3), 99, np.uint8)
ATTENTION = np.full((3, 4, 2), 1 / 3, np.float32)
MAPS = np.full((2, 5, 3), 0.5, np.float32)
LABELS = np.array([[0, 1], [2, 0]])

numbers = st.sampled_from([0.5, 0.0, 123.4, float("nan"), float("inf")])
names = st.sampled_from(["id 1", "", "[bold]", "<b>", "$x", "_a", "\ud800", "a\nb"])
images = st.builds(
    viz.RankedImage,
    image=st.just(IMAGE),
    label=names,
    attention=st.sampled_from([None, ATTENTION]),
    visibility=st.just(np.array([1.0, 0.0, 1.0])),
    distance=st.none() | numbers,
    slot_distances=st.none() | st.lists(numbers, min_size=3, max_size=3).map(np.array),
    verdict=st.sampled_from(["right", "wrong", "junk", None]),
    name=names,
)
rows = st.builds(
    viz.RankingRow, query=images, results=st.lists(images, max_size=2), title=names, farthest=numbers
)  # fmt: skip
attention_rows = st.builds(
    viz.AttentionRow, image=st.just(IMAGE), attention=st.sampled_from([None, ATTENTION]),
    visibility=st.sampled_from([None, np.array([1.0, 0.0])]), part_maps=st.sampled_from([None, MAPS]), label=names,
    name=names,
)  # fmt: skip
labelled = st.builds(
    viz.LabelledImage, image=st.sampled_from([None, IMAGE]), label=st.sampled_from([None, LABELS]), name=names,
    note=names,
)  # fmt: skip
distributions = st.builds(
    DistanceDistribution, edges=st.just(np.linspace(0, 4, 5)), same=st.just(np.array([0, 2, 1, 0])),
    different=st.just(np.array([0, 0, 3, 4])), not_comparable=st.just((1, 0)),
)  # fmt: skip
SERIES = {"loss": {"a": ([1, 2], [0.5, float("nan")]), "_b": ([1, 2], [1.0, 2.0])}}

TARGETS: tuple[Target, ...] = (
    fuzz(viz.draw_rankings, rows=st.lists(rows, min_size=1, max_size=1), slots=SLOTS, title=names, cell_width=60),
    fuzz(viz.draw_attention, rows=st.lists(attention_rows, min_size=1, max_size=1), slots=SLOTS, title=names,
         cell_width=60),
    fuzz(viz.draw_label_sheet, groups=st.dictionaries(names, st.lists(labelled, max_size=1), max_size=1),
         schema=PART_SCHEMAS["two_v"], title=names, panel_width=40, fixed=("schema",)),
    fuzz(viz.draw_cmc, results=st.dictionaries(names, st.builds(evaluation), min_size=1, max_size=1), max_rank=5,
         title=names),
    fuzz(viz.draw_curves, panels=SERIES, title=names, xlabel="epoch", columns=2),
    fuzz(viz.draw_distances, distribution=distributions, title=names, bins=3),
    fuzz(viz.label_strip, labelled=labelled, schema=PART_SCHEMAS["two_v"], fixed=("schema",)),
    fuzz(viz.overlay_parts, image=IMAGE, attention=ATTENTION, slots=SLOTS, visibility=np.ones(3)),
    fuzz(viz.overlay_part_maps, image=IMAGE, part_maps=MAPS, parts=PARTS),
    fuzz(viz.overlay_heat, image=IMAGE, values=MAPS[0]),
    fuzz(viz.paint_labels, image=IMAGE, label_map=LABELS, parts=PARTS),
    fuzz(viz.part_colors, slots=SLOTS),
    fuzz(viz.judge, query=(1, 2), found=(1, 3)),
    fuzz(blocks.ranking_block, row=rows, slots=SLOTS),
    fuzz(blocks.attention_block, row=attention_rows, slots=SLOTS),
    fuzz(blocks.slot_legend, slots=SLOTS),
    fuzz(colors.readable, slot="left_arm"),
    fuzz(html.paragraph, text=names),
    fuzz(html.table, columns=("a", "b"), rows=[("1", "2")], caption=names),
    fuzz(html.image, pixels=IMAGE, alt=names),
    fuzz(html.page, title=names, sections=[], lead=names),
    fuzz(canvas.one_line, text=names, longest=5),
    fuzz(rankings.number, distance=numbers),
)  # fmt: skip
