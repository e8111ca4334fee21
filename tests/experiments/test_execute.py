"""Trainings are shared, resumed, retried; a failure costs only its own row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError, DataError
from partreid.experiments.execute import Plan, execute
from partreid.experiments.rows import Comparison, Row
from partreid.experiments.runs import ERROR_FILE, SCORES_FILE, read_scores, run_task
from partreid.experiments.tables import EXPERIMENTS
from partreid.training.config import TrainConfig
from partreid.types import ReIDDataset

ONE = Row("one", "one", ("optimizer.learning_rate=0.01",))


@pytest.fixture
def dataset(blocks: Path) -> ReIDDataset:
    return read_dataset(blocks)


@pytest.fixture
def plan(tiny: TrainConfig, dataset: ReIDDataset, tmp_path: Path) -> Plan:
    return Plan(tmp_path, tiny, {dataset.name: dataset}, seeds=2)


def test_tables_share_trainings_and_join_their_comparisons(plan: Plan) -> None:
    rows = [row for name in ("table2", "table4", "table5") for row in EXPERIMENTS[name].rows]
    folders = [task.folder.relative_to(plan.out) for task in plan.tasks(rows)]
    assert len(folders) == len(set(folders))
    assert folders[: len(folders) // 2] == [f for f in folders if f.name == "seed0"]
    # The tiny configuration has K = 5: that row of Table 5 is the model of Table 2.
    assert not any("k5" in str(folder) for folder in folders)
    shared = next(task for task in plan.tasks(rows) if task.folder.parent.name == "bpbreid")
    assert {c.name for c in shared.comparisons} == {"everything/product", "everything/ignore"}


def test_what_is_done_is_not_done_again(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = plan.tasks([ONE])[:1]
    run_task(task)
    before = (task.folder / SCORES_FILE).read_bytes()
    monkeypatch.setattr("partreid.experiments.runs.Trainer", None)
    run_task(task)
    assert task.done
    assert (task.folder / SCORES_FILE).read_bytes() == before
    further = plan.tasks([replace(ONE, comparison=Comparison("head"))])[0]
    assert not further.done
    run_task(further)
    assert set(read_scores(task.folder, task.test)) == {"everything/product", "head/product"}


def test_a_training_that_was_cut_short_goes_on(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("one", "one", ("optimizer.epochs=3",))
    task = plan.tasks([row])[0]
    from partreid.training.loop import Trainer

    original = Trainer._train_epoch

    def broken(self: Trainer, epoch: int, *rest: object) -> dict[str, float]:
        if epoch == 2:
            raise KeyboardInterrupt
        return original(self, epoch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_train_epoch", broken)
    with pytest.raises(KeyboardInterrupt):
        run_task(task)
    assert not task.trained
    epochs = []
    monkeypatch.setattr(Trainer, "_train_epoch", lambda self, e, *rest: epochs.append(e) or original(self, e, *rest))
    run_task(task)
    assert epochs == [2]
    assert task.trained


def test_a_failure_is_kept_and_does_not_stop_the_others(plan: Plan) -> None:
    bad = Row("bad", "bad", ("pretrained=no-such-file.pth",))
    tasks = plan.tasks([bad, ONE])[:2]
    outcome = {task.folder.parent.name: error for task, error in execute(tasks)}
    assert isinstance(outcome["bad"], CheckpointError)
    assert outcome["one"] is None
    assert "no-such-file.pth" in (plan.out / "bad/seed0" / ERROR_FILE).read_text()
    assert not (plan.out / "one/seed0" / ERROR_FILE).exists()


def test_a_folder_of_another_configuration_is_refused(plan: Plan) -> None:
    run_task(plan.tasks([ONE])[0])
    changed = plan.tasks([Row("one", "one", ("optimizer.learning_rate=0.5",))])[0]
    with pytest.raises(CheckpointError, match=r"optimizer.learning_rate is 0.01 there and 0.5 now. Choose another"):
        run_task(changed)


def test_damaged_scores_are_named(plan: Plan) -> None:
    task = plan.tasks([ONE])[0]
    task.folder.mkdir(parents=True)
    sized = {"size": [len(task.test.query), len(task.test.gallery)]}
    for content in ("", "{", json.dumps({task.test.name: sized}), json.dumps({task.test.name: 3})):
        (task.folder / SCORES_FILE).write_text(content)
        with pytest.raises(DataError, match=r"scores.json cannot be read .* Remove it"):
            read_scores(task.folder, task.test)


def test_scores_of_another_test_set_do_not_count(plan: Plan, dataset: ReIDDataset) -> None:
    task = plan.tasks([ONE])[0]
    run_task(task)
    smaller = replace(dataset, queries={**dataset.queries, "query": dataset.query[1:]})
    assert read_scores(task.folder, smaller) == {}
