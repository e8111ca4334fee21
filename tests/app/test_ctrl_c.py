"""``partreid app`` as a process: what it holds in memory, and that Ctrl-C ends it whatever it waits for."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra app is not installed")

from tests.app.test_stuck import HALF, IMAGE, PATIENCE, upload_head

_PROGRAM = """
import sys, threading
from partreid.cli import main
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.gallery import Gallery
from tests.app.people import ColorRunner

class Stuck(ColorRunner):
    def run(self, pixels, part_maps):
        print("stuck", flush=True)
        threading.Event().wait()

extractor = PartExtractor.from_runner(Stuck())
PartExtractor.from_pretrained = lambda *args, **options: extractor
Gallery.open = lambda *args, **options: Gallery(extractor=extractor)
sys.argv = ["partreid", "app", "--gallery", "g", "--model", "m", "--port", "0"]
main()
"""


@contextmanager
def program() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """``partreid app`` as a process of its own, and its port."""
    command, root = [sys.executable, "-c", _PROGRAM], Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().partition("127.0.0.1:")[2].partition("/")[0])
        finally:
            process.kill()


def memory(process: subprocess.Popen[str]) -> float:
    """MiB that a process holds."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_it_though_the_model_does_not_answer(stop: signal.Signals, status: int) -> None:
    with program() as (process, port), socket.create_connection(("127.0.0.1", port), PATIENCE) as half:
        half.sendall(HALF)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        headers = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/images", IMAGE, headers)
        name = json.load(connection.getresponse())["image"]
        connection.request("POST", "/api/v1/look", json.dumps({"query": [{"image": name}]}), headers)
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck\n"
        process.send_signal(stop)
        _, words = process.communicate(timeout=12)
        assert process.returncode == status, words
        assert "unfinished work" in words
        assert "Traceback" not in words
        assert b"closed" in connection.getresponse().read()


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_unfinished_uploads_take_little_memory_and_ctrl_c_ends_them() -> None:
    length, content = 20 * 2**20, b"x" * (19 * 2**20)
    with program() as (process, port), ExitStack() as opened:
        http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE).request("GET", "/health")
        before = memory(process)
        for _ in range(30):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            connection.sendall(upload_head(length))
            connection.sendall(content)
        time.sleep(0.5)
        assert memory(process) - before < 250  # of 570 that were sent
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=12)
        assert process.returncode == 0, words
        assert "Traceback" not in words
