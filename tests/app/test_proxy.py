"""The page behind nginx with TLS, by the configuration in the documents: names, addresses, cookies."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="the extra app is not installed")

from partreid.app.server import PageServer
from partreid.app.service import PageService
from partreid.app.users import Users
from partreid.retrieval.audit_log import AuditLog
from partreid.retrieval.recording import AUDIT_VARIABLE

NGINX, OPENSSL = (shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin:/bin") for name in ("nginx", "openssl"))
pytestmark = pytest.mark.skipif(not (NGINX and OPENSSL), reason="nginx or openssl is not installed")

CONFIG = Path(__file__).parents[2] / "docs" / "nginx.conf"
NAME, PROXY, STRANGER = "people.example.org", "127.0.0.1", "127.0.0.9"


def free_port() -> int:
    with socket.create_server((PROXY, 0)) as one:
        return int(one.getsockname()[1])


class Proxied:
    """The page, the proxy before it, and what asks them."""

    def __init__(self, page: int, port: int, token: str) -> None:
        self.page, self.port, self.token = page, port, token

    def ask(
        self, method: str, path: str, body: Any = None, *, source: str = STRANGER, direct: bool = False,
        **headers: str,
    ) -> http.client.HTTPResponse:  # fmt: skip
        """An answer through the proxy, or of the page itself, to a client at an address."""
        context = ssl._create_unverified_context()
        where: tuple[str, int] = (PROXY, self.page if direct else self.port)
        connection = (
            http.client.HTTPConnection(*where, timeout=20, source_address=(source, 0))
            if direct
            else http.client.HTTPSConnection(*where, timeout=20, source_address=(source, 0), context=context)
        )
        data = None if body is None else json.dumps(body)
        sent = {"Host": NAME, "Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        answer.content = answer.read()  # type: ignore[attr-defined]
        connection.close()
        return answer


@pytest.fixture
def proxied(service: PageService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxied]:
    monkeypatch.setenv(AUDIT_VARIABLE, str(tmp_path / "log"))
    users = Users(tmp_path / "users.json")
    token = users.add("anna", "search")
    server = PageServer(service, PROXY, 0, names=[NAME], users=users, proxies=[PROXY])
    thread = threading.Thread(target=server.run)
    thread.start()
    certificate, key, port = tmp_path / "people.crt", tmp_path / "people.key", free_port()
    subprocess.run(
        [str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}", "-days", "1",
         "-keyout", key, "-out", certificate], check=True, capture_output=True,
    )  # fmt: skip
    text = CONFIG.read_text()
    for written, here in (
        ("listen 443 ssl", f"listen {PROXY}:{port} ssl"), ("/etc/nginx/people.crt", str(certificate)),
        ("/etc/nginx/people.key", str(key)), ("http://127.0.0.1:8000/", f"http://127.0.0.1:{server.port}/"),
    ):  # fmt: skip
        assert text.count(written) == 1, written
        text = text.replace(written, here)
    paths = "".join(
        f"{name}_temp_path {tmp_path / name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = re.sub(r"http \{\n", f"http {{\naccess_log off;\n{paths}", text)
    (tmp_path / "nginx.conf").write_text(f"daemon off;\npid {tmp_path / 'pid'};\n{text}")
    command = [str(NGINX), "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", tmp_path / "errors"]
    tried = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tried.returncode == 0, tried.stderr
    nginx = subprocess.Popen(command)
    for _ in range(200):
        with socket.socket() as one:
            if one.connect_ex((PROXY, port)) == 0:
                break
        time.sleep(0.05)
    yield Proxied(server.port, port, token)
    nginx.terminate()
    nginx.wait(20)
    server.stop()
    thread.join(20)


def addresses(tmp_path: Path) -> list[str]:
    return [record["address"] for record in AuditLog(tmp_path / "log").records()]


def test_a_browser_behind_the_proxy(proxied: Proxied) -> None:
    page = proxied.ask("GET", "/people/")
    assert page.status == 200
    assert page.getheader("strict-transport-security")
    assert b"Find a person" in page.content  # type: ignore[attr-defined]
    answer = proxied.ask("POST", "/people/api/v1/session", {"token": proxied.token}, Sec_Fetch_Site="same-origin")
    assert answer.status == 200
    cookie = str(answer.getheader("set-cookie"))
    assert "Secure" in cookie
    assert "path" not in cookie.lower()  # the browser takes that of the request, below /people/
    about = proxied.ask("GET", "/people/api/v1/about", Cookie=cookie.partition(";")[0])
    assert about.status == 200
    assert proxied.ask("GET", "/people/", Host="evil.example").status == 421


def test_only_the_named_proxy_is_believed_who_asks(proxied: Proxied, tmp_path: Path) -> None:
    query = {"query": [{"item": "anna_c1"}]}
    token = {"Authorization": f"Bearer {proxied.token}"}
    for lie in ({}, {"X_Forwarded_For": "9.9.9.9"}):
        assert proxied.ask("POST", "/people/api/v1/search", query, **token, **lie).status == 200
    direct = proxied.ask("POST", "/api/v1/search", query, direct=True, X_Forwarded_For="9.9.9.9", **token)
    assert direct.status == 200
    assert addresses(tmp_path) == [STRANGER] * 3
