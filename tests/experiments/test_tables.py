"""The rows are the paper's, and every one of them trains and is scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from partreid.datasets.readers import read_dataset
from partreid.datasets.readers.body_images import OCCLUDED_REID, P_DUKEMTMC
from partreid.datasets.readers.market1501 import DUKEMTMC, MARKET1501, OCCLUDED_DUKE
from partreid.errors import ConfigError, DataError
from partreid.experiments.execute import Plan, execute
from partreid.experiments.rows import Experiment
from partreid.experiments.summary import summarize
from partreid.experiments.tables import EXPERIMENTS, loss_weights, table1
from partreid.parts import PART_SCHEMAS
from partreid.training.presets import PRESETS, get_preset
from partreid.training.train_config import TrainConfig

ALL = {**EXPERIMENTS, "table1": table1(["Market-1501", "Occluded-Duke"], {"hrnet_w32": "file.pth"})}

# Table 4 as printed: identity loss on, triplet loss on, mAP of BPBReID, mAP of PCB.
TABLE4 = {
    "GiLt": ("gfc", "p", 54.1, 46.3),
    "PCB": ("p", "", 43.2, 40.8),
    "1": ("p", "gfc", 43.2, 40.9),
    "2": ("gfcp", "gfcp", 48.2, 42.8),
    "3": ("gfcp", "", 49.5, 44.8),
    "4": ("", "gfcp", 41.9, 37.6),
    "5": ("gfcp", "p", 49.4, 43.5),
    "6": ("gf", "p", 51.4, 43.5),
    "7": ("gc", "p", 41.9, None),
    "8": ("fc", "p", 52.9, 46.2),
    "9": ("gfc", "fc", 53.3, 46.1),
    "10": ("gfc", "fc", 52.2, None),
    "11": ("gfc", "gc", 52.4, 45.9),
    "12": ("gfc", "c", 52.9, 45.7),
}


def gilt_letters(config: TrainConfig) -> tuple[str, str]:
    letters = {"global_": "g", "foreground": "f", "concat": "c", "parts": "p"}
    gilt = config.objective.gilt
    identity, triplet = (
        "".join(letter for region, letter in letters.items() if getattr(kind, region))
        for kind in (gilt.identity, gilt.triplet)
    )
    return identity, triplet


@pytest.mark.parametrize("index", TABLE4)
def test_table_4_is_the_papers(index: str) -> None:
    identity, triplet, bpbreid, pcb = TABLE4[index]
    rows = {row.name.partition(":")[0]: row for row in EXPERIMENTS["table4"].rows}
    row = rows[f"BPBReID {index}"]
    assert gilt_letters(row.config(TrainConfig(), 0)) == (identity, triplet)
    assert row.paper is not None
    assert row.paper.mean_ap == bpbreid
    assert (f"PCB {index}" in rows) == (pcb is not None)
    if pcb is not None:
        config = rows[f"PCB {index}"].config(TrainConfig(), 0)
        assert config.model.attention == "stripes"
        assert gilt_letters(config) == (identity.replace("f", ""), triplet.replace("f", ""))
        assert rows[f"PCB {index}"].paper.mean_ap == pcb  # type: ignore[union-attr]


def test_tables_2_3_and_5_change_what_their_name_says() -> None:
    base = get_preset("paper-occluded")
    two = {row.name: base.diff(row.config(base, 0)) for row in EXPERIMENTS["table2"].rows}
    assert two["BPBReID"] == two["w/o visibility scores"] == {}
    assert two["w/o learnable attention"] == {"model.attention": ("learned", "fixed")}
    assert list(two["w/o part-averaged triplet loss"]) == ["objective.gilt.part_triplet"]
    assert EXPERIMENTS["table2"].rows[0].config(base, 0) == get_preset("bot")
    assert {row.config(base, 0).model.parts for row in EXPERIMENTS["table3"].rows} == {"six_new"}
    names = [row.config(base, 0).model.part_schema for row in EXPERIMENTS["table5"].rows]
    assert [len(schema) for schema in names] == [2, 3, 4, 5, 6, 8, 11]
    assert {schema.name for schema in names} <= set(PART_SCHEMAS)


def test_table_1_takes_k_and_size_of_the_paper() -> None:
    base = get_preset("paper-occluded")
    one = ALL["table1"]
    configs = {row.name: row.config(base, 0) for row in one.rows}
    assert configs["BPBReID_RN, Market-1501"] == get_preset("paper-holistic")
    assert configs["BPBReID_RN, Occluded-Duke"] == base
    larger = get_preset("paper-occluded-hrnet").override(["pretrained=file.pth"])
    assert configs["BPBReID_HR, Occluded-Duke"] == larger
    assert not any("RI" in name for name in configs)
    assert any("BPBReID_RI was not run" in note for note in one.notes)


def test_table_1_knows_the_papers_sets_by_the_names_that_readers_give() -> None:
    sets = [MARKET1501, DUKEMTMC, OCCLUDED_DUKE, OCCLUDED_REID, P_DUKEMTMC]
    one = table1([layout.name for layout in sets], {})
    paper = {row.name: row.paper.mean_ap for row in one.rows if row.paper}
    assert paper["BoT, Market-1501"] == 85.9
    assert paper["BPBReID_RN, P-DukeMTMC-reID"] == 77.8
    assert len(paper) == len(one.rows) == 10
    parts = [row.config(TrainConfig(), 0).model.parts for row in one.rows if row.name.startswith("BPBReID_RN")]
    assert parts == ["five", "five", "eight", "eight", "eight"]


def test_mistyped_weights_of_table_1_are_named() -> None:
    with pytest.raises(ConfigError, match=r"resnet50_ibn_a and hrnet_w32, got hrnet_32. .* --set pretrained=FILE"):
        table1(["Market-1501"], {"hrnet_32": "file.pth"})


@pytest.mark.parametrize("one", ALL.values(), ids=ALL)
@pytest.mark.parametrize("preset", [name for name in PRESETS if get_preset(name).model.attention == "learned"])
def test_rows_of_one_folder_are_one_training(one: Experiment, preset: str) -> None:
    runs: dict[str, TrainConfig] = {}
    for row in one.rows:
        config = row.config(get_preset(preset), 3)
        assert runs.setdefault(row.run, config) == config
        assert config.seed == 3


def test_rows_are_found_by_name() -> None:
    assert [row.name for row in EXPERIMENTS["table5"].select(["K = 8", "K = 2"])] == ["K = 2", "K = 8"]
    with pytest.raises(ConfigError, match=r"table5 has no row 'K = 7'. Its rows: K = 2, K = 3"):
        EXPERIMENTS["table5"].select(["K = 7"])


def test_letters_name_all_eight_weights() -> None:
    assert len(loss_weights("gf", "p")) == 8
    assert [w for w in loss_weights("gf", "p") if w.endswith("=1")] == [
        "objective.gilt.identity.global_=1",
        "objective.gilt.identity.foreground=1",
        "objective.gilt.triplet.parts=1",
    ]


def test_table_1_trains_on_the_set_itself_or_on_the_first_that_can(
    tiny: TrainConfig, blocks: Path, tmp_path: Path
) -> None:
    dataset = read_dataset(blocks)
    only_tested = replace(dataset, name="occluded_reid", train=())
    plan = Plan(tmp_path, tiny, {"blocks": dataset, "occluded_reid": only_tested}, seeds=1)
    one = table1(list(plan.datasets), {})
    assert [error for _, error in execute(plan.tasks(one.rows)) if error is not None] == []
    found = plan.scores(one)
    assert set(found) == {"BoT, blocks", "BPBReID_RN, blocks", "BoT, occluded_reid", "BPBReID_RN, occluded_reid"}
    alone = Plan(tmp_path, tiny, {"occluded_reid": only_tested})
    with pytest.raises(DataError, match="occluded_reid has no training images: give the set to train on"):
        alone.task(one.rows[2], 0)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_trains_for_an_epoch_and_is_scored(
    name: str, tiny: TrainConfig, blocks: Path, tmp_path: Path
) -> None:
    one = EXPERIMENTS[name]
    dataset = read_dataset(blocks)
    plan = Plan(tmp_path, tiny, {dataset.name: dataset}, seeds=1)
    tasks = plan.tasks(one.rows)
    assert [(task.folder.name, error) for task, error in execute(tasks) if error is not None] == []
    summary = summarize(one, plan.scores(one))
    assert all(row.seeds == (0,) for row in summary.rows)
    assert len(summary.claims) == len(one.claims)
