"""Pages that the commands write, in a real browser on a telephone: nothing is cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawn_people import person
from test_run_report import EVIL, SLOTS, report, row

pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

from playwright import sync_api as api

from partreid.labels.quality import LabelRating
from partreid.parts import PART_SCHEMAS
from partreid.reports.label_report import LabelReport
from partreid.reports.pages import rankings_page
from partreid.viz.labels import LabelledImage
from tests.browsers import CHROMIUM, CUT_OFF, FLAGS

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed (chromium, google-chrome)")

LONG = "x" * 80
WIDE_TABLES = "() => [...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth).length"


@pytest.fixture(scope="module")
def telephone() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True).new_page()
        browser.close()


def run_report() -> str:
    environments = {"This report": {"command": f"partreid show report {LONG} {EVIL}", "Python": "3.11"}}
    config = {"model": {"attention": "pixel", "a_very_long_name_of_a_field_of_it": LONG}, LONG: LONG}
    return report(title=f"{LONG} on {EVIL}", environments=environments, config=config).page()


def rankings() -> str:
    return rankings_page([row(1), row(2, title=LONG)], SLOTS, title="Rankings")


def labels() -> str:
    schema = PART_SCHEMAS["five"]
    image, _, label = person(0, pid=1)
    images = {0: LabelledImage(image, label=label, name=f"{LONG}.jpg", note="in pieces")}
    rating = LabelRating((16, 8), schema.parts, 0.5)
    return LabelReport(LONG, schema, [rating], {"torn": [0]}, [0], {"torn": [0]}, images).page()


@pytest.mark.parametrize("content", [run_report, rankings, labels], ids=lambda content: content.__name__)
def test_nothing_is_cut_off(telephone: Any, content: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(content(), encoding="utf-8")
    telephone.goto((tmp_path / "page.html").as_uri())
    telephone.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert telephone.evaluate("document.documentElement.scrollWidth") == 390
    assert telephone.evaluate(CUT_OFF) == []
    assert telephone.evaluate(WIDE_TABLES) == 0
    if content is not labels:  # each value of a table of many columns stands after its column's name
        named = "() => getComputedStyle(document.querySelector('.many td:nth-child(2)'), '::before').content"
        assert telephone.evaluate(named).strip('" ') in ("queries", "image")
