"""Tables and bars: names of folders are text, whatever is in them."""

from __future__ import annotations

import numpy as np
import pytest

from partreid.cli.console import console, plain_table, progress_bar, scores_table, slots_table
from partreid.evaluation.dataset import QuerySetScores
from partreid.evaluation.slots import SlotRow
from partreid.functional.ranking import evaluate_ranking


def test_names_with_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluate_ranking(np.array([[0.2, 0.1]]), [1], [1, 2])
    scores = QuerySetScores(result, (SlotRow("foreground", 0.5, 0.6, 0.4, 0.3, 1.0),))
    for dataset in ("people [v2]", "shop[/]"):
        console.print(scores_table({(dataset, "a[b]"): scores, ("other", "query"): scores}))
        console.print(slots_table({"a[b]": scores}, dataset=dataset))
        console.print(plain_table("", ("file",), [(dataset,)]))
        with progress_bar(f"embedding {dataset}", 1):
            pass
        printed = capsys.readouterr().out
        assert printed.count(dataset) >= 4
        assert printed.count("a[b]") == 2
