"""``python -m benchmarks.app [--minutes 10] [--clients 50] [--pause 10]``: many clients and a writer on the page's API.

The page runs as a process of its own, as ``partreid app`` starts it: with users, an audit log, and a gallery in a
folder. Each client has a token. It looks at an answer for a while, and asks again:
mostly for the nearest of an item, now and then for a person in an image. The writer sends images, adds them, and
deletes them. Printed are the errors, the answers' times, and the memory of the page's process over time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid.app.users import Users
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.inference.extractor import PartExtractor
from partreid.retrieval import AuditLog, Gallery, begin_audit_log
from partreid.types import PartEmbeddings

ITEMS = 5_000
WARM_SECONDS, EVERY_SECONDS = 60.0, 10.0


class Client:
    """Somebody with a token, who asks one thing after the other; the page closes a connection that is idle for 10 s."""

    def __init__(self, port: int, token: str, seen: Counter[str], times: list[float]) -> None:
        self._port, self._token, self._seen, self._times = port, token, seen, times

    def ask(self, path: str, body: Any = None, *, raw: bytes | None = None) -> dict[str, Any]:
        """An answer; what is no answer is counted."""
        headers = {"Authorization": f"Bearer {self._token}"}
        data = raw
        if raw is None and body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request("GET" if data is None else "POST", f"/api/v1/{path}", data, headers)
            answer = connection.getresponse()
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._seen[f"{path}: {type(error).__name__}"] += 1
            return {}
        finally:
            connection.close()
        self._times.append(time.monotonic() - began)
        self._seen["answers" if answer.status == 200 else f"{path}: {answer.status} {content.get('error')}"] += 1
        return content if answer.status == 200 else {}


def fill(folder: Path) -> list[str]:
    """A gallery of random people, of the model in the package; their ids."""
    torch.manual_seed(0)
    extractor = PartExtractor.from_pretrained()
    like = extractor.embed(np.zeros((1, 128, 64, 3), np.uint8))
    shape = (ITEMS, len(like.slots), like.width)
    visibility = (torch.rand(shape[:2]) < 0.7).float()
    some = PartEmbeddings(
        torch.randn(shape), visibility, like.slots, like.model, like.compare_normalized, like.compare_weights
    )
    names = [f"person {number}" for number in range(ITEMS)]
    with Gallery(folder, extractor=extractor) as gallery:
        gallery.add(some, names, cameras=[number % 8 for number in range(ITEMS)])
        begin_audit_log(gallery.store.location)
    return names


def images() -> list[bytes]:
    """Files of rendered people."""
    return [file.read_bytes() for file in sorted(shipped_split().rglob("*.jpg"))[:20]]


def look_for(client: Client, names: list[str], pictures: list[bytes], end: float, seed: int, pause: float) -> None:
    """What a client does."""
    chance = random.Random(seed)
    time.sleep(chance.uniform(0, pause))  # they do not come all at once
    while time.monotonic() < end:
        if chance.random() < 0.05:
            kept = client.ask("images", raw=chance.choice(pictures))
            query = {"image": kept.get("image", "")}
        else:
            query = {"item": chance.choice(names)}
        client.ask("search", {"query": [query], "k": 10})
        time.sleep(chance.uniform(0.5 * pause, 1.5 * pause))


def write(client: Client, pictures: list[bytes], end: float) -> None:
    """What the writer does."""
    number = 0
    while time.monotonic() < end:
        number += 1
        kept = client.ask("images", raw=pictures[number % len(pictures)])
        item = {"id": f"new {number}", "image": kept.get("image", ""), "camera": 9, "metadata": {"track": number}}
        client.ask("add", {"items": [item]})
        if number % 10 == 0:
            client.ask("delete", {"ids": [f"new {one}" for one in range(number - 9, number + 1)]})
        time.sleep(1)


def main() -> None:
    """Run all of it, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long")
    parser.add_argument("--clients", type=int, default=50, help="how many there are")
    parser.add_argument("--pause", type=float, default=10, help="seconds that a client looks at an answer, on average")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, users = Path(place) / "people", Users(Path(place) / "users.json")
        names, pictures = fill(folder), images()
        tokens = [users.add(f"client{number}", "search") for number in range(options.clients)]
        writer = users.add("writer", "delete")
        command = ["from partreid.cli import main; main()", "app", "--gallery", folder, "--users", users.path,
                   "--port", 0, "--rate", 10_000]  # fmt: skip
        page = subprocess.Popen([sys.executable, "-c", *map(str, command)], stdout=subprocess.PIPE, text=True)
        try:
            assert page.stdout is not None
            said = page.stdout.readline()
            found = re.search(r":(\d+)/", said)
            assert found, said
            measure(page.pid, int(found[1]), tokens, writer, names, pictures, options)
        finally:
            page.terminate()
            page.wait(60)
        check = AuditLog(folder / "audit").verify()
        print(f"audit log: {check.records} records, problems: {list(check.problems)}")


def resident_mib(process: int) -> float:
    """Memory of a process, as Linux counts it."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def measure(
    process: int,
    port: int,
    tokens: list[str],
    writer: str,
    names: list[str],
    pictures: list[bytes],
    options: argparse.Namespace,
) -> None:
    """Ask for so many minutes; print what was seen."""
    seconds = 60 * options.minutes
    seen, times = Counter[str](), list[float]()
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=look_for, args=(Client(port, token, seen, times), names, pictures, end, seed, options.pause)
        )
        for seed, token in enumerate(tokens)
    ]
    threads.append(threading.Thread(target=write, args=(Client(port, writer, seen, times), pictures, end)))
    for thread in threads:
        thread.start()
    memory: list[tuple[float, float]] = []
    began = time.monotonic()
    while time.monotonic() < end:
        time.sleep(min(EVERY_SECONDS, max(0.0, end - time.monotonic())))
        memory.append((time.monotonic() - began, resident_mib(process)))
    for thread in threads:
        thread.join()
    answers = seen.pop("answers", 0)
    warm = [size for at, size in memory if at >= min(WARM_SECONDS, seconds / 3)]
    third = max(1, len(warm) // 3)
    print(
        f"{len(tokens)} clients with pauses of {options.pause:g} s and a writer, {seconds:.0f} s: {answers} answers, "
        f"errors: {dict(seen) or 'none'}"
    )
    ordered = sorted(times)
    print(f"seconds to an answer: median {ordered[len(ordered) // 2]:.2f}, "
          f"99 of 100 {ordered[int(len(ordered) * 0.99)]:.2f}, most {ordered[-1]:.2f}")  # fmt: skip
    print(f"memory in MiB: begin {memory[0][1]:.0f}, first third once warm {np.mean(warm[:third]):.0f}, "
          f"last third {np.mean(warm[-third:]):.0f}, most {max(warm):.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
