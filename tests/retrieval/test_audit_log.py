"""The audit log: a chain that shows every change, writers that are killed, rotation, and what is recorded."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.errors import DataError
from partreid.retrieval import Gallery, MatchCalibration, OpenSetRule
from partreid.retrieval.audit_log import AuditLog
from partreid.retrieval.recording import (
    AUDIT_VARIABLE,
    acting,
    audit_log_of,
    begin_audit_log,
    file_hashes,
    record_refusal,
    recorded,
)
from partreid.retrieval.upkeep import copy_gallery
from partreid.types import PartEmbeddings


def filled(folder: Path, count: int = 9, rotate_bytes: int = 600) -> AuditLog:
    log = AuditLog(folder, rotate_bytes=rotate_bytes)
    for number in range(count):
        log.append({"action": "search", "asked": {"k": number}})
    return log


def lines(folder: Path) -> list[bytes]:
    return b"".join(file.read_bytes() for file in sorted(folder.glob("*.jsonl"))).splitlines(keepends=True)


def test_the_chain_goes_on_across_files_and_processes(tmp_path: Path) -> None:
    log = filled(tmp_path)
    assert [record["number"] for record in log.records()] == list(range(1, 10))
    assert len(list(tmp_path.glob("*.jsonl"))) > 2
    assert filled(tmp_path, count=1).append({}) == 11  # another process's
    check = log.verify()
    assert (check.records, check.problems, check.notes) == (11, (), ())
    assert log.verify([check.head]).problems == ()


def edit_middle(folder: Path) -> None:
    file = sorted(folder.glob("*.jsonl"))[1]
    file.write_bytes(file.read_bytes().replace(b'"search"', b'"delete"', 1))


def edit_last(folder: Path) -> None:
    file = sorted(folder.glob("*.jsonl"))[-1]
    whole = file.read_bytes()
    at = whole.rindex(b'"search"')
    file.write_bytes(whole[:at] + b'"delete"' + whole[at + 8 :])


def take_line(folder: Path) -> None:
    file = sorted(folder.glob("*.jsonl"))[0]
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:1]))


def cut_end(folder: Path) -> None:
    file = sorted(folder.glob("*.jsonl"))[-1]
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))


def cut_last_file(folder: Path) -> None:
    sorted(folder.glob("*.jsonl"))[-1].unlink()


def swap(folder: Path) -> None:
    file = sorted(folder.glob("*.jsonl"))[0]
    first, second, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([second, first, *rest]))


def garbage(folder: Path) -> None:
    file = sorted(folder.glob("*.jsonl"))[0]
    file.write_bytes(b"[]\n" + file.read_bytes())


@pytest.mark.parametrize(
    "change",
    [edit_middle, edit_last, take_line, cut_end, cut_last_file, swap, garbage],
    ids=lambda change: change.__name__,
)
def test_a_change_is_found(tmp_path: Path, change: Callable[[Path], None]) -> None:
    log = filled(tmp_path)
    head = log.verify().head
    change(tmp_path)
    assert log.verify().problems
    assert log.verify([head]).problems


@pytest.mark.parametrize("change", [edit_last, cut_end, cut_last_file], ids=lambda change: change.__name__)
def test_nothing_is_written_behind_a_changed_end(tmp_path: Path, change: Callable[[Path], None]) -> None:
    log = filled(tmp_path)
    change(tmp_path)
    before = lines(tmp_path)
    with pytest.raises(DataError, match="partreid audit verify"):
        log.append({})
    assert lines(tmp_path) == before


def test_a_chain_made_anew_is_found_by_the_head_that_was_kept(tmp_path: Path) -> None:
    head = filled(tmp_path / "log").verify().head
    for file in (tmp_path / "log").iterdir():
        file.unlink()
    log = filled(tmp_path / "log")
    assert log.verify().problems == ()
    assert "made anew" in log.verify([head]).problems[0]


def test_old_files_may_go_where_the_head_of_then_was_kept(tmp_path: Path) -> None:
    log = filled(tmp_path)
    first, second = sorted(tmp_path.glob("*.jsonl"))[:2]
    head = json.loads(second.read_bytes().splitlines()[0])["previous"]
    first.unlink()
    assert "earlier records were removed" in log.verify().problems[0]
    assert log.verify([head]).problems == ()
    assert log.append({}) == 10


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_a_torn_line_is_told_apart_from_an_edit_and_mended(tmp_path: Path, kept: int) -> None:
    log = filled(tmp_path, rotate_bytes=10**6)
    (file,) = tmp_path.glob("*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole + whole.splitlines()[0][:kept])
    check = log.verify()
    assert check.problems == ()
    assert "killed" in check.notes[0]
    assert [record["number"] for record in log.records()] == list(range(1, 10))
    assert log.append({}) == 10
    *_, last = log.records()
    assert last["torn"] == len(whole.splitlines()[0][:kept])
    assert (log.verify().problems, log.verify().notes) == ((), ())


def test_writers_that_are_killed_leave_a_whole_chain(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom partreid.retrieval.audit_log import AuditLog\nlog = AuditLog(sys.argv[1], rotate_bytes=900)\n"
        "print('ready', flush=True)\nwhile True: log.append({'action': 'search', 'padding': 'x' * 200})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    time.sleep(0.5)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    log = AuditLog(tmp_path)
    number = log.append({})
    assert number > 2
    check = log.verify()
    assert (check.problems, check.records) == ((), number)


def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    threads = [threading.Thread(target=filled, args=(tmp_path, 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (log.verify().records, log.verify().problems) == (20, ())


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    log = filled(tmp_path)
    for wrong in ({"a": float("nan")}, {"a": object()}):
        with pytest.raises(DataError, match="cannot take a record"):
            log.append(wrong)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Cannot write"):
        AuditLog(tmp_path / "file").append({})
    assert log.verify().problems == ()


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    gallery = Gallery(tmp_path / "people")
    embeddings = PartEmbeddings(torch.eye(3)[:, None], torch.ones(3, 1), ("foreground",))
    gallery.add(embeddings, ["a", "b", "c"], cameras=[1, 1, 2])
    return gallery


def told(gallery: Gallery) -> list[dict[str, Any]]:
    log = audit_log_of(gallery.store.location)
    assert log is not None
    return list(log.records())


def test_a_gallery_with_a_log_is_not_used_without_it(gallery: Gallery) -> None:
    query = gallery.get(["a"]).embeddings
    begin_audit_log(gallery.store.location)
    assert gallery.verify() == []
    gallery.search(query, k=2, cameras=[1])
    assert gallery.delete(["c"]) == 1
    with pytest.raises(DataError), acting("anna", source="command"):
        gallery.add(query, ["a"])
    on, search, begun, deleted, adding, failed = told(gallery)
    assert on["action"] == "audit on"
    assert (search["outcome"], search["results"], search["asked"]["where"]) == ("done", 2, {"cameras": ["1"]})
    assert search["source"] == "python"
    assert (begun["outcome"], deleted["outcome"], deleted["deleted"]) == ("begun", "done", 1)
    assert deleted["begun"] == begun["number"]
    assert (adding["who"], adding["source"], adding["asked"]["ids"]) == ("anna", "command", ["a"])
    assert "Already in the gallery" in failed["error"]
    with pytest.raises(DataError, match="on already"):
        begin_audit_log(gallery.store.location)


def test_a_search_with_a_rule_is_one_event_without_the_rules_strangers(gallery: Gallery) -> None:
    people = PartEmbeddings(torch.randn(60, 1, 3), torch.ones(60, 1), ("foreground",), gallery.model)
    curve = MatchCalibration(prior=0.5, offsets=(8.0,), slopes=(8.0,), model=gallery.model)
    query = gallery.get(["a"]).embeddings
    begin_audit_log(gallery.store.location)
    gallery.search(query, k=2, rule=OpenSetRule(people, people, curve, max_false=0.06))
    assert [(one["action"], one.get("results")) for one in told(gallery)] == [("audit on", None), ("search", 2)]


def test_nothing_is_done_that_cannot_be_recorded(gallery: Gallery) -> None:
    folder = begin_audit_log(gallery.store.location)
    (folder / "head.json").write_text('{"number": 7, "sha256": ""}')
    query = gallery.get(["a"]).embeddings
    for act in (lambda: gallery.delete(["c"]), lambda: gallery.search(query)):
        with pytest.raises(DataError, match="audit verify"):
            act()
    assert len(gallery) == 3


def test_one_event_for_one_deed_and_each_gallery_its_own(gallery: Gallery, tmp_path: Path) -> None:
    target = Gallery(tmp_path / "other")
    target.add(gallery.get(["a"]).embeddings, ["x"])
    for one in (gallery, target):
        begin_audit_log(one.store.location)
    copy_gallery(gallery, target)
    assert [(one["action"], one.get("results")) for one in told(gallery)] == [("audit on", None), ("copy", 3)]
    assert [one["action"] for one in told(target)] == ["audit on", "add", "add"]
    with recorded(gallery, "expire", {"until": "2026"}, changes=True) as event:
        event.deleted = gallery.delete(["a"])
    assert [one["action"] for one in told(gallery)] == ["audit on", "copy", "expire", "expire"]


def test_the_variable_is_for_galleries_without_a_log_of_their_own(
    gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AUDIT_VARIABLE, str(tmp_path / "log"))
    gallery.search(gallery.get(["a"]).embeddings)
    record_refusal(gallery, "add", {}, "The token may only search.")
    assert [one["outcome"] for one in AuditLog(tmp_path / "log").records()] == ["done", "refused"]
    begin_audit_log(gallery.store.location)
    gallery.search(gallery.get(["a"]).embeddings)
    assert len(list(AuditLog(tmp_path / "log").records())) == 2
    with pytest.raises(DataError, match=AUDIT_VARIABLE):
        begin_audit_log("qdrant://host/name")


def test_long_questions_are_bounded_and_hold_no_vectors(gallery: Gallery) -> None:
    begin_audit_log(gallery.store.location)
    gallery.search(gallery.get(["a"]).embeddings, ids=[f"name {number}" for number in range(1000)])
    *_, last = told(gallery)
    assert last["asked"]["where"]["ids"]["count"] == 1000
    assert len(json.dumps(last)) < 1000


def test_files_are_told_by_name_and_hash(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc")
    first, second = file_hashes([tmp_path / "a.txt", tmp_path / "none"])
    assert first["sha256"].startswith("ba7816bf")
    assert "sha256" not in second
