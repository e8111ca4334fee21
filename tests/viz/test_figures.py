"""Figures: size, text that neither overlaps nor leaves the page, files, what is drawn, and messages."""

from __future__ import annotations

import errno
import itertools
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_people import PARTS, person
from matplotlib.figure import Figure
from PIL import Image

from partreid.errors import DataError, ShapeError
from partreid.evaluation.separation import DistanceDistribution
from partreid.functional.ranking import evaluate_ranking
from partreid.labels.grouping import one_hot
from partreid.parts import PART_SCHEMAS
from partreid.reports.pages import rankings_page
from partreid.viz import (
    AttentionRow,
    RankedImage,
    RankingRow,
    draw_attention,
    draw_cmc,
    draw_curves,
    draw_distances,
    draw_rankings,
    judge,
    overlay_heat,
    overlay_part_maps,
    overlay_parts,
    paint_labels,
    part_colors,
    save_png,
    to_array,
)
from partreid.viz.attention import attention_cells
from partreid.viz.overlay import resize_map
from tests.pages import read_page

SLOTS = ("foreground", *PARTS)


def ranked(seed: int, pid: int, **fields: Any) -> RankedImage:
    image, attention, _ = person(seed, pid=pid)
    return RankedImage(image, f"id {pid} · cam {seed % 6}", attention, np.ones(6), **fields)


def rows(results: int = 3) -> list[RankingRow]:
    rng = np.random.default_rng(0)
    distances = rng.random(6)
    distances[2] = np.nan
    nothing = ranked(9, 3, distance=np.inf, slot_distances=np.full(6, np.nan), verdict="wrong")
    found = [
        ranked(i, i, distance=0.5 + i, slot_distances=distances, verdict=("right", "wrong", "junk", None)[i % 4])  # type: ignore[arg-type]
        for i in range(results - 1)
    ]
    return [RankingRow(ranked(i, i), [*found, nothing]) for i in range(2)]


def attention_rows() -> list[AttentionRow]:
    made = [person(i, pid=i, hide_legs=i == 1) for i in range(2)]
    return [
        AttentionRow(image, maps, maps[1:].max(axis=(1, 2)) > 0.4, one_hot(labels, 5), "id 1 · cam 0")
        for image, maps, labels in made
    ]


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text()]


def assert_text_is_legible(figure: Figure) -> None:
    """No line of text lies on another or leaves the page, and none is tiny."""
    pixels = to_array(figure)
    texts = [t for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text() and t.get_visible()]
    boxes = [t.get_window_extent() for t in texts]
    assert texts
    for text, box in zip(texts, boxes, strict=True):
        assert text.get_fontsize() >= 6, text
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= pixels.shape[1], text
        assert box.y1 <= pixels.shape[0], text
    for (a, box_a), (b, box_b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        assert not box_a.padded(-1).overlaps(box_b.padded(-1)), (a, b)


def test_rankings() -> None:
    figure = draw_rankings(rows(5), SLOTS, title="Occluded queries")
    pixels = to_array(figure)
    assert pixels.dtype == np.uint8
    assert pixels.shape[1] > pixels.shape[0] > 400
    assert pixels.std() > 20
    assert_text_is_legible(figure)
    shown = {t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize"))}
    assert {"1 ✓  0.50", "2 ✗  1.50", "–  2.50", "4 ✗  ∞", "id 1 · cam 1", "Query"} <= shown
    assert {"foreground", "head", "feet", "✓ right person", "not visible in both, not compared"} <= shown


@pytest.mark.parametrize("schema", ["two_v", "eleven"])
@pytest.mark.parametrize("results", [1, 2])
def test_rankings_with_few_results_many_slots_and_long_names(schema: str, results: int) -> None:
    slots = PART_SCHEMAS[schema].slots
    image = person(0, pid=0)[0]
    attention = np.full((len(slots), 4, 2), 1 / len(slots))
    label = "a_very_long_image_name_c3s1_012345.jpg"
    one = RankedImage(image, label, attention, np.ones(len(slots)), 123.456, np.ones(len(slots)), "right")
    query = RankedImage(image, label, attention, np.zeros(len(slots)))
    figure = draw_rankings([RankingRow(query, [one] * results)], slots, title="A title that is long " * 5)
    assert_text_is_legible(figure)


def test_rankings_without_attention_or_identity() -> None:
    bare = RankedImage(np.zeros((80, 60, 3), np.uint8))
    assert to_array(draw_rankings([RankingRow(bare, [bare, bare])], SLOTS)).size
    assert to_array(draw_rankings([RankingRow(bare, [])], SLOTS)).size


def test_attention() -> None:
    figure = draw_attention(attention_rows(), SLOTS, title="Part attention maps")
    assert to_array(figure).std() > 20
    assert_text_is_legible(figure)
    shown = {t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize"))}
    assert {"image", "all parts", "foreground", *PARTS, "label map Y", "✓ part visible"} <= shown
    assert any(t.startswith("max 0.") and t.endswith("✗") for t in shown)


@pytest.mark.parametrize("schema", ["two_v", "eleven"])
def test_attention_without_visibility_or_labels(schema: str) -> None:
    slots = PART_SCHEMAS[schema].slots
    attention = np.full((len(slots), 6, 3), 1 / len(slots))
    assert_text_is_legible(draw_attention([AttentionRow(person(0, pid=1)[0], attention)], slots))


def test_attention_of_models_without_foreground_or_parts() -> None:
    image = person(0, pid=1)[0]
    stripes = ("stripe_1", "stripe_2")
    attention = np.zeros((3, 4, 2))
    attention[1, :2], attention[2, 2:] = 1, 1
    shown = texts(draw_attention([AttentionRow(image, attention, np.ones(2))], stripes))
    assert {"stripe 1", "stripe 2"} <= set(shown)
    assert "foreground" not in shown
    nothing = draw_attention([AttentionRow(image, None, label="id 1")], ("global",))
    assert "This model has no attention maps." in texts(nothing)
    assert_text_is_legible(nothing)


def test_a_label_stands_below_the_attention_of_its_part() -> None:
    (row, _) = attention_rows()
    first, below = attention_cells(row, SLOTS, size=(64, 128))
    assert [cell.heading for cell in first] == ["image", "all parts", *SLOTS] == [cell.heading for cell in below]
    assert row.part_maps is not None
    assert [cell.lines for cell in below][:2] == [("label map Y",), ("label fields E",)]
    assert [cell.frame for cell in below] == [None] * len(below)
    assert [cell.swatch for cell in first] == [None, None, *part_colors(SLOTS).values()]
    for part, cell in zip(PARTS, below[3:], strict=True):
        np.testing.assert_array_equal(
            cell.image, overlay_heat(row.image, row.part_maps[PARTS.index(part)], grid="nodes")
        )
    alone = attention_cells(replace(row, part_maps=None), SLOTS, size=(64, 128))
    assert len(alone) == 1


def test_a_map_is_interpolated_within_its_values_or_drawn_as_its_cells() -> None:
    values = np.array([[0.9, 0.1], [0.2, 0.6], [0.0, 1.0]], np.float32)
    smooth, cells = resize_map(values, 96, 64), resize_map(values, 96, 64, smooth=False)
    np.testing.assert_array_equal(cells, values.repeat(32, axis=0).repeat(32, axis=1))
    assert len(np.unique(smooth)) > 100
    for i, j in np.ndindex(3, 2):
        assert abs(smooth[32 * i + 16, 32 * j + 16] - values[i, j]) < 0.05
    assert smooth.min() >= values.min()
    assert smooth.max() <= values.max()
    image = np.full((96, 64, 3), 100, np.uint8)
    blocks = overlay_heat(image, values, grid="cells")
    assert len(np.unique(blocks.reshape(-1, 3), axis=0)) == 6
    assert (overlay_heat(image, values) != blocks).any()


def test_ranks_leave_junk_out_and_a_row_may_have_its_own_slots() -> None:
    image = person(0, pid=0)[0]
    kinds = ("wrong", "junk", "right", "junk", "wrong")
    found = [
        RankedImage(image, distance=float(i), slot_distances=np.array([i]), verdict=v) for i, v in enumerate(kinds)
    ]  # type: ignore[arg-type]
    last = RankedImage(image, distance=9.0, slot_distances=np.array([np.nan]), verdict="right", rank=40)
    row = RankingRow(RankedImage(image, note="AP 20 %"), [*found, last], "by head", ("head",))
    assert row.ranks == [1, None, 2, None, 3, 40]
    assert row.longest == 4
    figure = draw_rankings([row, *rows(2)], SLOTS)
    shown = texts(figure)
    assert {"Query · by head", "1 ✗  0.00", "–  1.00", "2 ✓  2.00", "40 ✓  9.00", "AP 20 %", "full bar = 4.00"} <= set(
        shown
    )
    assert_text_is_legible(figure)
    legend = [text for text in shown if text in SLOTS]
    assert legend == list(SLOTS), "in the slots' order, each once"


def test_the_foreground_alone_is_drawn_as_a_part() -> None:
    image = np.full((32, 16, 3), 128, np.uint8)
    attention = np.stack([np.zeros((4, 2)), np.ones((4, 2))])
    assert (overlay_parts(image, attention, ("foreground",)) != 128).any()


def test_distances() -> None:
    found = DistanceDistribution(
        np.linspace(0, 4, 9), np.array([0, 0, 3, 1, 0, 0, 0, 0]), np.array([0, 0, 0, 1, 5, 2, 0, 0]), (1, 0)
    )
    figure = draw_distances(found, title="head · separation 80.0 %")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "distance"
    assert "%" in axes.get_ylabel()
    assert axes.get_xlim() == (1, 3)
    legend = axes.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["same person, 20.0 % not comparable", "different persons"]
    nothing = DistanceDistribution(np.linspace(0, 4, 9), np.zeros(8, int), np.zeros(8, int), (3, 4))
    assert "no pair is comparable" in texts(draw_distances(nothing))


def test_curves() -> None:
    steps = np.arange(1, 6)
    panels = {
        "objective": {"total": (steps, [5, 4, np.nan, 2, 1]), "parts": (steps, [2, 2, 1, 1, 1])},
        "learning rate": {"learning rate": (steps, steps * 1e-4)},
        "mAP": {"query": ([5], [0.5])},
        "rank-1": {"query": ([5], [0.6])},
    }
    figure = draw_curves(panels, title="Training")
    assert to_array(figure).std() > 10
    assert len(figure.axes) == 4
    scores = evaluate_ranking(np.array([[0.1, 0.2, 0.3], [0.3, 0.1, 0.2]]), [1, 1], [1, 2, 2])
    figure = draw_cmc({"foreground + parts": scores, "global": scores}, max_rank=10)
    assert to_array(figure).std() > 10
    (legend,) = [axes.get_legend() for axes in figure.axes]
    assert legend is not None
    assert legend.get_texts()[0].get_text() == "foreground + parts  (Rank-1 50.0, mAP 66.7)"
    assert any("(Rank-1 50.0, mAP 66.7)" in text for text in texts(draw_cmc(scores)))


def test_drawing_is_deterministic() -> None:
    once, again = (to_array(draw_rankings(rows(), SLOTS)) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_invisible_parts_are_not_drawn() -> None:
    image = np.full((32, 16, 3), 128, np.uint8)
    attention = np.zeros((3, 4, 2))
    attention[1, :2], attention[2, 2:] = 1, 1
    drawn = overlay_parts(image, attention, ("foreground", "head", "legs"), visibility=np.array([1, 1, 0]))
    assert (drawn[:12] != 128).any(axis=2).all()
    assert np.abs(drawn[20:].astype(int) - 128).max() <= 4  # all but the edge of the map above
    np.testing.assert_array_equal(overlay_parts(image, attention, ("head", "legs"), visibility=np.zeros(2)), image)


def test_heat_and_labels_lie_where_the_maps_say() -> None:
    image = np.full((32, 16, 3), 100, np.uint8)
    values = np.zeros((4, 2))
    values[0] = 1
    heat = overlay_heat(image, values).astype(int)
    assert np.ptp(heat[0, 0]) > 50
    assert np.ptp(heat[-1, 0]) == 0
    painted = paint_labels(image, np.array([[0, 1], [2, 0]]), ("head", "legs")).astype(int)
    assert np.ptp(painted[0, 0]) == np.ptp(painted[-1, -1]) == 0
    assert np.ptp(painted[0, -1]) > 50
    assert (painted[0, -1] != painted[-1, 0]).any()


@pytest.mark.parametrize("schema", sorted(PART_SCHEMAS))
def test_every_slot_of_a_schema_has_its_own_colour(schema: str) -> None:
    slots = PART_SCHEMAS[schema].slots
    assert len(set(part_colors(slots).values())) == len(slots)
    assert part_colors(slots)["foreground"] == part_colors(["x", "foreground"])["foreground"]
    assert len(part_colors([f"part{i}" for i in range(30)])) == 30


def test_verdicts_follow_the_protocol() -> None:
    assert judge((7, 0), (7, 1)) == judge((7, None), (7, None)) == "right"
    assert judge((7, 0), (7, 0)) == "junk"
    assert judge((7, 0), (0, 0)) == "wrong"


def test_saved_file_is_the_figure(tmp_path: Path) -> None:
    figure = draw_attention(attention_rows(), SLOTS)
    path = save_png(figure, tmp_path / "new" / "figure.png")
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), to_array(figure))
    picture = person(0, pid=0)[0]
    with Image.open(save_png(picture, str(path))) as image:  # replaces the figure
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = person(0, pid=0)[0]
    path = save_png(image, tmp_path / "figure.png")
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"Cannot write .*figure\.png: No space left"):
        save_png(image[:50], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_messages() -> None:
    image, attention, labels = person(0, pid=0)
    for call, message in [
        (lambda: draw_rankings([], SLOTS), "a list of one RankingRow or more, got list"),
        (lambda: draw_rankings(rows()[0], SLOTS), "a list of one RankingRow or more, got RankingRow"),
        (lambda: draw_rankings([image], SLOTS), "a list of one RankingRow or more"),
        (lambda: rankings_page([image], SLOTS), "a list of one RankingRow or more"),
        (lambda: draw_attention([], PARTS), "a list of one AttentionRow or more"),
        (lambda: draw_attention(image, PARTS), "a list of one AttentionRow or more, got ndarray"),
        (lambda: draw_rankings(rows(), ()), "one slot or more, each once"),
        (lambda: draw_rankings(rows(), (*SLOTS, "head")), "one slot or more, each once"),
        (lambda: rankings_page([replace(rows()[0], slots=())], SLOTS), "one slot or more, each once"),
        (lambda: draw_attention(attention_rows(), ()), "one slot or more, each once"),
        (lambda: draw_rankings(rows(), SLOTS, cell_width=0), "whole number from 1 to"),
        (lambda: draw_attention(attention_rows(), SLOTS, cell_width=-3), "whole number from 1 to"),
        (lambda: draw_curves({"a": {}}, columns=0), "whole number from 1 to"),
        (lambda: overlay_parts(image, attention * np.nan, PARTS), r"must lie in \[0, 1\]"),
        (lambda: overlay_parts(image, attention[:, :0], PARTS), r"must be \[K\+1, h, w\]"),
        (lambda: overlay_heat(image, np.full((4, 2), np.nan)), "finite"),
        (lambda: overlay_heat(image, np.zeros((0, 2))), "finite"),
        (lambda: overlay_part_maps(image, np.full((5, 4, 2), np.nan), PARTS), r"must lie in \[0, 1\]"),
        (lambda: overlay_part_maps(image, np.full((5, 4, 2), 7.0), PARTS), r"must lie in \[0, 1\], got 7\.\.7"),
        (lambda: overlay_part_maps(image, np.zeros((5, 0, 2)), PARTS), "must be .* numbers"),
        (lambda: paint_labels(image, np.full((4, 2), np.nan), PARTS), "whole numbers"),
        (lambda: paint_labels(image, np.zeros((0, 2), int), PARTS), "whole numbers"),
        (lambda: draw_curves({}), "at least one panel"),
        (lambda: draw_curves({"a": {"b": ([1], [1, 2])}}), "a, b: 1 steps but 2 values"),
        (lambda: draw_cmc({}), "one EvaluationResult or more"),
        (lambda: draw_cmc({"a": 0.5}), "one EvaluationResult or more"),
        (lambda: draw_cmc(0.5), "one EvaluationResult or more, got float"),
        (lambda: draw_cmc(evaluate_ranking(np.ones((1, 1)), [1], [1]), max_rank=1), "max_rank >= 2"),
        (lambda: overlay_parts(image.astype(float), attention, PARTS), r"must be uint8 \[H, W, 3\], got float64"),
        (lambda: overlay_parts(image, attention[1:], PARTS), r"must be \[K\+1, h, w\] = \[6, h, w\], background first"),
        (lambda: overlay_parts(image, attention * 9, PARTS), r"must lie in \[0, 1\].*not the logits"),
        (lambda: overlay_parts(image, attention, PARTS, visibility=np.ones(2)), "one value per slot"),
        (lambda: overlay_heat(image, attention), r"A map must be \[h, w\]"),
        (lambda: paint_labels(image, labels, PARTS[:2]), r"values 0\.\.2, got .* values 0\.\.5"),
        (lambda: draw_attention([AttentionRow(image, attention, np.ones(2))], PARTS), "one value per part"),
        (lambda: draw_rankings([RankingRow(RankedImage(image, slot_distances=np.ones(2)), [])], SLOTS), "per slot"),
        (lambda: save_png(attention, "unused.png"), "must be uint8"),
    ]:
        with pytest.raises(ShapeError, match=message):
            call()


HOSTILE = ("<b>$x</b>", "_hidden", "$\\\\frac{", "a\nb\x00", "\ud800", "[bold]red", "x" * 300, "ä🙂", "")


@pytest.mark.filterwarnings("ignore:Glyph")  # the font has no such sign
@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_drawn_as_they_are(name: str) -> None:
    """Formulas, markup, line breaks and bytes that are no text; matplotlib leaves out entries that begin with _."""
    scores = evaluate_ranking(np.array([[0.1, 0.2]]), [1], [1, 2])
    cmc = draw_cmc({name: scores, f"{name}2": scores}, title=name)
    curves = draw_curves({name: {name: ([1, 2], [1, 2]), "other": ([1, 2], [2, 1])}}, title=name, xlabel=name)
    empty = DistanceDistribution(np.linspace(0, 4, 9), np.zeros(8, int), np.zeros(8, int), (3, 4))
    image = person(0, pid=0)[0]
    picture = RankedImage(image, name, None, np.ones(1), 1.0, np.ones(1), "right", note=name, name=name)
    ranking = draw_rankings([RankingRow(picture, [picture], name)], (name,), title=name)
    attention = draw_attention(
        [AttentionRow(image, np.full((2, 4, 2), 0.5), np.ones(1), label=name)], (name,), title=name
    )
    for figure in (cmc, curves, draw_distances(empty, title=name), ranking, attention):
        assert to_array(figure).size
    for figure in (cmc, curves):
        (legend,) = [axes.get_legend() for axes in figure.axes]
        assert legend is not None
        assert len(legend.get_texts()) == 2
    shown = rankings_page([RankingRow(picture, [picture], name)], (name,), title=name)
    read_page(shown.encode(errors="replace").decode())


def test_what_is_no_distance_has_a_cross_and_no_bar() -> None:
    image = person(0, pid=0)[0]
    slots = ("head", "torso", "legs", "feet")
    found = np.array([np.nan, np.inf, -np.inf, 2.0])
    odd = [RankedImage(image, "id 1", None, np.ones(4), d, found) for d in (np.nan, np.inf, 1.0, None)]
    row = RankingRow(RankedImage(image, "id 1", None, np.full(4, np.nan)), odd, farthest=np.inf)
    assert row.longest == 2
    shown = texts(draw_rankings([row], slots))
    assert {"1  –", "2  ∞", "3  1.00", "4", "full bar = 2.00"} <= set(shown)
    page = read_page(rankings_page([row], slots))
    titles = [bar.get("title") for bar in page.all("i")]
    assert titles.count("head: not visible in both") == titles.count("torso: not visible in both") == 4
    assert not re.search(r"\b(nan|inf)\b", page.text)
    nothing = RankingRow(row.query, [RankedImage(image, slot_distances=np.full(4, np.nan))], farthest=5.0)
    assert nothing.longest == 0
    assert "full bar" not in " ".join(texts(draw_rankings([nothing], slots)))


def test_bars_end_where_the_farthest_image_lies() -> None:
    """One result alone filled its bars, however near it was."""
    image = person(0, pid=0)[0]
    near = RankedImage(image, "id 1", None, np.ones(2), 0.1, np.array([0.1, 0.0]))
    row = RankingRow(RankedImage(image), [near], farthest=10.0)
    assert row.longest == 10
    page = rankings_page([row], ("head", "torso"))
    assert re.findall(r'<i style="height:(\d+)%">', page) == ["1", "0"]
    assert replace(row, farthest=0.01).longest == 0.1


def test_only_viz_loads_matplotlib() -> None:
    code = (
        "import sys, partreid, partreid.evaluation, partreid.retrieval, partreid.functional.ranking\n"
        "assert not [m for m in sys.modules if m.startswith('matplotlib')]\n"
        "import partreid.viz.canvas\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
