"""The quickest way on this machine is measured once, and never taken from another machine's or a damaged note."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from partreid.runners import _quickest
from partreid.runners._quickest import milliseconds


def busy(seconds: float, calls: list[float]) -> Callable[[], None]:
    def work() -> None:
        calls.append(seconds)
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return work


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARTREID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "quickest"


def test_it_is_measured_once(cache: Path) -> None:
    calls: list[float] = []
    ways = {"slow": busy(0.004, calls), "quick": busy(0.001, calls)}
    first = milliseconds(ways, of="a file")
    assert 0.9 < first["quick"] < first["slow"]
    assert len(calls) == 12  # in turn, the first turn to warm up
    assert milliseconds(ways, of="a file") == first
    assert len(calls) == 12
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("what", ["file", "processor", "threads", "ways"])
def test_what_was_measured_of_something_else_does_not_count(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    ways = {"a": busy(0, calls), "b": busy(0, calls)}
    milliseconds(ways, of="a file")
    before = len(calls)
    if what == "processor":
        monkeypatch.setattr(_quickest.torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "avx2": True})
    if what == "threads":
        monkeypatch.setattr(_quickest.torch, "get_num_threads", lambda: 99)
    if what == "ways":
        ways["c"] = busy(0, calls)
    found = milliseconds(ways, of="another" if what == "file" else "a file")
    assert found.keys() == ways.keys()
    assert len(calls) > before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"key": 1}', "changed", "text"])
def test_a_damaged_note_is_made_anew(cache: Path, content: str) -> None:
    calls: list[float] = []
    ways = {"a": busy(0, calls), "b": busy(0.001, calls)}
    milliseconds(ways, of="a file")
    (note,) = cache.iterdir()
    kept = json.loads(note.read_text())
    if content in ("changed", "text"):
        kept["milliseconds"] = {"a": "soon", "b": 1} if content == "text" else {"a": 1}
        content = json.dumps(kept)
    note.write_text(content)
    found = milliseconds(ways, of="a file")
    assert len(calls) == 24
    assert found["a"] < found["b"]
    assert json.loads(note.read_text())["milliseconds"] == found


def test_without_a_cache_it_is_measured_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARTREID_CACHE", str(tmp_path / "file"))  # nothing can lie in it
    calls: list[float] = []
    for _ in range(2):
        assert milliseconds({"a": busy(0, calls)}, of="a file").keys() == {"a"}
    assert len(calls) == 12
