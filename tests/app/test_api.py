"""The API for programs: its own description, whatever that allows, what changes the gallery, and the examples."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra app is not installed")
pytest.importorskip("httpx", reason="Starlette's test client needs httpx")
pytest.importorskip("schemathesis", reason="it tries the API by its description")

import schemathesis
from hypothesis import HealthCheck, settings
from starlette.testclient import TestClient

from partreid.app import access
from partreid.app.guard import Hosts
from partreid.app.http import create_app
from partreid.app.operations import API, OPERATIONS, describe
from partreid.app.server import PageServer
from partreid.app.service import PageService
from partreid.app.users import Users
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.gallery import Gallery
from tests.app.people import COLORS, DAY, ColorRunner, calibration, fill, person, png

DOCS = Path(__file__).parents[2] / "docs" / "app.md"
IMAGE = png(person(COLORS["anna"], COLORS["ben"]))


class Site:
    """A page with users, and programs that use it."""

    def __init__(self, folder: Path) -> None:
        extractor = PartExtractor.from_runner(ColorRunner())
        self.gallery = Gallery(extractor=extractor)
        fill(self.gallery, extractor, folder)
        self.service = PageService(self.gallery, extractor, calibration=calibration(), edits=True)
        self.users = Users(folder / "users.json")
        self.token = self.users.add("program", "delete")
        self.app = create_app(self.service, Hosts.bound_to("127.0.0.1"), users=self.users)
        self.client = TestClient(
            self.app, base_url="http://localhost", headers={"authorization": f"Bearer {self.token}"},
            raise_server_exceptions=False,
        )  # type: ignore[arg-type] # fmt: skip

    def post(self, name: str, body: Any) -> Any:
        return self.client.post(f"{API}/{name}", json=body)

    def send(self, image: bytes = IMAGE) -> str:
        return str(self.client.post(f"{API}/images", content=image).json()["image"])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_description_is_served_and_whole(site: Site) -> None:
    served = site.client.get(f"{API}/openapi.json", headers={"authorization": ""}).json()
    assert served == json.loads(json.dumps(describe()))
    names = {one["operationId"] for path in served["paths"].values() for one in path.values()}
    assert names == {one.name for one in OPERATIONS}
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(served)))
    assert references == set(served["components"]["schemas"])
    assert served["paths"]["/api/v1/delete"]["post"]["description"] == "Needs the role delete."


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, str]]:
    """A site, and the address that it is served at."""
    site = Site(tmp_path_factory.mktemp("people"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "_FAILURES", 10**6)  # wrong tokens are tried by the hundred
        server = PageServer(site.service, "127.0.0.1", 0, users=site.users)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield site, server.address.rstrip("/")
    server.stop()
    thread.join(20)


SCHEMA = schemathesis.openapi.from_dict(describe())
LOOSE = {"positive_data_acceptance"}  # an id may be well-formed, and still no item's


@SCHEMA.parametrize()
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_description_allows_is_answered_as_it_says(case: Any, served: tuple[Site, str]) -> None:
    site, address = served
    every = schemathesis.checks.CHECKS
    headers = {"Authorization": f"Bearer {site.token}"}
    case.call_and_validate(
        base_url=address, headers=headers, excluded_checks=[every.get_one(name) for name in LOOSE], timeout=60
    )


def test_adding_searching_and_deleting(site: Site) -> None:
    new = {"id": "dora", "image": site.send(), "camera": 2, "time": DAY, "metadata": {"track": 5}}
    assert site.post("add", {"items": [new]}).json() == {"added": 1, "items": 7}
    question = {"query": [{"image": site.send()}], "k": 1, "where": {"ids": ["dora"]}}
    (found,) = site.post("search", question).json()["results"]
    assert (found["id"], found["camera"], found["track"]) == ("dora", "2", "5")
    assert found["distance"] == pytest.approx(0, abs=1e-3)
    again = site.post("add", {"items": [new]})
    assert (again.status_code, "Already in the gallery" in again.json()["error"]) == (400, True)
    assert site.post("add", {"items": [new], "replace": True}).json() == {"added": 1, "items": 7}
    answer = site.post("delete", {"ids": ["dora", "nobody"]}).json()
    assert answer == {"deleted": 1, "items": 6, "missing": ["nobody"]}


@pytest.mark.parametrize(
    ("change", "words", "status"),
    [
        ({"metadata": {"file": "/etc/passwd"}}, "cannot contain 'file'", 400),
        ({"metadata": {"box": [0, 0, 9, 9]}}, "cannot contain 'box'", 400),
        ({"box": [0, 0, 1, 1]}, "less than 4×4", 400),
        ({"image": "x"}, "not kept", 410),
        ({"id": ""}, "at least 1", 400),
        ({"id": "anna_c1"}, "Already in the gallery", 400),
        ({"time": "yesterday"}, "time", 400),
        ({"camera": True}, "camera", 400),
        ({"metadata": {"a": {"b": [None]}}}, "", 200),
    ],
)
def test_what_cannot_be_added(site: Site, change: dict[str, Any], words: str, status: int) -> None:
    good = {"id": "eva", "image": site.send()}
    answer = site.post("add", {"items": [good, {"id": "dora", "image": site.send()} | change]})
    assert answer.status_code == status, answer.text
    assert len(site.gallery) == (8 if status == 200 else 6)
    if status != 200:
        assert words in answer.json()["error"]


def test_an_id_given_twice_is_refused(site: Site) -> None:
    one = {"id": "dora", "image": site.send()}
    assert "twice" in site.post("add", {"items": [one, one]}).json()["error"]


def test_old_items_expire(site: Site) -> None:
    question: dict[str, Any] = {"until": DAY + 3 * 3600}
    shown = site.post("expire", question | {"dry_run": True}).json()
    assert (shown["count"], shown["deleted"], shown["items"]) == (2, 0, 6)
    assert shown["first"].startswith("2026-01-01T01")
    done = site.post("expire", question).json()
    assert (done["count"], done["deleted"], done["items"]) == (2, 2, 4)
    assert "future" in site.post("expire", {"until": "2099-01-01T00:00Z"}).json()["error"]
    assert "Give the moment (until)" in site.post("expire", {"until": None}).json()["error"]
    assert len(site.gallery) == 4


def test_linking_gives_persons(site: Site) -> None:
    answer = site.post("link", {}).json()
    assert (answer["tracks"], answer["changed"]) == (6, 6)
    persons = site.client.get(f"{API}/persons").json()
    assert persons["total"] == answer["persons"]
    site.service.changes._calibration = None
    assert "--calibration" in site.post("link", {}).json()["error"]


def test_metrics_count_operations_and_name_nobody(site: Site) -> None:
    site.post("search", {"query": [{"item": "anna_c1"}]})
    site.post("search", {"query": [{"item": "nobody"}]})
    site.client.get(f"{API}/about")
    answer = site.client.get(f"{API}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'partreid_requests_total{operation="search",status="200"} 1.0' in lines
    assert 'partreid_requests_total{operation="search",status="400"} 1.0' in lines
    assert 'partreid_request_seconds_count{operation="search"} 2.0' in lines
    assert "partreid_gallery_items 6.0" in lines
    assert not re.search("anna|program|nobody", answer.text)


def examples(language: str) -> list[str]:
    """The examples in docs/app.md of one language."""
    section = DOCS.read_text().partition("\n## An API for programs\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, served: tuple[Site, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples use."""
    site, address = served
    (tmp_path / "photo.png").write_bytes(IMAGE)
    monkeypatch.setenv("PARTREID_TOKEN", site.token)
    monkeypatch.setenv("PAGE", address)
    site.gallery.delete(["door/1"])
    return tmp_path


def test_the_example_in_python_runs(place: Path) -> None:
    (code,) = examples("python")
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "door/1" in done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_example_with_curl_runs(place: Path) -> None:
    (script,) = examples("bash")
    done = subprocess.run(["bash", "-e", "-c", script], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "door/1" in done.stdout
    assert "partreid_requests_total" in done.stdout
