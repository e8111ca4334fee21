"""The page in a real browser: what people do with it, by mouse and by keyboard, wide and narrow."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

from playwright import sync_api as api

from partreid.app.server import PageServer
from partreid.app.service import PageService
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.gallery import Gallery
from tests.app.people import BLACK, COLORS, DAY, EVIL, ColorRunner, calibration, fill, person, png
from tests.browsers import CHROMIUM, CUT_OFF, FLAGS

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed (chromium, google-chrome)")

RED, GREEN = COLORS["anna"], COLORS["ben"]
PATIENCE = 20_000  # milliseconds: a busy machine is no failure
api.expect.set_options(timeout=PATIENCE)


@dataclass(frozen=True)
class Site:
    """A page that is served, and what stands behind it."""

    address: str
    service: PageService
    gallery: Gallery
    folder: Path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("people")
    extractor = PartExtractor.from_runner(ColorRunner())
    gallery = Gallery(extractor=extractor)
    fill(gallery, extractor, folder)
    gallery.add(extractor.embed([person((200, 60, 60), GREEN)]), [EVIL], cameras=EVIL, times=DAY + 9 * 3600,
                metadata=[{"file": f"/nowhere/{EVIL}.png", "track": EVIL, EVIL: EVIL}])  # fmt: skip
    service = PageService(gallery, extractor, calibration=calibration())
    server = PageServer(service, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Site(server.address, service, gallery, folder)
    server.stop()
    thread.join(20)


@pytest.fixture
def open_page(browser: Any, site: Site) -> Iterator[Any]:
    """``open_page(width=..., ...)``: the page, of which every request, error and message is watched."""
    contexts = []
    wrong: list[str] = []

    def watch(request: Any) -> None:
        if not request.url.startswith((site.address, "data:")):
            wrong.append(f"asked {request.url}")

    def listen(message: Any) -> None:
        # The browser itself reports refused images and answers; what else it reports is a fault of the page.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    def open_it(**options: Any) -> Any:
        options = {"viewport": {"width": 1200, "height": 800}, "timezone_id": "Asia/Tokyo"} | options
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("request", watch)
        page.on("console", listen)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(site.address)
        page.locator("#part-checks label").first.wait_for(state="attached")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


def give(page: Any, *images: np.ndarray, name: str = "somebody.png") -> None:
    """Choose image files, and wait for what is found."""
    page.set_input_files("#file", [{"name": name, "mimeType": "image/png", "buffer": png(one)} for one in images])
    settled(page)


def settled(page: Any, words: str = "searched.") -> None:
    """Wait until the page says that it is done."""
    api.expect(page.locator("#status")).to_contain_text(words)
    api.expect(page.locator("body:not(.working)")).to_be_attached()


def names(page: Any) -> list[str]:
    return [str(id_) for id_ in page.locator("#results .name").evaluate_all("all => all.map((one) => one.title)")]


def change(page: Any, act: Any) -> None:
    """Do something that is searched for, and wait for the new answer."""
    with page.expect_response(lambda response: "api/v1/search" in response.url):
        act()
    settled(page)


def drop(page: Any, selector: str, image: np.ndarray) -> None:
    data = page.evaluate_handle(
        """(bytes) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" })); return data; }""",
        list(png(image)),
    )
    page.dispatch_event(selector, "drop", {"dataTransfer": data})


def test_drop_a_image_and_look_at_a_result(open_page: Any) -> None:
    page = open_page()
    assert "7 items" in page.inner_text("#about")
    assert "probabilities fitted on colours, prior 30 %" in page.inner_text("#about")
    drop(page, "#drop", person(RED, GREEN))
    settled(page)
    assert set(names(page)[:2]) == {"anna_c1", "anna_c2"}
    first = page.locator(".card").first
    assert all(word in first.inner_text() for word in ("%", "distance", "3 of 3 parts", "camera"))
    when = first.locator("time")
    assert "UTC" in when.get_attribute("title")
    assert when.get_attribute("title")[11:13] in ("01", "02")
    assert "10:00" in when.inner_text() or "11:00" in when.inner_text()  # Tokyo is nine hours ahead
    api.expect(first.locator("img")).to_have_js_property("complete", True)
    assert first.locator("img").evaluate("image => image.naturalWidth") == 32

    first.click()
    parts = page.locator("#compare .parts li")
    api.expect(parts).to_have_count(3)
    assert all(one.locator("img").count() == 2 for one in parts.all())
    assert "✓ visible" in parts.nth(1).inner_text()
    shown = page.inner_text("#compare-title")
    page.click("#after")
    api.expect(page.locator("#compare-title")).not_to_have_text(shown)
    api.expect(parts).to_have_count(3)
    page.click("#close")
    assert page.evaluate("document.activeElement.className.split(' ')[0]") == "card"


def test_a_box(open_page: Any) -> None:
    page = open_page()
    frame = np.full((300, 400, 3), 120, np.uint8)
    frame[100:228, 250:314] = person(RED, GREEN, size=(128, 64))
    give(page, frame)
    assert not names(page)[0].startswith("anna")
    area = page.locator("#image").bounding_box()
    assert abs(area["width"] / area["height"] - 400 / 300) < 0.02
    scale = area["width"] / 400
    page.mouse.move(area["x"] + 314 * scale, area["y"] + 228 * scale)
    page.mouse.down()
    page.mouse.move(area["x"] + 300 * scale, area["y"] + 200 * scale)
    page.mouse.move(area["x"] + 250 * scale, area["y"] + 100 * scale)
    change(page, page.mouse.up)
    assert np.abs(np.subtract(_box(page), (250, 100, 314, 228))).max() <= 3
    assert names(page)[0].startswith("anna")
    page.focus("#stage")
    change(page, lambda: page.keyboard.press("Escape"))
    assert page.inner_text("#box-text") == ""
    change(page, lambda: page.keyboard.press("Enter"))
    assert _box(page) == [100, 38, 300, 263]
    change(page, lambda: page.keyboard.press("ArrowRight"))
    assert _box(page) == [104, 38, 304, 263]
    change(page, lambda: page.keyboard.press("Shift+ArrowUp"))
    assert _box(page) == [104, 38, 304, 259]


def _box(page: Any) -> list[int]:
    words = page.inner_text("#box-text").replace(",", " ").split(" of ")[0].split()
    return [int(word) for word in words if word.isdigit()]


def test_parts_filters_and_numbers(open_page: Any) -> None:
    page = open_page()
    give(page, person(RED, RED))  # anna's torso, carla's legs
    for part in ("foreground", "torso"):
        change(page, lambda part=part: page.uncheck(f"input[name=part][value={part}]"))
    assert {name[:5] for name in names(page)[:2]} == {"carla"}
    assert "%" not in page.inner_text("#results")  # the calibration is for all parts
    page.click("#no-parts")
    settled(page, "Choose at least one part")
    assert names(page) == []
    change(page, lambda: page.click("#all-parts"))
    change(page, lambda: page.uncheck("input[name=camera][value='1']"))
    assert not any(name.endswith("_c1") for name in names(page))
    page.click("#no-cameras")
    settled(page, "Choose at least one camera")
    change(page, lambda: page.click("#all-cameras"))
    assert len(names(page)) == 7
    change(page, lambda: page.uncheck("input[name=camera][value='1']"))
    change(page, lambda: page.check("input[name=camera][value='1']"))
    change(page, lambda: page.fill("#since", "2026-01-01T14:00:00"))  # in Tokyo
    assert {name[:5] for name in names(page)} == {"carla", EVIL[:5]}
    change(page, lambda: page.fill("#until", "2026-01-01T15:00:00"))
    assert names(page) == ["carla_c1"]
    change(page, lambda: page.fill("#tracks", "21, 5"))
    assert names(page) == []
    assert "No item meets the filter" in page.inner_text("#notes")
    page.click("#again")
    settled(page, "Choose an image")
    give(page, person(RED, GREEN))
    change(page, lambda: page.fill("#count", "3"))
    assert len(names(page)) == 3


def test_words_instead_of_results(open_page: Any) -> None:
    page = open_page()
    give(page, person(BLACK, BLACK))
    assert "No part is visible in the query" in page.inner_text("#notes")
    assert "not visible" in page.inner_text("#part-checks")
    page.set_input_files("#file", [{"name": "note.txt", "mimeType": "text/plain", "buffer": b"hello"}])
    api.expect(page.locator("#refused")).to_contain_text("note.txt: That is no image")
    change(page, lambda: page.uncheck("input[name=part][value=legs]"))
    assert page.locator("#refused").is_visible()  # until other images are given
    give(page, person(RED, GREEN))
    assert page.locator("#refused").is_hidden()
    page.route("**/api/v1/search", lambda route: route.abort())
    page.set_input_files("#file", [{"name": "a.png", "mimeType": "image/png", "buffer": png(person(RED, GREEN))}])
    api.expect(page.locator("#problem")).to_contain_text("Is it still running")


def test_images_that_were_forgotten_are_sent_again(open_page: Any, site: Site) -> None:
    page = open_page()
    give(page, person(RED, GREEN))
    site.service.kept._values.clear()
    change(page, lambda: page.uncheck("input[name=part][value=legs]"))
    assert names(page)[0].startswith("anna")
    assert page.locator("#problem").is_hidden()


def test_by_keyboard_alone(open_page: Any) -> None:
    page = open_page()
    chosen: list[Any] = []
    page.on(
        "filechooser", lambda chooser: chosen.append(chooser)
    )  # early: listening takes the browser a moment to begin

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"no way to {selector}")

    tab_to("#choose")
    page.keyboard.press("Enter")
    for _ in range(200):
        if chosen:
            break
        page.wait_for_timeout(20)
    chosen[0].set_files([{"name": "a.png", "mimeType": "image/png", "buffer": png(person(RED, GREEN))}])
    settled(page)
    tab_to("#stage")
    change(page, lambda: page.keyboard.press("Enter"))
    tab_to("input[name=part][value=legs]")
    change(page, lambda: page.keyboard.press("Space"))
    assert "2 of 2 parts" in page.locator(".card").first.inner_text()
    tab_to(".card")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement === document.querySelectorAll('.card')[1]")
    page.keyboard.press("Enter")
    api.expect(page.locator("#compare .parts li")).to_have_count(2)
    second = page.inner_text("#compare-title")
    page.keyboard.press("ArrowLeft")
    api.expect(page.locator("#compare-title")).not_to_have_text(second)
    api.expect(page.locator("#compare .actions")).to_be_visible()
    tab_to(".actions button")
    change(page, lambda: page.keyboard.press("Enter"))
    assert not page.locator("#compare").is_visible()
    assert {name[:4] for name in names(page)[:1]} == {"anna"}


def test_an_item_is_the_next_query(open_page: Any) -> None:
    page = open_page()
    give(page, person(RED, GREEN))
    page.locator(".card", has_text="anna_c1").click()
    change(page, lambda: page.click("text=Find this person elsewhere"))
    assert names(page)[0] == "anna_c2"
    assert not any(name.endswith("_c1") for name in names(page))
    assert page.input_value("#tracks") == "1"
    page.locator(".card", has_text="carla_c2").click()
    change(page, lambda: page.click("text=Leave out track 22"))
    assert "carla_c2" not in names(page)


def test_an_identical_image_has_empty_bars(open_page: Any) -> None:
    page = open_page()
    give(page, person(RED, GREEN, seed=1))  # anna_c1's very image
    shares = (
        """() => [...document.querySelectorAll(".meter")].map((bar) => Number(bar.style.getPropertyValue("--share")))"""
    )
    page.locator(".card", has_text="anna_c1").click()
    api.expect(page.locator("#compare .parts li")).to_have_count(3)
    assert max(page.evaluate(shares)) < 0.01
    scale = page.locator("#compare .soft", has_text="A full bar is").inner_text()
    page.click("#close")
    page.locator(".card", has_text="ben_c1").click()
    api.expect(page.locator("#compare .parts li")).to_have_count(3)
    assert max(page.evaluate(shares)) > 0.5
    assert page.locator("#compare .soft", has_text="A full bar is").inner_text() == scale


def test_what_is_compared_and_why_there_are_no_probabilities(open_page: Any, site: Site) -> None:
    page = open_page()
    assert "Compared: all slots; a part is visible" in page.inner_text("#compared")
    assert page.locator("#calibration-problem").is_hidden()
    about = json.loads(page.evaluate("fetch('api/v1/about').then((answer) => answer.text())"))
    about |= {"calibration": None, "calibration_problem": f"It is for another model. {EVIL}"}
    page.route("**/api/v1/about", lambda route: route.fulfill(json=about))
    page.reload()
    api.expect(page.locator("#calibration-problem")).to_have_text(about["calibration_problem"])
    assert "distances without probabilities" in page.inner_text("#about")


def test_an_item_that_cannot_be_compared_any_more(open_page: Any) -> None:
    page = open_page()
    give(page, person(RED, GREEN))

    def nothing(route: Any) -> None:
        answer = route.fetch().json()
        answer["found"] |= {"distance": None, "probability": None, "compared": 0}
        answer["full_bar"] = None
        route.fulfill(json=answer)

    page.route("**/api/v1/compare", nothing)
    page.locator(".card").first.click()
    api.expect(page.locator("#compare .facts")).to_contain_text("nothing compared")
    assert page.locator(".meter").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window(open_page: Any, scheme: str) -> None:
    width = 360 if scheme == "light" else 390
    page = open_page(viewport={"width": width, "height": 640}, color_scheme=scheme, reduced_motion="reduce")
    give(page, person(RED, GREEN), person(RED, BLACK))
    assert page.locator("#people li").count() == 2
    page.click("#options summary")
    change(page, lambda: page.uncheck("input[name=part][value=legs]"))
    page.locator(".card").first.click()
    api.expect(page.locator("#compare .parts li")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("#compare").evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    assert page.evaluate(CUT_OFF) == []
    page.set_viewport_size({"width": 1200, "height": 800})
    page.click("#close")
    assert page.locator("#part-checks").is_visible()


def test_texts_stay_texts(open_page: Any) -> None:
    page = open_page()
    give(page, person((200, 60, 60), GREEN), name=f"{EVIL[:40]}.png")
    assert names(page)[0] == EVIL
    assert page.locator("#results .name").first.inner_text() == EVIL.rpartition("/")[2]  # a path's last part
    page.locator(".card").first.click()
    api.expect(page.locator("#compare .parts li")).to_have_count(3)
    assert page.inner_text("#compare-title") == EVIL
    assert "image file is not there any more" in page.inner_text("#compare-body")
    page.click("text=What else is known")
    assert EVIL in page.inner_text("#compare dl")
    assert EVIL in page.inner_text("#cameras")
    change(page, lambda: page.click("#compare .actions > button:last-child"))
    assert EVIL not in names(page)
    assert page.input_value("#tracks") == EVIL
    assert page.evaluate("window.evil") is None
    assert page.locator("img[src=x], main script").count() == 0


def test_who_cannot_see_the_page_hears_what_it_holds(open_page: Any) -> None:
    page = open_page()
    give(page, person(RED, GREEN))
    nameless = """() => [...document.querySelectorAll("button, input, a, summary")]
        .filter((e) => e.offsetParent && !(e.innerText || e.ariaLabel || e.labels?.[0]?.innerText || "").trim())
        .map((e) => e.outerHTML)"""
    assert page.evaluate(nameless) == []
    page.locator(".card").first.click()
    api.expect(page.locator("#compare .parts li")).to_have_count(3)
    assert page.evaluate(nameless) == []
    assert page.locator("img:not([alt])").count() == 0
    assert page.get_by_role("dialog").get_attribute("aria-labelledby") == "compare-title"
    assert page.get_by_role("status").count() == 1
