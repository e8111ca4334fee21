"""Who says nothing, sends for ever, or does not fetch; files, models and galleries that do not answer; Ctrl-C then."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra app is not installed")

from partreid.app import uploads
from partreid.app.server import PageServer
from partreid.app.service import PageService
from partreid.app.threads import jobs_at_work
from partreid.app.uploads import ItemFiles, Limits, UnknownImageError, read_plain_file
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.gallery import Gallery
from tests.app.people import COLORS, ColorRunner, person, png

PATIENCE = 20.0
LIMITS = Limits(
    upload_bytes=200_000, unfinished_bytes=500_000, connections=40, waiting=1, silence_seconds=1.0,
    transfer_seconds=2.0, answer_seconds=20.0, file_seconds=0.3,
)  # fmt: skip
IMAGE = png(person(COLORS["anna"], COLORS["ben"]))
HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "


class Site:
    """A page that is served with narrow limits."""

    def __init__(self, server: PageServer, service: PageService, runner: ColorRunner) -> None:
        self.server, self.service, self.runner = server, service, runner
        self._opened = ExitStack()

    def connect(self, *said: bytes) -> socket.socket:
        """A connection that stays open, on which something was said."""
        connection = self._opened.enter_context(socket.create_connection(("127.0.0.1", self.server.port), PATIENCE))
        for some in said:
            connection.sendall(some)
        return connection

    def ask(
        self, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        headers = {"Origin": f"http://127.0.0.1:{self.server.port}", "Content-Type": kind}
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def upload(self, length: int, some: bytes = b"x") -> socket.socket:
        """Begin to send an image."""
        return self.connect(upload_head(length), some)

    def close(self) -> None:
        self._opened.close()


def upload_head(length: int) -> bytes:
    return (
        "POST /api/v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


@contextmanager
def opened(gallery: Gallery, extractor: PartExtractor, limits: Limits) -> Iterator[Site]:
    service, runner = PageService(gallery, extractor, limits=limits), extractor.runner
    assert isinstance(runner, ColorRunner)
    with served(service) as server:
        site = Site(server, service, runner)
        yield site
        site.close()


@pytest.fixture
def site(gallery: Gallery, extractor: PartExtractor) -> Iterator[Site]:
    with opened(gallery, extractor, LIMITS) as site:
        yield site


@pytest.fixture
def hasty(gallery: Gallery, extractor: PartExtractor) -> Iterator[Site]:
    """Waits for no answer longer than a second."""
    with opened(gallery, extractor, replace(LIMITS, answer_seconds=1.0)) as site:
        yield site


@contextmanager
def served(service: PageService) -> Iterator[PageServer]:
    server = PageServer(service, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def until(there: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def ended(connection: socket.socket) -> bool:
    """Whether the page has ended a connection."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def status(connection: socket.socket) -> int:
    """Of the answer that comes on a connection."""
    connection.settimeout(PATIENCE)
    return int(connection.recv(65536).split()[1])


def test_half_heads_keep_nobody_out(site: Site) -> None:
    halves = [site.connect(HALF) for _ in range(3 * LIMITS.connections)]
    assert site.ask("/")[0] == 200
    assert site.ask("/health")[2] == b'{"ok": true}'
    # The oldest made room at once, the others had their time, whether silent or dripping.
    until(lambda: sum(map(ended, halves)) >= len(halves) - LIMITS.connections)
    dripping = site.connect(HALF)
    start = time.monotonic()

    def drip() -> bool:
        try:
            dripping.send(b"a")
        except OSError:
            return True
        return ended(dripping)

    until(drip)
    assert time.monotonic() - start < 8
    until(lambda: all(map(ended, halves)))


def test_who_is_answered_is_not_put_out(site: Site) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*_: object) -> bytes:
        begun.set()
        assert go.wait(PATIENCE)
        return b"an image"

    site.service.preview = slow  # type: ignore[assignment, method-assign]
    kept = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=PATIENCE)
    kept.request("GET", "/api/v1/image?id=x")
    assert begun.wait(PATIENCE)
    for _ in range(2 * LIMITS.connections):
        site.connect(HALF)
    assert site.ask("/health")[0] == 200
    go.set()
    assert kept.getresponse().read() == b"an image"
    kept.close()


def test_unfinished_uploads_hold_no_more_than_their_share(site: Site) -> None:
    unfinished = [site.upload(200_000, b"x" * 150_000) for _ in range(2)]
    refused = site.ask("/api/v1/images", b"x" * 150_000, "application/octet-stream")
    until(lambda: site.ask("/api/v1/images", b"x" * 150_000, "application/octet-stream")[0] == 503)
    assert refused[0] in (400, 503)  # 400: the others' heads had not been read yet
    _, headers, words = site.ask("/api/v1/images", b"x" * 150_000, "application/octet-stream")
    assert headers["retry-after"] == "5"
    assert "busy" in json.loads(words)["error"]
    # Questions have a share of their own, and these need none.
    assert site.ask("/api/v1/search", b'{"query": [{"item": "anna_c1"}]}')[0] == 200
    assert site.ask("/api/v1/about")[0] == 200
    assert [status(connection) for connection in unfinished] == [408, 408]
    until(lambda: all(map(ended, unfinished)))
    assert site.ask("/api/v1/images", IMAGE, "application/octet-stream")[0] == 200


def test_a_body_that_drips(site: Site) -> None:
    dripping = site.upload(1000)
    start = time.monotonic()

    def answered() -> bool:
        try:
            dripping.send(b"x")
            dripping.settimeout(0.1)
            return dripping.recv(9) != b""
        except TimeoutError:
            return False

    until(answered)
    assert LIMITS.silence_seconds < time.monotonic() - start < 10  # not silent, and still too slow


def test_who_does_not_fetch_the_answers(site: Site) -> None:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", site.server.port))
    asked = b"GET /static/app.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 50

    def ask_on_and_read_nothing() -> None:
        while True:
            connection.sendall(asked)

    with connection, pytest.raises(OSError, match=r"reset|[Pp]ipe"):
        ask_on_and_read_nothing()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Files of anna's do not answer before this is set."""
    event = threading.Event()

    def read(path: Path, most_bytes: int) -> bytes | None:
        if path.name.startswith("anna"):
            assert event.wait(PATIENCE)
        return read_plain_file(path, most_bytes)

    monkeypatch.setattr(uploads, "read_plain_file", read)
    yield event
    event.set()
    until(lambda: jobs_at_work() == 0)


def test_a_file_that_does_not_answer(site: Site, silent: threading.Event) -> None:
    for _ in range(3):
        code, _, words = site.ask("/api/v1/item?id=anna_c1")
        assert code == 404
        assert "did not answer within 0.3 seconds" in json.loads(words)["error"]
    assert site.ask("/api/v1/item?id=ben_c1")[0] == 200
    ranking = json.loads(site.ask("/api/v1/search", b'{"query": [{"item": "anna_c1"}]}')[2])
    assert len(ranking["results"]) == 6
    compared = json.loads(site.ask("/api/v1/compare", b'{"query": [{"item": "ben_c1"}], "item": "anna_c1"}')[2])
    assert "did not answer" in compared["problems"][0]
    assert compared["found"]["distance"] > 0
    silent.set()
    until(lambda: site.ask("/api/v1/item?id=anna_c1")[0] == 200)


def test_many_files_that_do_not_answer(silent: threading.Event, tmp_path: Path) -> None:
    files = ItemFiles(Limits(upload_bytes=1000, file_seconds=0.01))
    for number in range(40):
        with pytest.raises(UnknownImageError):
            files.read(str(tmp_path / f"anna{number}.png"))
    assert jobs_at_work() <= 16
    silent.set()
    (tmp_path / "anna99.png").write_bytes(b"there")

    def answers() -> bool:
        try:
            return files.read(str(tmp_path / "anna99.png")) == b"there"
        except UnknownImageError:
            return False

    until(answers)


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "device").symlink_to("/dev/zero")
    assert read_plain_file(tmp_path / "file", 10) == b"0123456789"
    assert read_plain_file(tmp_path / "link", 10) == b"0123456789"
    for name in ("empty", "device", "none", "", "x" * 5000, "nul\0"):
        assert read_plain_file(tmp_path / name, 10) is None
    assert read_plain_file(tmp_path / "file", 9) is None
    for path in ("/proc/self/environ", "/proc/kmsg", "relative"):
        assert read_plain_file(Path(path), 10**6) is None


def test_a_model_that_does_not_answer(hasty: Site) -> None:
    go, run = threading.Event(), hasty.runner.run

    def stuck(*args: Any) -> Any:
        assert go.wait(PATIENCE)
        return run(*args)

    hasty.runner.run = stuck  # type: ignore[method-assign]
    name = json.loads(hasty.ask("/api/v1/images", IMAGE, "x/y")[2])["image"]
    question = json.dumps({"query": [{"image": name}]}).encode()
    code, headers, words = hasty.ask("/api/v1/search", question)
    assert (code, headers["retry-after"]) == (503, "5")
    assert "no answer within 1 seconds" in json.loads(words)["error"]
    assert hasty.ask("/api/v1/look", question)[0] == 503
    assert hasty.ask("/health")[0] == 200
    assert json.loads(hasty.ask("/api/v1/about")[2])["items"] == 6
    until(lambda: hasty.ask("/api/v1/item?id=ben_c1")[0] == 200)
    go.set()
    until(lambda: hasty.ask("/api/v1/search", question)[0] == 200)


def test_a_gallery_that_does_not_answer(hasty: Site) -> None:
    with hasty.service._gallery_lock:
        assert hasty.ask("/api/v1/search", b'{"query": [{"item": "anna_c1"}]}')[0] == 503
        start = time.monotonic()
        for _ in range(4):
            assert json.loads(hasty.ask("/api/v1/about")[2])["items"] == 6
        assert hasty.ask("/health")[0] == 200
        assert time.monotonic() - start < 10
    until(lambda: hasty.ask("/api/v1/search", b'{"query": [{"item": "anna_c1"}]}')[0] == 200)
