"""Figures: size, text that neither overlaps nor leaves the page, files, what is drawn, and messages."""

from __future__ import annotations

import errno
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_people import PARTS, person
from matplotlib.figure import Figure
from PIL import Image

from partreid.errors import DataError, ShapeError
from partreid.functional.ranking import evaluate_ranking
from partreid.parts import PART_SCHEMAS
from partreid.viz import (
    AttentionRow,
    RankedPicture,
    RankingRow,
    draw_attention,
    draw_cmc,
    draw_curves,
    draw_rankings,
    judge,
    overlay_heat,
    overlay_parts,
    paint_labels,
    part_colors,
    save_png,
    to_array,
)

SLOTS = ("foreground", *PARTS)


def ranked(seed: int, pid: int, **fields: Any) -> RankedPicture:
    image, attention, _ = person(seed, pid=pid)
    return RankedPicture(image, f"id {pid} · cam {seed % 6}", attention, np.ones(6), **fields)


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
    return [AttentionRow(im, at, at[1:].max(axis=(1, 2)) > 0.4, labels, "id 1 · cam 0") for im, at, labels in made]


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
    assert {"1 ✓  0.50", "2 ✗  1.50", "3 –  2.50", "5 ✗  ∞", "id 1 · cam 1", "Query"} <= shown
    assert {"foreground", "head", "feet", "✓ right person", "not visible in both, not compared"} <= shown


@pytest.mark.parametrize("schema", ["two_v", "eleven"])
@pytest.mark.parametrize("results", [1, 2])
def test_rankings_with_few_results_many_slots_and_long_names(schema: str, results: int) -> None:
    slots = PART_SCHEMAS[schema].slots
    image = person(0, pid=0)[0]
    attention = np.full((len(slots), 4, 2), 1 / len(slots))
    label = "a_very_long_picture_name_c3s1_012345.jpg"
    one = RankedPicture(image, label, attention, np.ones(len(slots)), 123.456, np.ones(len(slots)), "right")
    query = RankedPicture(image, label, attention, np.zeros(len(slots)))
    figure = draw_rankings([RankingRow(query, [one] * results)], slots, title="A title that is long " * 5)
    assert_text_is_legible(figure)


def test_rankings_without_attention_or_identity() -> None:
    bare = RankedPicture(np.zeros((80, 60, 3), np.uint8))
    assert to_array(draw_rankings([RankingRow(bare, [bare, bare])], SLOTS)).size
    assert to_array(draw_rankings([RankingRow(bare, [])], SLOTS)).size


def test_attention() -> None:
    figure = draw_attention(attention_rows(), PARTS, title="Part attention maps")
    assert to_array(figure).std() > 20
    assert_text_is_legible(figure)
    shown = {t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize"))}
    assert {"picture", "all parts", "foreground", *PARTS, "labels", "✓ part visible"} <= shown
    assert any(t.startswith("max 0.") and t.endswith("✗") for t in shown)


@pytest.mark.parametrize("schema", ["two_v", "eleven"])
def test_attention_without_visibility_or_labels(schema: str) -> None:
    parts = PART_SCHEMAS[schema].parts
    attention = np.full((len(parts) + 1, 6, 3), 1 / (len(parts) + 1))
    assert_text_is_legible(draw_attention([AttentionRow(person(0, pid=1)[0], attention)], parts))


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
    figure = draw_attention(attention_rows(), PARTS)
    path = save_png(figure, tmp_path / "new" / "figure.png")
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), to_array(figure))
    picture = person(0, pid=0)[0]
    with Image.open(save_png(picture, str(path))) as image:  # replaces the figure
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = person(0, pid=0)[0]
    path = save_png(picture, tmp_path / "figure.png")
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("partreid.viz.canvas.os.fsync", full)
    with pytest.raises(DataError, match=r"Cannot write .*figure\.png: No space left"):
        save_png(picture[:50], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_messages() -> None:
    image, attention, labels = person(0, pid=0)
    for call, message in [
        (lambda: draw_rankings([], SLOTS), "at least one query"),
        (lambda: draw_attention([], PARTS), "at least one picture"),
        (lambda: draw_curves({}), "at least one panel"),
        (lambda: draw_curves({"a": {"b": ([1], [1, 2])}}), "a, b: 1 steps but 2 values"),
        (lambda: draw_cmc({}), "at least one result"),
        (lambda: overlay_parts(image.astype(float), attention, PARTS), r"must be uint8 \[H, W, 3\], got float64"),
        (lambda: overlay_parts(image, attention[1:], PARTS), r"must be \[K\+1, h, w\] = \[6, h, w\], background first"),
        (lambda: overlay_parts(image, attention * 9, PARTS), r"must lie in \[0, 1\].*not the logits"),
        (lambda: overlay_parts(image, attention, PARTS, visibility=np.ones(2)), "one value per slot"),
        (lambda: overlay_heat(image, attention), r"A map must be \[h, w\]"),
        (lambda: paint_labels(image, labels, PARTS[:2]), r"values 0\.\.2, got .* values 0\.\.5"),
        (lambda: draw_attention([AttentionRow(image, attention, np.ones(2))], PARTS), "one value per part"),
        (lambda: draw_rankings([RankingRow(RankedPicture(image, slot_distances=np.ones(2)), [])], SLOTS), "per slot"),
        (lambda: save_png(attention, "unused.png"), "must be uint8"),
    ]:
        with pytest.raises(ShapeError, match=message):
            call()


def test_only_viz_loads_matplotlib() -> None:
    code = (
        "import sys, partreid, partreid.evaluation, partreid.retrieval, partreid.functional.ranking\n"
        "assert not [m for m in sys.modules if m.startswith('matplotlib')]\n"
        "import partreid.viz\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
