"""Fuzzed arguments to every public function: typed errors only (the rule stands in ``tests/property/fuzzing.py``)."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import partreid
from partreid.base_config import ConfigModel
from partreid.errors import ConfigError, PartReIDError
from tests.property import (
    fuzz_data,
    fuzz_evaluation,
    fuzz_functional,
    fuzz_inference,
    fuzz_lifecycle,
    fuzz_linking,
    fuzz_retrieval,
    fuzz_trackers,
    fuzz_types,
    fuzz_viz,
)
from tests.property.fuzzing import OTHER_TYPES, STRINGS, Target, check_right, check_wrong

PACKAGE = Path(partreid.__file__).parent
AREAS = (
    fuzz_functional,
    fuzz_types,
    fuzz_retrieval,
    fuzz_inference,
    fuzz_linking,
    fuzz_lifecycle,
    fuzz_evaluation,
    fuzz_viz,
    fuzz_data,
    fuzz_trackers,
)
TARGETS = [target for area in AREAS for target in area.TARGETS]

SEARCHED = ("functional", "types", "retrieval", "inference", "runners", "tracking", "linking", "lifecycle",
            "evaluation", "parts", "base_config", "preprocessing")  # fmt: skip
"""Where everything public must be fuzzed."""

INNER = {
    "functional.pooling.average_weights": "called by weighted_average_pool and the networks, with maps of theirs",
    "functional.pooling.mean_weights": "called by mean_pool and the networks, with maps of theirs",
    "functional.pooling.weighted_sum_pool": "called by the pools and the networks, which have checked the sizes",
    "runners.in_memory.run_by_openvino": "called by cached_maps, with a network of a training",
    "functional.ranking.score_rows": "rank_block for distances that were checked before",
    "evaluation.dataset.query_sets": "called by evaluate and calibrate, which have read the data sets",
    "evaluation.dataset.with_needed_labels": "called by evaluate and calibrate",
    "evaluation.dataset.embed_sets": "called by search_sets and calibrate",
    "evaluation.dataset.search_sets": "called by evaluate",
    "retrieval.how_compared.find_calibration": "called by load_for_comparison",
    "retrieval.how_compared.run_of": "called by find_calibration and calibration_beside",
    "evaluation.slots.rule_of": "called by slot_table and reassociate, with a rule that was checked",
    "evaluation.reassociation.check_gaps": "called by reassociate and reassociate_sequences",
    "evaluation.reassociation.made": "called by reassociate and reassociate_sequences",
    "evaluation.evaluator.MatchedIdentities.without_junk": "called with the embeddings whose ids were matched",
    "evaluation.evaluator.evaluate_rules": "called by evaluate_embeddings and slot_table",
    "retrieval.matching.rows_of": "called by MatchingConfig.rows and evaluate_rules",
    "functional.distance.SlotMean": "made by distance_rows and rows_of",
    "functional.distance.mean_rows": "called by distance_rows and rows_of",
    "functional.ranking.QueryScores.split": "called by evaluate_rules",
    "functional.ranking.QueryScores.spread": "called by evaluate_embeddings",
    "functional.merging.SlotSums.of": "called by Tracklet, which has checked the embeddings",
    "functional.merging.SlotSums.cat": "called by AppearanceMemory, with sums of its own",
    "functional.merging.SlotSums.decayed": "called by AppearanceMemory",
    "functional.merging.SlotSums.kept": "called by AppearanceMemory",
    "tracking.memory.parts_of": "called by cost and single_vector",
    "inference.embedding_file.FileFacts": "called by storage",
    "inference.embedding_file.write_file": "called by save_embeddings, which has checked the arguments",
    **{
        f"inference.storage.{name}": "a folder of shards; tests/inference/test_embedding_files.py damages its files"
        for name in (
            "Manifest.fault",
            "manifest_content",
            "name_bytes",
            "read_manifest",
            "shard_files",
            "shard_mark",
            "shard_name",
        )
    },
    **{
        f"retrieval.recording.{name}": "tests/retrieval/test_audit_log.py; blocks around calls that check the arguments"
        for name in ("acting", "actor", "recorded", "recorded_search", "begin_audit_log")
    },
    "retrieval.filters.is_several": "called by Filter, for values of any kind",
    "types.numbers.as_floating": "called by PartEmbeddings, for what it is made of",
    "types.numbers.chosen": "called by PartEmbeddings, with an index that is a slice or a tensor",
    "types.slot_weights": "called by PartEmbeddings and by the distances, with slots that are there",
    "tracking.video.leave_out": "called by embed_video and iter_frames",
    "tracking.track_boxes.TrackBoxes.where": "for messages, of rows that are there",
    "tracking.formats": "called by read_boxes and boxes_of; test_tables_of_boxes.py gives them any content",
    "tracking.video_tracks.in_frames": "called by embed_tracks and embed_detections",
    **{
        f"tracking.adapters.{name}": "called by the tracker, with its own objects; tests/tracking/adapters"
        for name in (
            "norfair.NorfairAppearance.distances",
            "norfair.NorfairAppearance.reid_distances",
            "boxmot.BoxMOTEncoder.encode",
        )
    },
    "tracking.boxes.TrackBoxes.where": "for messages, of rows that are there",
    "runners.adapted": "called by PartExtractor and adapt",
    **{
        f"runners.adaptation.Adaptation{name}": "tests/inference/test_adapting.py; made by adapt and by load"
        for name in ("", ".row", ".unknown")
    },
    "runners.exported": "called by PartExtractor.from_pretrained",
    "runners.runner": "called by PartExtractor",
    "inference.streaming": "called by PartExtractor.stream",
    "reports.evaluate.evaluate": "tests/reports; its arguments are checked by read_datasets and load_for_comparison",
    "training.loop.Trainer": "tests/training; its arguments are checked by read_dataset and TrainConfig",
    **{
        f"linking.{name}": "called by link, which has checked the arguments; tests/linking/test_link.py"
        for name in ("clocks.Clocks", "cluster", "distances", "evidence", "names.in_time", "names.names_of", "notes")
    },
    "linking.strangers.least_ratio": "called by link, with its own fit; tests/linking/test_strangers.py",
    "retrieval.open_set.OpenSetRule.decide": "called by Gallery.search, which has checked the arguments",
    "retrieval.sightings.promising": "called by calibrate and rule_of_gallery",
    "linking.edits.items_of_person": "called by merge_persons, split_tracks and the page",
    "linking.output.rename": "called by save_persons, merge_persons and split_tracks",
    "retrieval.upkeep.refuse_other_items": "called by copy_gallery and restore_gallery",
    "retrieval.upkeep.copy_records": "called by copy_gallery and restore_gallery",
    "lifecycle.backup_files": "called by backup_gallery, restore_gallery and verify_backup; damaged by test_backup.py",
    "lifecycle.retention.delete_again": "called by expire and erase",
    "retrieval.search": "called by Gallery; tests/retrieval/test_search.py compares it with plain search",
    "retrieval.stores": "called by Gallery; one suite of tests for all stores",
}
"""Public by name, and still not for users: what calls it has checked the arguments. A module or a name, and why."""

every_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths among the arguments lead to no folder of the project."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("target", [t for t in TARGETS if t.right], ids=lambda target: target.name)
@given(st.data())
def test_right_arguments_give_sound_results(target: Target, data: st.DataObject) -> None:
    check_right(target, data)


@every_target
@given(st.data())
def test_wrong_arguments_give_typed_errors(target: Target, data: st.DataObject) -> None:
    check_wrong(target, data)


CONFIGS = sorted((c for c in ConfigModel.__subclasses__() if c.__module__.startswith("partreid.")), key=str)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
@given(st.data())
def test_any_value_of_any_field_of_any_configuration_fits_or_is_a_config_error(
    config: type[ConfigModel], data: st.DataObject
) -> None:
    values = st.one_of(OTHER_TYPES, STRINGS, st.floats(), st.integers(), st.lists(st.floats(), max_size=3))
    names = st.sampled_from([*config.model_fields, "unknown"])
    given_fields = data.draw(st.dictionaries(names, values, max_size=3))
    try:
        made = config.parse(given_fields)
    except PartReIDError:
        return
    assert config.parse(made.model_dump()) == made
    assignment = f"{data.draw(names)}={data.draw(st.one_of(STRINGS, st.floats().map(str)))}"
    try:
        made.override([assignment])
    except ConfigError:
        return


def test_everything_public_is_fuzzed() -> None:
    public = {name for module in modules() for name in public_names(module)}
    top = {name_of(getattr(partreid, name)) for name in partreid.__all__ if callable(getattr(partreid, name))}
    fuzzed = {target.name for target in TARGETS}
    needed = public | {name for name in top if not is_plain(name)}
    assert {name for name in needed - fuzzed if not any(f"{name}.".startswith(f"{inner}.") for inner in INNER)} == set()
    assert len(fuzzed) == len(TARGETS), "a function is fuzzed twice"


def modules() -> Iterator[ModuleType]:
    """The modules that are searched; none whose name begins with an underscore."""
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if parts[0] in SEARCHED and not any(part.startswith("_") and part != "__init__" for part in parts):
            yield importlib.import_module(f"partreid.{name}")


def public_names(module: ModuleType) -> Iterator[str]:
    """Functions, methods, and constructors that check something, of a module itself."""
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing):
            yield name_of(thing)
        elif inspect.isclass(thing) and not getattr(thing, "_is_protocol", False):
            if not is_plain(name_of(thing)):
                yield name_of(thing)
            for method, member in vars(thing).items():
                function = getattr(member, "__func__", member)
                own = inspect.isfunction(function) and function.__module__ == module.__name__
                if own and not method.startswith("_"):
                    yield name_of(function)


def name_of(thing: object) -> str:
    """As a target is called."""
    return f"{thing.__module__.removeprefix('partreid.')}.{thing.__qualname__}"  # type: ignore[attr-defined]


def is_plain(name: str) -> bool:
    """Whether a class only holds what it is given, is an error, or a configuration (which has a test of its own)."""
    module, _, attribute = name.rpartition(".")
    thing = getattr(importlib.import_module(f"partreid.{module}"), attribute)
    if not inspect.isclass(thing) or issubclass(thing, ConfigModel | Exception):
        return inspect.isclass(thing)
    generated = hasattr(thing, "__dataclass_fields__") or issubclass(thing, tuple)
    return "__post_init__" not in vars(thing) if generated else "__init__" not in vars(thing)
