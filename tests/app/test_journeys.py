"""The page's persons: who there is, where each one was, merging and splitting, over HTTP too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra app is not installed")
pytest.importorskip("httpx", reason="Starlette's test client needs httpx")

from starlette.testclient import TestClient

from partreid.app.guard import HEADERS, Hosts
from partreid.app.http import create_app
from partreid.app.service import PageService
from partreid.inference.extractor import PartExtractor
from partreid.linking import Corrections
from partreid.retrieval.gallery import Gallery
from tests.app.people import EVIL

PAGE = "http://localhost:8000"
OWN = {"origin": PAGE}


def name(gallery: Gallery, persons: dict[str, str], **more: Any) -> None:
    """Give items a person, as linking does."""
    for item, person in persons.items():
        record = gallery.get([item])
        (old,) = record.items
        data = dict(old.metadata) | {"person": person, "person_from": "link", "person_probability": 0.9} | more
        gallery.upsert(record.embeddings, [item], cameras=old.camera, times=[old.time], metadata=[data])


@pytest.fixture
def linked(gallery: Gallery) -> Gallery:
    name(gallery, {"anna_c1": "p1", "anna_c2": "p1", "ben_c1": "p2", "ben_c2": "p2", "carla_c1": "p3"})
    return gallery


def client_of(gallery: Gallery, extractor: PartExtractor, **options: Any) -> TestClient:
    service = PageService(gallery, extractor, **options)
    app = create_app(service, Hosts.bound_to("127.0.0.1"))
    return TestClient(app, base_url=PAGE, raise_server_exceptions=False)  # type: ignore[arg-type]


@pytest.fixture
def client(linked: Gallery, extractor: PartExtractor, tmp_path: Path) -> TestClient:
    return client_of(linked, extractor, corrections=tmp_path / "said.json", edits=True)


def test_who_there_is(client: TestClient) -> None:
    answer = client.get("/api/v1/persons").json()
    assert (answer["total"], answer["unlinked"], answer["edits"], answer["problem"]) == (3, 1, True, "")
    assert [(one["name"], one["tracks"], one["cameras"]) for one in answer["persons"]] == [
        ("p1", 2, ["1", "2"]), ("p2", 2, ["1", "2"]), ("p3", 1, ["1"])
    ]  # fmt: skip
    assert answer["persons"][0]["first"] == "2026-01-01T01:00:00+00:00"
    assert client.get("/api/v1/item", params={"id": answer["persons"][0]["best"]}).status_code == 200


def test_where_one_was(client: TestClient) -> None:
    journey = client.get("/api/v1/journey", params={"person": "p1"}).json()
    assert [(step["id"], step["camera"], step["probability"]) for step in journey["steps"]] == [
        ("anna_c1", "1", 0.9), ("anna_c2", "2", 0.9)
    ]  # fmt: skip
    assert journey["steps"][0]["start"] == journey["steps"][0]["end"] == "2026-01-01T01:00:00+00:00"
    answer = client.get("/api/v1/journey", params={"person": "p9"})
    assert (answer.status_code, "no person 'p9'" in answer.json()["error"]) == (400, True)


def test_merged_and_split(client: TestClient, linked: Gallery, tmp_path: Path) -> None:
    assert client.post("/api/v1/merge", json={"person": "p1", "other": "p2"}, headers=OWN).json() == {"person": "p1"}
    assert {item.id: item.metadata.get("person") for item in linked} == {
        "anna_c1": "p1", "anna_c2": "p1", "ben_c1": "p1", "ben_c2": "p1", "carla_c1": "p3", "carla_c2": None
    }  # fmt: skip
    body = {"tracks": ["ben_c1", "ben_c2"]}
    assert client.post("/api/v1/split", json=body, headers=OWN).json() == {"person": "p4"}
    said = Corrections.load(tmp_path / "said.json")
    assert said.same_persons() == [("ben_c1", "ben_c2")]
    assert len(said.different()) == 4
    assert {one.who for one in said.said} == {"page"}
    assert client.get("/api/v1/persons").json()["total"] == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("merge", {"person": "p1", "other": "p1"}), ("merge", {"person": "p1", "other": "none"}),
        ("merge", {"person": "p1"}), ("merge", {"person": "p1", "other": ""}), ("split", {"tracks": []}),
        ("split", {"tracks": ["anna_c1", "ben_c1"]}), ("split", {"tracks": ["carla_c1"]}), ("split", {"tracks": "a"}),
        ("split", {"tracks": ["carla_c2"]}), ("split", {"tracks": [3]}), ("split", {"tracks": ["anna_c1"], "x": 1}),
    ],
)  # fmt: skip
def test_what_is_refused(path: str, body: dict[str, Any], client: TestClient, linked: Gallery, tmp_path: Path) -> None:
    before = [(item.id, item.metadata) for item in linked]
    answer = client.post(f"/api/v1/{path}", json=body, headers=OWN)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert [(item.id, item.metadata) for item in linked] == before
    assert not (tmp_path / "said.json").exists()


def test_other_sites_change_nothing(client: TestClient, tmp_path: Path) -> None:
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {}):
        for path, body in (("merge", {"person": "p1", "other": "p2"}), ("split", {"tracks": ["anna_c1"]})):
            assert client.post(f"/api/v1/{path}", json=body, headers=headers).status_code == 403
    form = client.post(
        "/api/v1/merge", content=b'{"person": "p1", "other": "p2"}', headers=OWN | {"content-type": "text/plain"}
    )
    assert form.status_code == 415
    assert not (tmp_path / "said.json").exists()


@pytest.mark.parametrize(("edits", "words"), [(False, "--edit"), (True, "--corrections FILE")])
def test_a_page_that_changes_nothing_says_so(
    edits: bool, words: str, linked: Gallery, extractor: PartExtractor
) -> None:
    client = client_of(linked, extractor, edits=edits)  # in memory: there is no folder for corrections
    answer = client.get("/api/v1/persons").json()
    assert (answer["edits"], words in answer["problem"]) == (False, True)
    refused = client.post("/api/v1/merge", json={"person": "p1", "other": "p2"}, headers=OWN)
    assert (refused.status_code, words in refused.json()["error"]) == (400, True)


def test_the_page_is_as_guarded_as_the_other(client: TestClient) -> None:
    for path in ("/persons", "/static/persons.js", "/static/persons.css", "/api/v1/persons"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert {header: answer.headers[header] for header in HEADERS} == HEADERS
    page, script = client.get("/persons").text, client.get("/static/persons.js").text
    assert "<script>" not in page
    assert " style=" not in page
    assert " on" not in "".join(part.partition(">")[0] for part in page.split("<"))
    assert not any(word in script for word in ("innerHTML", "eval(", "http"))
    assert 'href="persons"' in client.get("/").text


def test_names_are_only_text(client: TestClient, linked: Gallery) -> None:
    name(linked, {"carla_c2": EVIL[:400]}, person_probability="much")
    journey = client.get("/api/v1/journey", params={"person": EVIL[:400]}).json()
    assert (journey["person"]["name"], journey["steps"][0]["probability"]) == (EVIL[:400], None)
