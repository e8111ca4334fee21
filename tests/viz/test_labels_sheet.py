"""Labels over images: colours lie where the nodes are, absent things are crossed out, the page is self-contained."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from test_figures import assert_text_is_legible

from partreid.errors import LabelError, ShapeError
from partreid.labels.quality import LabelRating, rate_part_maps, worst_first
from partreid.parts import PART_SCHEMAS, PartSchema, get_part_schema
from partreid.reports.label_report import LabelReport
from partreid.viz import paint_labels, part_colors, to_array
from partreid.viz.labels import PANEL_HEIGHT, LabelledImage, draw_label_sheet, label_strip
from partreid.viz.overlay import overlay_part_maps, sample_nodes

FIVE = get_part_schema("five")
GREY = np.full((128, 64, 3), 120, np.uint8)
NOSE, ANKLE = 0, 15


def fields(*peaks: tuple[int, int, int, float]) -> np.ndarray:
    """Pose fields [36, 17, 9] with single values at (channel, i, j)."""
    result = np.zeros((36, 17, 9), np.float32)
    for channel, i, j, value in peaks:
        result[channel, i, j] = value
    return result


@pytest.mark.parametrize("node", [(0, 0), (16, 8), (5, 3), (1, 7)])
def test_a_node_lies_on_its_pixel(node: tuple[int, int]) -> None:
    """Node (i, j) at pixel (i·H/(h-1), j·W/(w-1)): inner nodes amid their colour, outer ones at the edge."""
    label = np.zeros((17, 9), np.int64)
    label[node] = 1
    painted = paint_labels(GREY, label, FIVE.parts).astype(int)
    rows, columns = np.nonzero(np.ptp(painted, axis=2) > 20)
    for positions, index, pixels, nodes in ((rows, node[0], 128, 17), (columns, node[1], 64, 9)):
        at = index * pixels / (nodes - 1)
        assert positions.min() == max(0, at - 4)
        assert positions.max() + 1 == min(pixels, at + 4)


def test_part_maps_are_strongest_at_their_node_and_bilinear_between() -> None:
    values = np.zeros((1, 17, 9), np.float32)
    values[0, 5, 3] = 1
    shown = sample_nodes(values, 128, 64)[0]
    # Pixel middles lie half a pixel from node (5, 3), which is at (40, 24); pitch 8.
    np.testing.assert_allclose(shown[39:41, 23:25], (1 - 0.5 / 8) ** 2)
    assert shown[36, 23] == pytest.approx((1 - 3.5 / 8) * (1 - 0.5 / 8))
    assert not shown[:32].any()
    assert not shown[48:].any()
    np.testing.assert_array_equal(sample_nodes(np.ones((2, 1, 1)), 4, 3), np.ones((2, 4, 3)))


def test_part_maps_carry_their_colour_as_strongly_as_their_value() -> None:
    maps = np.zeros((5, 17, 9), np.float32)
    maps[0, :8], maps[3, 8:] = 1, 0.4
    drawn = overlay_part_maps(GREY, maps, FIVE.parts)
    colors = part_colors(FIVE.parts)
    for row, part, alpha in ((10, "head", 0.75), (120, "legs", 0.3)):
        expected = 255 * np.array(colors[part]) * alpha + 120 * (1 - alpha)
        np.testing.assert_allclose(drawn[row, 30], expected, atol=1)


def test_a_strip_shows_image_fields_and_label_map() -> None:
    strip = label_strip(LabelledImage(GREY, fields((NOSE, 4, 4, 1.0), (ANKLE, 12, 2, 0.3))), FIVE)
    assert strip.shape[0] == PANEL_HEIGHT
    image, shown, painted = (strip[:, x : x + 128].astype(int) for x in (0, 134, 268))
    assert (image == 120).all()
    assert (shown[64, 64] == 255).all()  # the nose reaches the threshold: a filled dot
    assert 0 < np.ptp(shown[192, 32]) < 100  # the ankle does not: hollow, faint colour in its middle
    assert (shown[192, 29] == 255).all()
    assert np.ptp(painted[64, 64]) > 100
    assert not np.ptp(painted[192, 32])  # Eq. 10: background
    lower = label_strip(LabelledImage(GREY, fields((ANKLE, 12, 2, 0.3))), FIVE, threshold=0.2)
    assert np.ptp(lower[192, 268 + 32].astype(int)) > 100


def test_what_is_not_there_is_crossed_out() -> None:
    label = np.full((17, 9), 3)
    ready = label_strip(LabelledImage(GREY, label=label), FIVE)
    nothing = label_strip(LabelledImage(GREY), FIVE)
    np.testing.assert_array_equal(ready[:, :268], nothing[:, :268])
    blue = 255 * np.array(part_colors(FIVE.parts)["torso"])
    np.testing.assert_allclose(ready[100, 300], 0.8 * blue + 0.2 * 120, atol=1)
    crossed = nothing[:, 268:].astype(int)
    np.testing.assert_array_equal(crossed, nothing[:, 134:262])
    assert crossed[128, 64].max() < crossed[128, 5].min()  # a line through the middle


@pytest.mark.parametrize("name", ["two_v", "five", "eleven"])
def test_a_sheet_is_legible(name: str) -> None:
    one = LabelledImage(GREY, fields((NOSE, 4, 4, 1)), name="0002_c1s1_000451_03.jpg", note="no legs, feet " * 5)
    wide = LabelledImage(np.zeros((60, 200, 3), np.uint8), name="a_very_long_image_name_" * 4)
    groups = {"No person (5 of 17)": [one] * 5, "Few parts (1)": [wide]}
    sheet = draw_label_sheet(groups, PART_SCHEMAS[name], title="Labels of a data set " * 9)
    assert_text_is_legible(sheet)
    shown = {t.get_text() for t in sheet.findobj(lambda a: hasattr(a, "get_fontsize"))}
    assert {*groups, "0002_c1s1_000451_03.jpg", PART_SCHEMAS[name].parts[0].replace("_", " ")} <= shown
    assert to_array(draw_label_sheet({}, FIVE, title="No bad label")).std() > 5


def test_messages() -> None:
    with pytest.raises(LabelError, match="Pose fields must be"):
        label_strip(LabelledImage(GREY, np.zeros((5, 17, 9))), FIVE)
    with pytest.raises(ShapeError, match=r"values 0\.\.5"):
        label_strip(LabelledImage(GREY, label=np.full((17, 9), 6)), FIVE)
    with pytest.raises(ShapeError, match="An image must be uint8"):
        label_strip(LabelledImage(GREY[:0]), FIVE)
    with pytest.raises(ShapeError, match=r"Part maps must be \[K, h, w\] = \[5, h, w\]"):
        overlay_part_maps(GREY, np.zeros((4, 17, 9)), FIVE.parts)


class Page(HTMLParser):
    """What a browser would find: tags in order, text, images, links; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(data)

    def all(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


def test_a_page_holds_everything_itself_and_escapes_text() -> None:
    bad = '<script>alert("1")</script> & <a href="#x">y</a>'
    schema = PartSchema("bad", (bad,), ((NOSE,),))
    images = {0: LabelledImage(GREY, name=bad, note=bad)}
    text = LabelReport(bad, schema, [LabelRating((17, 9), (bad,), 0.5)], {}, [0], {}, images).page()
    found = Page(text)
    assert "script" not in found.tags
    assert found.tags.count("a") == 2  # the list of contents
    assert found.all("href") == ["#summary", "#chosen"]
    assert found.all("id") == ["summary", "chosen"]
    assert found.text.count(bad) == 6  # title, h1, legend, row of the part, name, note
    assert found.all("alt") == [f"{bad}: image, pose fields and label map. {bad}"]
    assert all(source.startswith("data:image/jpeg;base64,") for source in found.all("src"))
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text


def test_a_report_counts_and_shows() -> None:
    maps = [np.zeros((5, 17, 9), np.float32) for _ in range(3)]
    maps[0][:, 2:15, 3:6] = np.eye(5, dtype=np.float32)[[0, 0, 2, 2, 2, 1, 1, 3, 3, 3, 3, 4, 4]].T[:, :, None]
    maps[2][0, 3, 3] = 1
    ratings = [rate_part_maps(one, FIVE) for one in maps]
    images = {i: LabelledImage(GREY, label=np.zeros((17, 9), int), name=f"{i}<b>&.jpg") for i in range(3)}
    worst = worst_first(ratings)
    assert worst == {"empty": [1], "few_parts": [2]}
    report = LabelReport("Labels & more", FIVE, ratings, worst, [0, 1], worst, images)
    found = Page(report.page())
    assert found.tags.count("img") == 4
    assert found.all("id") == ["summary", "chosen", "empty", "few_parts"]
    cells = "|".join(found.text)
    assert "No person|1|33.3|Few parts|1|33.3|Nothing noticed|1|33.3" in cells
    assert "head|66.7|arms|33.3" in cells
    assert "17×9 (3)" in cells
    assert "1<b>&.jpg" in found.text
    assert report.page() == report.page()
    for sheet in (report.contact_sheet(), report.worst_sheet()):
        assert_text_is_legible(sheet)
