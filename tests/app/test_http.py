"""The page over HTTP: answers, refusals, and whatever anybody may send."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("starlette", reason="the extra app is not installed")
pytest.importorskip("httpx", reason="Starlette's test client needs httpx")

from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from partreid.app.guard import HEADERS, Hosts
from partreid.app.http import create_app
from partreid.app.server import PageServer
from partreid.app.service import PageService
from partreid.app.turns import BusyError, Turns
from partreid.app.uploads import Limits
from partreid.errors import ConfigError, MissingDependencyError
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.gallery import Gallery
from tests.app.people import COLORS, EVIL, person, png

PAGE = "http://localhost:8000"
OWN = {"origin": PAGE}
RED, GREEN = COLORS["anna"], COLORS["ben"]
GETS = ("/", "/static/app.js", "/api/v1/about", "/api/v1/image", "/api/v1/item", "/nothing")
POSTS = ("/api/v1/images", "/api/v1/look", "/api/v1/search", "/api/v1/compare")


def open_client(service: PageService, **hosts: Any) -> TestClient:
    app = create_app(service, Hosts.bound_to("127.0.0.1", **hosts))
    return TestClient(app, base_url=PAGE, raise_server_exceptions=False)  # type: ignore[arg-type]


@pytest.fixture
def client(service: PageService) -> Iterator[TestClient]:
    with open_client(service) as client:
        yield client


def upload(client: TestClient, image: np.ndarray) -> str:
    answer = client.post("/api/v1/images", content=png(image), headers=OWN)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["image"])


def error(answer: Any, status: int) -> str:
    """The words of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    return str(answer.json()["error"])


def test_from_a_image_to_a_comparison(client: TestClient, service: PageService) -> None:
    about = client.get("/api/v1/about").json()
    assert (about["items"], about["cameras"], about["calibration"]) == (6, ["1", "2"], None)
    assert [slot["name"] for slot in about["slots"]] == ["foreground", "torso", "legs"]
    name = upload(client, person(RED, GREEN))
    with Image.open(io.BytesIO(client.get("/api/v1/image", params={"id": name}).content)) as preview:
        assert (preview.format, preview.size) == ("JPEG", (32, 64))
    question = {"query": [{"image": name}], "k": 2, "where": {"cameras": [2]}, "parts": ["torso"]}
    assert client.post("/api/v1/look", json=question, headers=OWN).json()["visibility"]["torso"] == 1
    found = client.post("/api/v1/search", json=question, headers=OWN).json()["results"]
    assert [one["id"] for one in found] == ["anna_c2", "ben_c2"] or found[0]["id"] == "anna_c2"
    assert client.get("/api/v1/item", params={"id": found[0]["id"]}).headers["content-type"] == "image/jpeg"
    compared = client.post("/api/v1/compare", json=question | {"item": "ben_c1"}, headers=OWN).json()
    assert [part["slot"] for part in compared["parts"]] == ["torso"]


def test_every_answer_has_the_headers_and_nothing_is_inline(client: TestClient) -> None:
    for path in GETS:
        answer = client.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["content-security-policy"]
    page = client.get("/").text
    assert "<script>" not in page
    assert " style=" not in page
    assert " on" not in "".join(part.partition(">")[0] for part in page.split("<"))
    for file in (
        "",
        *(f"static/{name}" for name in ("app.js", "api.js", "dom.js", "results.js", "stage.js", "app.css")),
    ):
        text = client.get(f"/{file}").text
        assert text
        assert "//www" not in text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in text
        assert "eval(" not in text


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.5",
        "",
        "a b",
        "[",
        "localhost@evil.example",
    ],
)
def test_other_names_are_not_answered_to(client: TestClient, host: str) -> None:
    assert "--allow-host" in error(client.get("/", headers={"host": host}), 421)


def test_names_that_are_answered_to() -> None:
    local, proxied, everywhere = (
        Hosts.bound_to("127.0.0.1"), Hosts.bound_to("127.0.0.1", ["People.example"]), Hosts.bound_to("0.0.0.0")
    )  # fmt: skip
    assert all(local.allow(name) for name in ("localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"))
    assert proxied.allow("people.example:443")
    assert not local.allow("people.example")
    # Nobody can make an address point elsewhere, so any will do where other machines are let in.
    assert everywhere.allow("192.168.1.5:8000")
    assert not everywhere.allow("evil.example")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "https://proxied.example"}, True),
        ({"sec-fetch-site": "cross-site", "origin": PAGE}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": PAGE}, True),
        ({"origin": "http://localhost:9000"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_the_page_itself_may_send(client: TestClient, headers: dict[str, str], allowed: bool) -> None:
    for path in POSTS:
        answer = client.post(path, content=png(person(RED, GREEN)), headers=headers)
        assert (answer.status_code == 403) is not allowed
    assert (client.get("/api/v1/about", headers={"sec-fetch-site": "cross-site"})).status_code == 403
    assert (client.get("/", headers={"sec-fetch-site": "cross-site"})).status_code == 200


def test_a_form_of_another_kind_is_not_read(client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post("/api/v1/search", content="{}", headers=OWN | {"content-type": kind})
        assert "application/json" in error(answer, 415)


def test_large_uploads_stop_early(gallery: Gallery, extractor: PartExtractor) -> None:
    client = open_client(PageService(gallery, extractor, limits=Limits(upload_bytes=100_000)))
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 10_000
            yield b"x" * 10_000

    async def read_body() -> int:
        """How many bytes of an endless body are taken."""
        taken = 0

        async def receive() -> dict[str, Any]:
            nonlocal taken
            taken += 10_000
            return {"type": "http.request", "body": b"x" * 10_000, "more_body": True}

        async def send(message: Any) -> None:
            pass

        headers = [(b"host", b"localhost"), (b"origin", b"http://localhost")]
        scope = {"type": "http", "method": "POST", "path": "/api/v1/images", "headers": headers, "query_string": b"",
                 "raw_path": b"/api/v1/images", "root_path": "", "scheme": "http", "http_version": "1.1"}  # fmt: skip
        await client.app(scope, receive, send)  # type: ignore[arg-type]
        return taken

    assert anyio.run(read_body) == 110_000
    assert "larger than" in error(client.post("/api/v1/images", content=endless(), headers=OWN), 413)
    announced = client.post("/api/v1/images", content=b"", headers=OWN | {"content-length": "99999999999"})
    assert "larger than" in error(announced, 413)
    assert "longer" in error(client.post("/api/v1/search", json={"query": "x" * 300_000}, headers=OWN), 413)


@pytest.mark.parametrize(
    "name",
    ["../service.py", "..%2fservice.py", "%2e%2e/%2e%2e/errors.py", "/etc/passwd", "app.js/", "", "static", "..\\x"],
)
def test_no_path_leads_out(client: TestClient, name: str) -> None:
    for path in (f"/static/{name}", f"/x/{name}"):
        assert client.get(path).status_code in (404, 421), path


def test_refusals_are_words(client: TestClient) -> None:
    post = client.post
    assert "not kept any more" in error(client.get("/api/v1/image?id=x"), 410)
    assert "not kept any more" in error(post("/api/v1/search", json={"query": [{"image": "x"}]}, headers=OWN), 410)
    assert "Not in the gallery" in error(client.get("/api/v1/item", params={"id": "../../etc/passwd"}), 404)
    assert "no image" in error(post("/api/v1/images", content=b"<svg onload=alert(1)>", headers=OWN), 400)
    assert "JSON" in error(
        post("/api/v1/search", content=b"{", headers=OWN | {"content-type": "application/json"}), 400
    )
    assert "Did you mean 'query'" in error(post("/api/v1/search", json={"qery": 1}, headers=OWN), 400)
    error(client.get("/api/v1/search"), 405)
    error(client.get("/nowhere"), 404)


def test_texts_stay_texts(client: TestClient, gallery: Gallery, extractor: PartExtractor) -> None:
    gallery.add(extractor.embed([person(RED, GREEN)]), [EVIL], cameras=EVIL, metadata=[{"file": EVIL, EVIL: EVIL}])
    question = {"query": [{"image": upload(client, person(RED, GREEN))}], "k": 1}
    answer = client.post("/api/v1/search", json=question, headers=OWN)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["results"][0]["id"] == EVIL
    assert "image file" in error(client.get("/api/v1/item", params={"id": EVIL}), 404)


def test_an_own_fault_tells_nothing_of_the_inside(client: TestClient, service: PageService) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret path /home/someone")

    service.about = broken  # type: ignore[assignment, method-assign]
    assert error(client.get("/api/v1/about"), 500) == (
        "Something went wrong inside the page; the terminal it runs in tells more."
    )


def test_one_at_a_time_few_wait_and_who_left_is_passed_over() -> None:
    async def here() -> bool:
        return False

    async def gone() -> bool:
        return True

    asking: Any = SimpleNamespace(is_disconnected=here)
    left: Any = SimpleNamespace(is_disconnected=gone)
    running, done, go = [], [], threading.Event()

    def job() -> None:
        running.append(1)
        assert len(running) - len(done) == 1
        assert go.wait(10)
        done.append(1)

    async def main() -> None:
        turns = Turns(together=1, waiting=2)

        async def stale() -> None:
            with pytest.raises(ClientDisconnect):
                await turns.run(left, job)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turns.run, asking, job)
            tasks.start_soon(turns.run, asking, job)
            tasks.start_soon(stale)
            await anyio.sleep(0.05)
            with pytest.raises(BusyError, match="busy"):
                await turns.run(asking, job)
            go.set()
        await turns.run(asking, job)

    anyio.run(main)
    assert len(done) == 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 40_000, "not valid JSON"),
        (b'{"query": [{"item": "anna_c1"}], "k": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"query": [{"item": "anna_c1"}], "k": ' + b"9" * 4000 + b"}", "less than or equal to 200"),
        (b'{"query": [{"item": "anna_c1"}], "k": 1e999}', "k = inf"),
        (b'{"query": [{"item": "anna_c1"}], "k": NaN}', "no number NaN"),
        (b'{"query": [{"item": "anna_c1"}], "k": -Infinity}', "no number -Infinity"),
        (b'{"query": [{"item": "anna_c1"}], "k": 2.5}', "k = 2.5"),
        (b'{"query": [{"item": "anna_c1"}], "k": 2.0}', "k = 2.0"),
        (b'{"query": [{"item": "anna_c1"}], "k": true}', "k = True"),
        (b'{"query": [{"item": "anna_c1"}], "k": "5"}', "k = '5'"),
        (b'{"query": [{"item": "anna_c1"}], "k": 1, "k": 2}', "'k' twice"),
        (b'{"query": [], "query": [{"item": "anna_c1"}]}', "'query' twice"),
        (b'{"query": [{"item": "anna_c1", "item": "ben_c1"}]}', "'item' twice"),
        (b'{"query": [{"item": "anna_c1"}], "normalize": "yes"}', "normalize"),
        (b'{"query": [{"item": "anna_c1"}], "normalize": 1}', "normalize"),
        (b'{"query": [{"item": 7}]}', "query.0.item = 7"),
        (b'{"query": [{"item": "\\ud800"}]}', "Not in the gallery|surrogate"),
        (b'{"query": [{"item": "\\u0000"}]}', "NUL"),
        (b'{"query": [{"item": ""}]}', "1 to 500 characters"),
        (b'{"query": [{"image": "KEPT", "box": [NaN, 0, 1, 1]}]}', "no number NaN"),
        (b'{"query": [{"image": "KEPT", "box": [true, 0, 9, 9]}]}', "expected a number"),
        (b'{"query": [{"image": "KEPT", "box": ["0", 0, 9, 9]}]}', "valid number"),
        (b'{"query": [{"image": "KEPT", "box": [0, 0, 9, 1e999]}]}', "finite"),
        (b'{"query": [{"image": "KEPT", "box": [0, 0, 9, 1' + b"0" * 400 + b"]}]}", "box"),
        (b'{"query": [{"image": "KEPT", "box": "abcd"}]}', "box"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"since": "99999"}}', "where.since = '99999'"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"since": true}}', "where.since = True"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"until": 1e300}}', "where.until"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"until": "2026-11-29T09:00"}}', "time zone"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"until": "2026-11-29T09:00+99:00"}}', "where.until"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"cameras": ["\\ud800"]}}', "surrogate"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"cameras": {"a": 1}}}', "where.cameras"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"metadata": {"a": [[1]]}}}', "where.metadata"),
        (b'{"query": [{"item": "anna_c1"}], "where": {"metadata": 5}}', "where.metadata"),
        (b'{"query": [{"item": "anna_c1"}], "parts": [1]}', "parts.0 = 1"),
        (b'{"query": {"item": "anna_c1"}}', "query"),
        (b'{"query": [{"item": "anna_c1"}], "__proto__": 1}', "unknown field '__proto__'"),
        (b'{"query": "\xff"}', "not valid JSON"),
        (b"null", "got NoneType"),
    ],
)  # fmt: skip
def test_hostile_questions(client: TestClient, body: bytes, words: str) -> None:
    body = body.replace(b"KEPT", upload(client, person(RED, GREEN)).encode())
    for path in ("/api/v1/search", "/api/v1/look", "/api/v1/compare"):
        if path == "/api/v1/compare" and body.startswith(b'{"query"'):
            body = b'{"item": "ben_c1", ' + body[1:]
        answer = client.post(path, content=body, headers=OWN | {"content-type": "application/json"})
        assert re.search(words, error(answer, 400)), answer.text


texts = st.text(max_size=8) | st.sampled_from(["anna_c1", EVIL, "\ud800", "\0", "../x", "1e999"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3), max_leaves=6)
NAMES = ("cameras", "not_cameras", "since", "until", "undated", "metadata", "not_metadata", "ids", "not_ids")
filters = values | st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
boxes = values | st.lists(st.integers(-99, 99) | st.floats(), min_size=4, max_size=4)
sightings = values | st.fixed_dictionaries({}, optional={"image": texts | st.just("KEPT"), "box": boxes, "item": texts})
questions = values | st.fixed_dictionaries(
    {"query": st.lists(sightings, max_size=2) | st.just([{"item": "anna_c1"}]) | st.just([{"image": "KEPT"}])},
    optional={"parts": values | st.just(["torso"]), "k": values, "normalize": values, "where": filters,
              "item": texts, "other": values},
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "BREW"]) | st.just("POST"),
    path=st.sampled_from([*GETS, *POSTS]) | st.sampled_from(POSTS),
    params=st.dictionaries(st.sampled_from(["id", "x"]), texts.filter(lambda text: "\ud800" not in text), max_size=2),
    body=questions.map(lambda q: json.dumps(q).encode()) | st.binary(max_size=60),
    box=st.none() | boxes,
)
def test_whatever_comes(
    client: TestClient, method: str, path: str, params: dict[str, str], body: bytes, box: object
) -> None:
    if not hasattr(client, "kept"):
        client.kept = upload(client, person(RED, GREEN))  # type: ignore[attr-defined]
    body = body.replace(b"KEPT", client.kept.encode())  # type: ignore[attr-defined]
    headers = OWN | ({} if path == "/api/v1/images" else {"content-type": "application/json"})
    answer = client.request(method, path, params=params, content=body, headers=headers)
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != 200 and method != "HEAD":
        words = error(answer, answer.status_code)
        assert words
        assert len(words) < 1100
        assert "Traceback" not in words


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow's, of damaged headers
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
def test_damaged_images(service: PageService, data: st.DataObject, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(person(RED, GREEN)).save(buffer, format=kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, min(len(content) - 1, 200)))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    answer = open_client(service).post("/api/v1/images", content=bytes(content[:end]), headers=OWN)
    assert answer.status_code in (200, 400, 413), answer.text


def test_a_real_server(service: PageService) -> None:
    server = PageServer(service, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with urllib.request.urlopen(server.address, timeout=20) as answer:
            assert b"Find a person" in answer.read()
            assert "server" not in answer.headers
        with pytest.raises(ConfigError, match=rf"port {server.port}.*--port"):
            PageServer(service, "127.0.0.1", server.port)
    finally:
        server.stop()
        thread.join(20)
    assert not thread.is_alive()


def test_addresses(service: PageService) -> None:
    for host, local in (("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)):
        server = PageServer(service, host, 0)
        assert server.local is local
        assert server.address.endswith(f":{server.port}/")
        server._socket.close()
    with pytest.raises(ConfigError, match="Cannot listen"):
        PageServer(service, "256.1.1.1", 0)


def test_without_the_extra(service: PageService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingDependencyError, match=r"partreid\[app\]"):
        PageServer(service, "127.0.0.1", 0)


def test_the_server_can_be_imported_without_the_extra() -> None:
    code = (
        "import sys\n"
        "sys.modules['starlette'] = sys.modules['uvicorn'] = None\n"
        "import partreid.app.server, partreid.app.service"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_is_in_the_package() -> None:
    import partreid.app

    names = {path.name for path in (Path(partreid.app.__file__).parent / "static").iterdir()}
    assert {"index.html", "app.js", "app.css"} <= names
