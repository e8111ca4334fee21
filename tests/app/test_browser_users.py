"""The page with users in a real browser: logging in by keyboard, in a narrow window, on both pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")

from playwright import sync_api as api

from partreid.app.server import PageServer
from partreid.app.service import PageService
from partreid.app.users import Users
from partreid.inference.extractor import PartExtractor
from partreid.linking.linked import link
from partreid.linking.output import save_persons
from partreid.linking.tracks import LinkTracks
from partreid.retrieval.gallery import Gallery
from tests.app.people import COLORS, ColorRunner, calibration, fill, person, png
from tests.browsers import CHROMIUM, CUT_OFF, FLAGS

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed (chromium, google-chrome)")

PATIENCE = 20_000  # milliseconds: a busy machine is no failure
NARROW = {"width": 390, "height": 700}


@dataclass(frozen=True)
class Site:
    """A page with users that is served."""

    address: str
    users: Users


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    extractor = PartExtractor.from_runner(ColorRunner())
    gallery = Gallery(extractor=extractor)
    fill(gallery, extractor, tmp_path)
    save_persons(gallery, link(LinkTracks.of_gallery(gallery), calibration()))
    service = PageService(gallery, extractor, edits=True, corrections=tmp_path / "said.json")
    users = Users(tmp_path / "users.json")
    server = PageServer(service, "127.0.0.1", 0, users=users)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Site(server.address, users)
    server.stop()
    thread.join(20)


@pytest.fixture
def page(site: Site) -> Iterator[Any]:
    wrong: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        context = browser.new_context(viewport=NARROW)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        yield page
        browser.close()
    assert wrong == []


def log_in(page: Any, token: str) -> None:
    """By keyboard alone: the field has the focus."""
    api.expect(page.locator("#token")).to_be_focused(timeout=PATIENCE)
    page.keyboard.type(token)
    page.keyboard.press("Enter")


def tab_to(page: Any, selector: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no way to {selector}")


def fits(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    assert page.evaluate(CUT_OFF) == []


def test_searching_after_logging_in_by_keyboard(page: Any, site: Site) -> None:
    token = site.users.add("anna", "search")
    page.goto(site.address)
    log_in(page, "partreid_wrong")
    api.expect(page.locator(".log-in .problem")).to_contain_text("belongs to no user", timeout=PATIENCE)
    page.keyboard.press("Escape")
    assert page.locator("#log-in").is_visible()
    fits(page)
    page.fill("#token", "")
    log_in(page, token)
    api.expect(page.locator("#about")).to_contain_text("6 items", timeout=PATIENCE)
    api.expect(page.locator("#session")).to_contain_text("anna", timeout=PATIENCE)
    page.set_input_files(
        "#file", [{"name": "a.png", "mimeType": "image/png", "buffer": png(person(COLORS["anna"], COLORS["ben"]))}]
    )
    api.expect(page.locator("#status")).to_contain_text("searched.", timeout=PATIENCE)
    tab_to(page, ".card")
    page.keyboard.press("Enter")
    api.expect(page.locator("#compare .parts li")).to_have_count(3, timeout=PATIENCE)
    assert page.locator("#compare .pair img").first.evaluate("image => image.complete && image.naturalWidth > 0")
    fits(page)
    page.keyboard.press("Escape")
    assert page.evaluate("document.cookie") == ""  # no script can read it
    page.focus("#log-out")
    page.keyboard.press("Enter")
    api.expect(page.locator("#token")).to_be_focused(timeout=PATIENCE)


@pytest.mark.parametrize("role", ["search", "add"])
def test_persons_after_logging_in_by_keyboard(page: Any, site: Site, role: Any) -> None:
    token = site.users.add("anna", role)
    page.goto(f"{site.address}persons")
    log_in(page, token)
    api.expect(page.locator("#about")).to_contain_text("6 persons", timeout=PATIENCE)
    tab_to(page, ".person")
    page.keyboard.press("Enter")
    api.expect(page.locator("#journey")).to_be_focused(timeout=PATIENCE)  # the answer is there
    api.expect(page.locator("#steps li")).to_have_count(1, timeout=PATIENCE)
    fits(page)
    if role == "search":
        api.expect(page.locator("#read-only")).to_contain_text("only search")
        assert page.locator("#edit").is_hidden()
        return
    tab_to(page, "#other")
    page.keyboard.type(page.locator(".person .name").nth(1).inner_text())
    tab_to(page, "#merge")
    page.keyboard.press("Enter")
    api.expect(page.locator("#about")).to_contain_text("5 persons", timeout=PATIENCE)
    fits(page)


def test_a_token_that_is_revoked_while_somebody_works(page: Any, site: Site) -> None:
    page.goto(site.address)
    log_in(page, site.users.add("anna", "search"))
    api.expect(page.locator("#about")).to_contain_text("6 items", timeout=PATIENCE)
    site.users.revoke("anna")
    token = site.users.add("ben", "search")
    page.goto(f"{site.address}persons")
    log_in(page, token)
    api.expect(page.locator("#session")).to_contain_text("ben", timeout=PATIENCE)
