"""Tables and bars: names of folders are text, whatever is in them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from partreid.cli import console as module
from partreid.cli.console import (
    ProgressCallback,
    console,
    plain_table,
    progress_bar,
    say_error,
    say_warning,
    scores_table,
    slots_table,
)
from partreid.evaluation.dataset import QuerySetScores
from partreid.evaluation.slots import SlotRow
from partreid.functional.ranking import evaluate_ranking
from partreid.training.callbacks import StepRecord


def test_names_with_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluate_ranking(np.array([[0.2, 0.1]]), [1], [1, 2])
    scores = QuerySetScores(result, (SlotRow("foreground", 0.5, 0.6, 0.7, 0.4, 0.3, 1.0),))
    for dataset in ("people [v2]", "shop[/]"):
        console.print(scores_table({(dataset, "a[b]"): scores, ("other", "query"): scores}))
        console.print(slots_table({"a[b]": scores}, dataset=dataset))
        console.print(plain_table("", ("file",), [(dataset,)]))
        with progress_bar(f"embedding {dataset}", 1):
            pass
        printed = capsys.readouterr().out
        assert printed.count(dataset) >= 4
        assert printed.count("a[b]") == 2


def test_nothing_is_taken_for_markup_or_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[bold]a[/bold] [/] :warning: \\[b]"
    console.print(f"Written: {name}")
    console.print(plain_table(name, (name,), [(name,)]))
    with progress_bar(name, 2) as (progress, task):
        progress.update(task, advance=1, status=name)
    say_error(name)
    say_warning(name)
    printed = capsys.readouterr()
    assert printed.out.count(name) == 6
    assert printed.err == f"error: {name}\nwarning: {name}\n"


def test_a_file_is_as_wide_as_its_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = "a b " * 200
    for thing in (long, plain_table("", ("name",), [(long,)])):
        console.print(thing)
        assert long.strip() in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "60")
    console.print(long)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60


@pytest.mark.parametrize("variable", ["", "FORCE_COLOR"])
def test_where_there_is_no_terminal_long_work_says_how_far_it_is(
    variable: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    if variable:
        monkeypatch.setenv(variable, "1")
    lines = []
    with progress_bar("training", 4) as (progress, task):
        callback = ProgressCallback(progress, task)
        for step in range(400):
            now += 1
            callback.on_step(StepRecord(step // 100, step % 100, 100, {"loss": 2.5, "images_per_second": 7.0}))
            if printed := capsys.readouterr().out:
                lines.append((step + 1, printed))
    assert [step for step, _ in lines][:10] == [10 * i for i in range(1, 11)]
    assert 22 <= len(lines) <= 35, "ever more seldom"
    assert lines[4][1].startswith("training: 0.50 of 4, 50 s, ")
    assert "loss 2.50" in lines[4][1]
    assert capsys.readouterr().out.startswith("training: 4 of 4, 400 s"), "and a line at the end"
    assert "\x1b[2K" not in "".join(line for _, line in lines), "no bar is drawn over"
