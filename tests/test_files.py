"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path, PureWindowsPath

import pytest

from partreid import files
from partreid.errors import DataError, PartReIDError
from partreid.files import atomic_file, atomic_folder, hold_folder, hold_work, mend_folder, recover_folder, replace_file


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_whole_with_the_usual_rights(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    with atomic_file(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".txt"
        assert not target.exists()
        temporary.write_text("new")
    assert target.read_text() == "new"
    (tmp_path / "plain").touch()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert names(target.parent) == ["a.txt"]


def test_a_library_that_puts_a_private_file_there_changes_no_rights(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    usual = (tmp_path / "plain").stat().st_mode
    with atomic_file(tmp_path / "a.txt") as temporary, atomic_folder(tmp_path / "folder") as folder:
        for path in (temporary, folder / "b.txt"):
            (tmp_path / "private").touch(mode=0o600)
            (tmp_path / "private").replace(path)
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "folder" / "b.txt").stat().st_mode == usual


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_an_interrupted_file_leaves_the_former_one(tmp_path: Path, failure: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_text("old")

    def write() -> None:
        with atomic_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        write()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_the_error_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    message = r"Cannot write .*a\.txt: No space left on device\. What was there before is unchanged"
    with pytest.raises(DataError, match=message), atomic_file(tmp_path / "a.txt", error=DataError):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("writer", [atomic_file, atomic_folder])
def test_a_place_that_cannot_be(tmp_path: Path, writer: type[atomic_file]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PartReIDError, match=r"Cannot write"), writer(tmp_path / "file" / "below"):
        pass


def test_kinds_are_not_exchanged(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").touch()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(PartReIDError, match=r"Cannot write"), atomic_file(tmp_path / "folder") as temporary:
        temporary.touch()
    with pytest.raises(PartReIDError, match=r"it is a file"), atomic_folder(tmp_path / "file"):
        pass
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "folder" / "precious").exists()


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "a") as temporary:
            (temporary / "sub").mkdir()
            (temporary / "sub" / content).touch()
    assert names(tmp_path / "a" / "sub") == ["new"]
    assert names(tmp_path) == ["a"]


def test_an_interrupted_folder_leaves_the_former_one(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a") as temporary:
        (temporary / "old").touch()

    def write() -> None:
        with atomic_folder(tmp_path / "a") as temporary:
            (temporary / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert names(tmp_path / "a") == ["old"]
    assert names(tmp_path) == ["a"]


def test_a_rename_that_fails_puts_the_former_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "a") as temporary:
        (temporary / "old").touch()
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.startswith(".a."):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(PartReIDError, match=r"What was there before is unchanged"), atomic_folder(tmp_path / "a"):
        pass
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["old"]


def test_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recover_folder(tmp_path / "nothing") == tmp_path / "nothing"
    assert names(tmp_path) == []
    (tmp_path / "a.previous").mkdir()

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        assert recover_folder(tmp_path / "a") == tmp_path / "a.previous"
    assert recover_folder(tmp_path / "a") == tmp_path / "a"
    assert names(tmp_path) == ["a"]
    (tmp_path / "a.previous").mkdir()
    assert recover_folder(tmp_path / "a") == tmp_path / "a"
    assert names(tmp_path) == ["a", "a.previous"]


def test_a_new_folder_clears_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "a.previous").mkdir()
    with atomic_folder(tmp_path / "a"):
        pass
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["a\0b", "\ud800.json", "x" * 256, "a/" * 2100 + "b"])
def test_names_that_no_file_can_have_are_refused_as_the_caller_wants(name: str, tmp_path: Path) -> None:
    for write in (atomic_file, atomic_folder, hold_folder, lambda path, error: hold_work(path, "busy", error=error)):
        with pytest.raises(DataError, match="is no name"), write(f"{tmp_path}/{name}", error=DataError):
            pass
    with pytest.raises(DataError, match="is no name"):
        replace_file(f"{tmp_path}/{name}", b"", error=DataError)


def test_mending_leaves_what_another_is_writing(tmp_path: Path) -> None:
    (tmp_path / ".a.abandoned").mkdir()
    (tmp_path / ".a.abandoned" / "half").touch()
    (tmp_path / ".a.file").touch()
    with atomic_folder(tmp_path / "a") as temporary:
        (temporary / "one").touch()
        mend_folder(tmp_path / "a")
        (temporary / "two").touch()
    assert names(tmp_path) == [".a.file", "a"]
    assert names(tmp_path / "a") == ["one", "two"]


def test_without_locks_only_what_was_long_untouched_is_taken_for_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_lock", lambda handle: None)
    for name, hours in ((".a.old", 2), (".a.new", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - 3600 * hours,) * 2)
    mend_folder(tmp_path / "a")
    assert names(tmp_path) == [".a.new"]
    with hold_folder(tmp_path / "b"), hold_folder(tmp_path / "b"), hold_work(tmp_path / "c", "busy"):
        pass


def test_mending_takes_brackets_in_a_name_for_what_they_are(tmp_path: Path) -> None:
    for name in (".a[1].x", ".a1.x"):
        (tmp_path / name).mkdir()
    mend_folder(tmp_path / "a[1]")
    assert names(tmp_path) == [".a1.x"]


def test_a_reader_that_puts_the_former_folder_back_does_not_stop_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic_folder(tmp_path / "a") as temporary:
        (temporary / "old").touch()
    rename, read = Path.rename, []

    def interfere(self: Path, target: Path) -> Path:
        if self.name.startswith(".a.") and not read:
            read.append(recover_folder(tmp_path / "a"))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interfere)
    with atomic_folder(tmp_path / "a") as temporary:
        (temporary / "new").touch()
    assert read == [tmp_path / "a"]
    assert names(tmp_path / "a") == ["new"]
    assert names(tmp_path) == ["a"]


def _hold(path: Path, pipe: Connection) -> None:
    with hold_work(path, "painting the wall"):
        pipe.send("held")
        pipe.recv()


@pytest.mark.parametrize("end", ["let go", "killed"])
def test_long_work_is_held_by_one_process_which_the_other_is_told_of(end: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / ".work"
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(path, there))
    process.start()
    there.close()
    assert here.recv() == "held"
    message = rf"Process {process.pid} on \S+, since 20\d\d.*, is painting the wall\. Wait for it to end, or choose"
    for _ in range(2):
        with pytest.raises(DataError, match=message), hold_work(path, "painting the wall", error=DataError):
            pass
    if end == "killed":
        process.kill()
    else:
        here.send("go on")
    process.join()
    assert path.exists() == (end == "killed")
    with hold_work(path, "painting the wall", error=DataError):
        assert str(os.getpid()) in path.read_text()
        with pytest.raises(DataError, match=rf"Process {os.getpid()} on"), hold_work(path, "x", error=DataError):
            pass
    assert names(tmp_path) == (["new"] if end == "killed" else []), "nothing is left where nothing came of it"


def test_work_whose_file_its_holder_has_just_removed_is_held_by_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock, seen = tmp_path / ".work", files._lock, []

    def removed_meanwhile(handle: int | None) -> bool | None:
        if not seen:
            path.unlink()
        seen.append(handle)
        return lock(handle)

    monkeypatch.setattr(files, "_lock", removed_meanwhile)
    with hold_work(path, "busy"):
        assert len(seen) == 2
        with pytest.raises(PartReIDError, match="is busy"), hold_work(path, "busy"):
            pass


def test_work_that_cannot_be_begun_is_the_error_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Cannot write"), hold_work(tmp_path / "file" / "x", "busy", error=DataError):
        pass


class TestOnWindows:
    """What Windows does otherwise, as far as it can be tried elsewhere."""

    def test_names_are_as_long_as_their_longest_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "Path", PureWindowsPath)
        assert str(files.nameable("C:\\" + "\\".join(["a" * 200] * 3))).startswith("C:\\aaa")
        with pytest.raises(PartReIDError, match="no name"):
            files.nameable("C:\\" + "a" * 300)

    def test_what_waits_for_the_disk_may_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = []
        monkeypatch.setattr(files.sys, "platform", "win32")
        monkeypatch.setattr(files.os, "open", lambda path, flags: opened.append(flags) or os.dup(keep.fileno()))
        with (tmp_path / "a.txt").open("w") as keep:
            files.force_to_disk(tmp_path / "a.txt")
        assert opened == [os.O_RDWR]

    def test_the_file_of_some_work_is_closed_before_it_goes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: list[int] = []

        def unlink(path: Path) -> None:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(held[0])
            held.append(0)

        monkeypatch.setattr(files, "_lock", lambda handle: held.append(handle))
        monkeypatch.setattr(files.sys, "platform", "win32")
        monkeypatch.setattr(files.Path, "unlink", unlink)
        with hold_work(tmp_path / "work", "busy"):
            os.fstat(held[0])
        assert held[1:] == [0]

    def test_names_have_slashes_everywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert files.posix_name(PureWindowsPath("crops", "gate", "7.jpg")) == "crops/gate/7.jpg"
        assert files.posix_name("a\\b.jpg") == "a\\b.jpg"  # a name that other systems allow
        monkeypatch.setattr(files.os, "sep", "\\")
        assert files.posix_name("crops\\gate\\7.jpg") == "crops/gate/7.jpg"
