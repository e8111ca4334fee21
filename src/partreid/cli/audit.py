"""``partreid audit``: the record of who did what with a gallery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partreid import retrieval
from partreid.cli import options as opt
from partreid.cli.console import console, emit, emit_rows
from partreid.errors import DataError

if TYPE_CHECKING:
    from partreid.retrieval import AuditLog

app = typer.Typer(help="The audit log of a gallery: show it, and check that nobody changed it.", no_args_is_help=True)

Log = Annotated[str, typer.Argument(metavar="GALLERY | LOG", help="A gallery with an audit log, or the log's folder.")]

_KNOWN = ("number", "time", "who", "source", "address", "action", "outcome", "results", "added", "deleted", "changed")


@app.command()
def on(gallery: opt.Gallery) -> None:
    """Start to record who does what with a gallery in a folder, by commands, by the page, and in Python.

    The log is the folder `audit` in the gallery's folder. For a gallery on a server, or for a log in another place, set
    PARTREID_AUDIT to the log's folder wherever the gallery is used.
    """
    with retrieval.Gallery.open(gallery, create=False) as opened:
        folder = retrieval.begin_audit_log(opened.store.location)
    console.print(f"All operations on {gallery} are now recorded in {folder}.", soft_wrap=True)


@app.command()
def show(log: Log, as_json: opt.AsJson = False) -> None:
    """Print the records, oldest first.

    In a file or a pipe, each record is a line of fields between tabs. With --json each line is a complete record.
    """
    records = _log(log).records()
    if as_json:
        for record in records:
            emit(json.dumps(record, ensure_ascii=False))
        return
    rows = [
        (*(str(record.get(key, "")) for key in _KNOWN), json.dumps(record.get("asked", {}), ensure_ascii=False)
         + str(record.get("error", ""))) for record in records
    ]  # fmt: skip
    emit_rows(f"Audit log of {log}", (*_KNOWN, "asked"), rows)


@app.command()
def verify(
    log: Log,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="HASH", help="A head that you kept elsewhere. It must be in the log. Repeatable."),
    ] = None,
) -> None:
    """Check the chain of hashes, and print the head. Exit status 0: the log is intact, 1: it was changed.

    Keep the head elsewhere, and pass it to --expect later. Without it, a log that was completely rewritten cannot be
    detected. A line that a killed process left half-written is reported, but does not count as a change.
    """
    check = _log(log).verify(expect or ())
    for note in check.notes:
        console.print(f"note: {note}", soft_wrap=True)
    for problem in check.problems:
        console.print(f"problem: {problem}", soft_wrap=True)
    count = "no problem" if not check.problems else f"problems: {len(check.problems)}"
    console.print(f"{check.records} records, {count}. Head: {check.head}", soft_wrap=True)
    raise typer.Exit(1 if check.problems else 0)


def _log(log: str) -> AuditLog:
    if "://" not in log and not (Path(log) / "gallery.json").exists() and any(Path(log).glob("*.jsonl")):
        return retrieval.AuditLog(log)
    found = retrieval.audit_log_of(log)
    if found is None or not found.folder.is_dir():
        raise DataError(f"There is no audit log of {log}. Switch it on with: partreid audit on {log}")
    return found
