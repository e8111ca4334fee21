"""Users of the page: tokens and roles, sessions of browsers, limits on how often somebody asks, and the audit log."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra app is not installed")
pytest.importorskip("httpx", reason="Starlette's test client needs httpx")

from starlette.testclient import TestClient

from partreid.app.guard import Hosts
from partreid.app.http import create_app
from partreid.app.operations import API, OPERATIONS
from partreid.app.rates import RateLimit
from partreid.app.service import PageService
from partreid.app.users import Users
from partreid.errors import ConfigError, DataError
from partreid.retrieval.audit_log import AuditLog
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.recording import AUDIT_VARIABLE
from tests.app.people import COLORS, person, png

PAGE = "http://localhost:8000"
OWN = {"origin": PAGE}
IMAGE = png(person(COLORS["anna"], COLORS["ben"]))


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "users.json")


def client_of(service: PageService, users: Users | None, per_minute: int = 10_000) -> TestClient:
    app = create_app(service, Hosts.bound_to("127.0.0.1"), users=users, rate=RateLimit(per_minute))
    return TestClient(app, base_url=PAGE, raise_server_exceptions=False)  # type: ignore[arg-type]


@pytest.fixture
def client(service: PageService, users: Users) -> Iterator[TestClient]:
    with client_of(service, users) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def ask(client: TestClient, name: str, headers: dict[str, str]) -> Any:
    """Ask an operation something that is wrong, but for what it needs of a role."""
    one = next(one for one in OPERATIONS if one.name == name)
    body = {"json": {}} if one.method == "POST" else {}
    return client.request(one.method, API + one.path, headers=headers, **body)  # type: ignore[arg-type]


def test_a_token_is_shown_once_and_kept_as_a_hash(users: Users) -> None:
    token = users.add("anna", "search")
    assert token not in users.path.read_text()
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    found = Users(users.path).find(token)
    assert found is not None
    assert (found.name, found.role) == ("anna", "search")
    assert users.find("") is users.find(token[:-1]) is users.find("\ud800") is None
    with pytest.raises(DataError, match="already"):
        users.add("anna", "delete")
    with pytest.raises(ConfigError, match="Known: anna"):
        users.revoke("ben")
    users.revoke("anna")
    assert users.find(token) is None


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 81, "<b>"])
def test_names_of_users(users: Users, name: str) -> None:
    with pytest.raises(DataError, match="1 to 80"):
        users.add(name, "search")
    assert not users.path.exists()


def test_a_damaged_or_open_file_of_users_lets_nobody_in(users: Users, client: TestClient) -> None:
    token = users.add("anna", "search")
    whole = users.path.read_text()
    assert client.get("/api/v1/about", headers=bearer(token)).status_code == 200
    for damaged in ("{", "[]", whole.replace('"search"', '"everything"'), whole.replace("partreid-users", "other")):
        users.path.write_text(damaged)
        with pytest.raises(DataError):
            Users(users.path).find(token)
        answer = client.get("/api/v1/about", headers=bearer(token))
        assert (answer.status_code, str(users.path) in answer.text) == (500, False)
    users.path.write_text(whole)
    users.path.chmod(0o666)
    with pytest.raises(DataError, match="chmod 600"):
        Users(users.path).find(token)
    users.path.unlink()
    assert client.get("/api/v1/about", headers=bearer(token)).status_code == 401


ALLOWED = {"search": 0, "add": 1, "delete": 2}


@pytest.mark.parametrize("role", [*ALLOWED, None])
def test_each_operation_asks_for_its_role(client: TestClient, users: Users, role: Any) -> None:
    users.add("somebody", "search")
    headers = bearer(users.add("anna", role)) if role else OWN
    for one in OPERATIONS:
        answer = ask(client, one.name, headers)
        if one.role is None:
            assert answer.status_code not in (401, 403), one.name
        elif role is None:
            assert answer.status_code == 401, one.name
            assert answer.headers["www-authenticate"] == "Bearer"
        else:
            assert (answer.status_code == 403) is (ALLOWED[one.role] > ALLOWED[role]), one.name
    assert client.get("/").status_code == client.get("/health").status_code == 200


def test_a_revoked_token_is_refused_at_once(client: TestClient, users: Users) -> None:
    token = users.add("anna", "search")
    users.add("ben", "search")
    assert client.post("/api/v1/session", json={"token": token}, headers=OWN).json()["user"] == "anna"
    assert client.get("/api/v1/about").status_code == 200
    users.revoke("anna")
    assert client.get("/api/v1/about").status_code == 401
    assert client.get("/api/v1/about", headers=bearer(token)).status_code == 401


def test_a_browsers_session(client: TestClient, users: Users) -> None:
    token = users.add("anna", "search")
    assert client.get("/api/v1/session").json() == {"user": "", "role": None, "needed": True}
    answer = client.post("/api/v1/session", json={"token": token}, headers=OWN)
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "max-age=43200"))
    assert "path=" not in cookie
    assert "secure" not in cookie  # plain http
    assert token not in cookie
    assert client.get("/api/v1/session").json() == {"user": "anna", "role": "search", "needed": True}
    # Other sites stay outside, whatever cookie the browser sends.
    for headers in ({}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site", "origin": PAGE}):
        assert client.post("/api/v1/images", content=IMAGE, headers=headers).status_code == 403
    assert client.post("/api/v1/images", content=IMAGE, headers=OWN).status_code == 200
    assert client.delete("/api/v1/session", headers=OWN).status_code == 200
    assert client.get("/api/v1/about").status_code == 401
    assert client.post("/api/v1/session", json={"token": "x"}, headers=OWN).status_code == 401


def test_the_cookie_is_for_https_alone_where_the_page_is(service: PageService, users: Users) -> None:
    token = users.add("anna", "search")
    app = create_app(service, Hosts.bound_to("127.0.0.1"), users=users)
    with TestClient(app, base_url="https://localhost") as client:  # type: ignore[arg-type]
        answer = client.post("/api/v1/session", json={"token": token}, headers={"origin": "https://localhost"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_program_needs_no_origin_but_a_valid_token(client: TestClient, users: Users) -> None:
    token = users.add("anna", "search")
    assert client.post("/api/v1/images", content=IMAGE, headers=bearer(token)).status_code == 200
    assert client.post("/api/v1/images", content=IMAGE, headers=bearer("x")).status_code == 401
    assert client.post("/api/v1/images", content=IMAGE, headers={"authorization": "Basic eDp5"}).status_code == 403
    assert client.get("/api/v1/about", headers={"authorization": "Basic eDp5"}).status_code == 401
    evil = bearer(token) | {"host": "evil.example"}
    assert client.get("/api/v1/about", headers=evil).status_code == 421


def test_without_users_anybody_may_search_and_nobody_changes(service: PageService) -> None:
    with client_of(service, None) as client:
        for one in OPERATIONS:
            status = ask(client, one.name, OWN).status_code
            changes = one.role in ("add", "delete") and one.name not in ("merge", "split")  # as --edit says
            assert (status == 403) is changes, one.name
        assert client.post("/api/v1/session", json={"token": "x"}, headers=OWN).status_code == 400


def test_too_many_requests_wait(service: PageService, users: Users) -> None:
    anna, ben = (bearer(users.add(name, "search")) for name in ("anna", "ben"))
    with client_of(service, users, per_minute=5) as client:
        statuses = [client.get("/api/v1/about", headers=anna).status_code for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        refused = client.get("/api/v1/about", headers=anna)
        assert 1 <= int(refused.headers["retry-after"]) <= 13
        assert "5 requests a minute" in refused.json()["error"]
        assert client.get("/api/v1/about", headers=ben).status_code == 200
        assert client.get("/health").status_code == 200


def test_guessing_tokens_is_slow_and_shuts_nobody_out(client: TestClient, users: Users) -> None:
    token = users.add("anna", "search")
    statuses = [client.get("/api/v1/about", headers=bearer(f"guess{n}")).status_code for n in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert client.post("/api/v1/session", json={"token": "guess"}, headers=OWN).status_code == 429
    assert client.get("/api/v1/about", headers=bearer(token)).status_code == 200


def test_the_page_records_who_did_what(
    client: TestClient, users: Users, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gallery: Gallery
) -> None:
    monkeypatch.setenv(AUDIT_VARIABLE, str(tmp_path / "log"))
    anna, ben = bearer(users.add("anna", "search")), bearer(users.add("ben", "delete"))
    image = client.post("/api/v1/images", content=IMAGE, headers=anna).json()["image"]
    question = {"query": [{"image": image}], "k": 3, "where": {"cameras": [2]}}
    assert len(client.post("/api/v1/search", json=question, headers=anna).json()["results"]) == 3
    client.post("/api/v1/search", json={"query": [{"item": "nobody"}]}, headers=anna)
    client.post("/api/v1/delete", json={"ids": ["anna_c1"]}, headers=anna)
    client.post("/api/v1/delete", json={"ids": ["anna_c1"]}, headers=ben)
    client.get("/api/v1/about", headers=bearer("x"))
    client.post("/api/v1/session", json={"token": "y"}, headers=OWN)
    for _ in range(20):  # beyond ten nothing more is recorded: nobody can fill the log
        client.get("/api/v1/about", headers=bearer("x"))
    log = AuditLog(tmp_path / "log")
    search, missing, refused, begun, deleted, stranger, at_login, *more = log.records()
    assert (search["who"], search["source"], search["results"]) == ("anna", "page", 3)
    assert search["address"] == "testclient"
    assert search["asked"]["where"] == {"cameras": ["2"]}
    (asked,) = search["asked"]["query"]
    assert len(asked["sha256"]) == 64
    assert image not in json.dumps(search)
    assert (missing["outcome"], "Not in the gallery" in missing["error"]) == ("failed", True)
    assert (refused["who"], refused["action"], refused["outcome"]) == ("anna", "delete", "refused")
    assert (begun["who"], deleted["deleted"], deleted["asked"]["ids"]) == ("ben", 1, ["anna_c1"])
    assert (stranger["outcome"], stranger["action"]) == ("refused", "about")
    assert (at_login["outcome"], at_login["action"]) == ("refused", "log_in")
    assert len(more) == 8
    assert log.verify().problems == ()
    assert len(gallery) == 5


def test_an_answer_that_cannot_be_recorded_is_not_given(
    client: TestClient, users: Users, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").touch()
    monkeypatch.setenv(AUDIT_VARIABLE, str(tmp_path / "log"))
    headers = bearer(users.add("anna", "search"))
    answer = client.post("/api/v1/search", json={"query": [{"item": "anna_c1"}]}, headers=headers)
    assert answer.status_code == 500
    assert "was not done" in answer.json()["error"]
    assert str(tmp_path) not in answer.text
