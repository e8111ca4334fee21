"""Trainings are shared, resumed, retried; a failure costs only its own row."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import pytest

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError, DataError, MissingDependencyError
from partreid.experiments.execute import Plan, execute
from partreid.experiments.rows import Comparison, Experiment, Row
from partreid.experiments.runs import ERROR_FILE, SCORES_FILE, Task, read_scores, run_task, scored_on
from partreid.experiments.tables import EXPERIMENTS
from partreid.files import hold_folder
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDDataset
from tests.conftest import tiny_config

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

    def broken(self: Trainer, *rest: object) -> None:
        if self.epoch == 2:
            raise KeyboardInterrupt
        original(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_train_epoch", broken)
    with pytest.raises(KeyboardInterrupt):
        run_task(task)
    assert not task.trained
    epochs = []
    monkeypatch.setattr(Trainer, "_train_epoch", lambda self, *rest: epochs.append(self.epoch) or original(self, *rest))
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
    task = plan.tasks([ONE])[0]
    run_task(task)
    changed = Row("one", "one", ("optimizer.learning_rate=0.5",))
    message = r"optimizer.learning_rate is 0.01 there and 0.5 now. Choose another"
    # Scored already: nothing would be run, and its scores must not stand in the table of the other configuration.
    one = Experiment("mine", "", (changed,), ())
    for ask in (lambda: plan.tasks([changed]), lambda: plan.scores(one)):
        with pytest.raises(CheckpointError, match=message):
            ask()
    with pytest.raises(CheckpointError, match=message):
        run_task(replace(task, config=changed.config(plan.base, 0)))


def test_a_model_of_other_persons_is_not_scored_as_if_it_were_trained_here(plan: Plan, dataset: ReIDDataset) -> None:
    run_task(plan.tasks([ONE])[0])
    fewer = replace(dataset, name="other", train=tuple(image for image in dataset.train if image.pid > 1))
    task = replace(plan, datasets={"other": fewer}).tasks([ONE])[0]
    with pytest.raises(CheckpointError, match=r"other persons than other has: 6 identities there, 5 now"):
        run_task(task)
    assert read_scores(task.folder, task.test) == {}


def test_two_processes_do_not_work_in_one_folder(plan: Plan) -> None:
    task = plan.tasks([ONE])[0]
    with hold_folder(task.folder), pytest.raises(CheckpointError, match="Another process is writing into"):
        run_task(task)
    assert not (task.folder / ERROR_FILE).exists()


def test_a_training_killed_between_two_checkpoints_goes_on(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    task = plan.tasks([ONE])[0]
    run_task(task)
    (task.folder / SCORES_FILE).unlink()
    (task.folder / "checkpoint").rename(task.folder / "checkpoint.previous")
    monkeypatch.setattr("partreid.experiments.runs.Trainer", None)
    run_task(task)
    assert task.done


class Killed(Task):
    """A task whose process dies."""

    def check(self) -> None:
        os._exit(9)


class Broken(Task):
    """A task that fails with an exception that cannot be pickled."""

    def check(self) -> None:
        raise MissingDependencyError("nothing", purpose="This test", extra="test")


@pytest.mark.slow
def test_a_killed_process_costs_only_its_own_row(plan: Plan) -> None:
    template = vars(plan.tasks([ONE])[0])
    tasks = [kind(**template | {"folder": plan.out / kind.__name__}) for kind in (Killed, Broken, Killed)]
    outcome = [(type(task).__name__, str(error)) for task, error in execute(tasks, jobs=2)]
    assert sorted(name for name, _ in outcome) == ["Broken", "Killed", "Killed"]
    messages = dict(outcome)
    assert "its process was killed (exit status 9)" in messages["Killed"]
    assert "This test" in messages["Broken"]


@pytest.mark.slow
def test_who_stops_asking_ends_the_processes(plan: Plan) -> None:
    # A backbone that the new processes know too.
    template = vars(replace(plan, base=tiny_config("optimizer.epochs=100000")).tasks([ONE])[0])
    killed = Killed(**template | {"folder": plan.out / "killed"})
    running = execute([Task(**template), killed], jobs=2)
    next(running)
    assert len(active_children()) == 1
    running.close()  # type: ignore[attr-defined]
    assert not active_children()


def test_damaged_scores_are_named(plan: Plan) -> None:
    task = plan.tasks([ONE])[0]
    task.folder.mkdir(parents=True)
    sized = scored_on(task.test)
    for content in ("", "{", json.dumps({task.test.name: sized}), json.dumps({task.test.name: 3})):
        (task.folder / SCORES_FILE).write_text(content)
        with pytest.raises(DataError, match=r"scores.json cannot be read .* Remove it"):
            read_scores(task.folder, task.test)


def test_scores_of_another_test_set_do_not_count(plan: Plan, dataset: ReIDDataset) -> None:
    task = plan.tasks([ONE])[0]
    run_task(task)
    smaller = replace(dataset, queries={**dataset.queries, "query": dataset.query[1:]})
    assert read_scores(task.folder, smaller) == {}
    other = replace(dataset.query[0], camid=99)  # as many images, but not the same
    exchanged = replace(dataset, queries={**dataset.queries, "query": (other, *dataset.query[1:])})
    assert read_scores(task.folder, dataset)
    assert read_scores(task.folder, exchanged) == {}
