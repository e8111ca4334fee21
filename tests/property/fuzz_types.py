"""Right arguments of types, part schemas and configurations."""

from __future__ import annotations

import functools
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st

from partreid import base_config as config
from partreid import parts, preprocessing
from partreid.evaluation.evaluator import EvaluationConfig
from partreid.evaluation.statistics import with_confidence
from partreid.functional.ranking import evaluate_ranking
from partreid.models.model_config import ModelConfig
from partreid.retrieval.matching import MatchingConfig
from partreid.types import _id_values as id_values
from partreid.types import data, gallery, ids, moments, numbers, open_set, results
from partreid.types import output as outputs
from partreid.types import tensors as types
from tests.property.fuzzing import Target, embeddings, fuzz, tensors

SLOTS = ("foreground", "head", "legs")


@functools.cache
def folder() -> Path:
    """A folder for the files of this process."""
    kept.append(tempfile.TemporaryDirectory(prefix="fuzz"))
    return Path(kept[-1].name)


kept: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


@st.composite
def config_files(draw: st.DrawFn) -> Path:
    """A configuration of matching as a file."""
    path = folder() / draw(st.sampled_from(["a.toml", "a.yaml", "a.json"]))
    contents = {".toml": "normalize = true", ".yaml": "normalize: true", ".json": '{"normalize": true}'}
    path.write_text(contents[path.suffix])
    return path


def output(vectors: torch.Tensor) -> outputs.ModelOutput:
    """What a model might say of two images."""
    regions = outputs.RegionVectors(foreground=vectors[:, 0], parts=vectors[:, 1:])
    made = types.PartEmbeddings(vectors, torch.ones(2, 3), SLOTS)
    return outputs.ModelOutput(None, torch.rand(2, 3, 4, 2), regions, regions, None, torch.ones(2, 2), made)


def evaluation() -> results.EvaluationResult:
    """Scores of three queries."""
    return evaluate_ranking(torch.rand(3, 4, generator=torch.Generator().manual_seed(0)), [1, 2, 3], [1, 2, 3, 1])


IMAGE = data.ReIDImage(Path("a.jpg"), 1, 0)
OTHER = data.ReIDImage(Path("b.jpg"), 2, 0)
NOON = 1795435200
ITEM = gallery.GalleryItem("a", 1, NOON, {"track": 3})
SCALARS = st.sampled_from(["a", "3.0", 3, 2.5, np.int64(3), np.float32(2.5), np.array(3), torch.tensor(3)])
PIDS = st.sampled_from([[0, 1, 2], np.array([2, 2, 0]), torch.tensor([1, 0, 0]), [3.0, 1.0, 2.0]])
TEXTS = st.sampled_from(["a", "camera 3", "ä/b.jpg"])
CONFIGS = st.sampled_from([MatchingConfig(), ModelConfig(), EvaluationConfig()])

TARGETS: list[Target] = [
    fuzz(types.PartEmbeddings, vectors=tensors(2, 3, 4), visibility=tensors(2, 3, kind="uniform"),
         slots=SLOTS, model="", compare_weights=st.sampled_from([{}, {"head": 2}])),
    fuzz(types.PartEmbeddings.validate, self=embeddings()),
    fuzz(open_set.OpenSetDecision.to_json, self=open_set.OpenSetDecision(
        torch.ones(1, 2).bool(), torch.zeros(1).long(), 0.01, 0.95, 300, "made up", 9, 0.5, 0.2, 0.1, {"items": 0.3})),
    fuzz(types.PartEmbeddings.to, fixed=("device",), self=embeddings(), device="cpu", dtype=torch.float64),
    Target("types.tensors.PartEmbeddings.select", lambda self, slots: self.select(*slots),
           st.fixed_dictionaries({"self": embeddings(), "slots": st.just(("legs", "head"))})),
    Target("types.tensors.compares_normalized", lambda a, b: types.compares_normalized(a, b),
           st.fixed_dictionaries({"a": embeddings(), "b": embeddings()}), fixed=("a", "b")),
    Target("types.tensors.comparison_weights", lambda a, b: types.comparison_weights(a, b),
           st.fixed_dictionaries({"a": embeddings(), "b": embeddings()}), fixed=("a", "b")),
    fuzz(types.PartEmbeddings.detach, self=embeddings()),
    fuzz(types.PartEmbeddings.cpu, self=embeddings()),
    fuzz(types.PartEmbeddings.numpy, self=embeddings()),
    fuzz(types.PartEmbeddings.normalized, self=embeddings(), eps=1e-12),
    fuzz(types.PartEmbeddings.cat, batches=st.lists(embeddings(), min_size=1, max_size=3)),
    fuzz(types.check_comparable, a=embeddings(), b=embeddings()),
    fuzz(outputs.RegionVectors.map, self=outputs.RegionVectors(parts=torch.ones(2, 2, 3)), function=torch.neg),
    fuzz(outputs.RegionVectors.items, self=outputs.RegionVectors(parts=torch.ones(2, 2, 3))),
    fuzz(outputs.ModelOutput.map, self=tensors(2, 3, 4).map(output), function=torch.neg),
    fuzz(results.EvaluationResult.rank, self=st.builds(evaluation), k=st.integers(1, 9)),
    fuzz(results.EvaluationResult.summary, self=st.builds(lambda: with_confidence(evaluation(), samples=9))),
    fuzz(ids.match_persons, fixed=("sizes",), id_arguments=("query", "gallery"),
         query=PIDS, gallery=PIDS, sizes=(3, 3)),
    fuzz(ids.match_cameras, fixed=("sizes",), id_arguments=("query", "gallery"),
         query=PIDS, gallery=PIDS, sizes=(3, 3)),
    fuzz(ids.person_classes, id_arguments=("pids",), pids=PIDS, name="pid_index"),
    fuzz(id_values.as_id, id_arguments=("value",), value=st.sampled_from([1, 2.0, "a", None, float("nan")])),
    fuzz(id_values.is_unknown, id_arguments=("value",), value=st.sampled_from([1, 2.0, "a", None, float("nan")])),
    fuzz(numbers.require_whole, fixed=("least", "most"), id_arguments=("value",),
         name="k", value=st.sampled_from([1, np.int64(3)]), least=1, most=9),
    fuzz(numbers.in_order, id_arguments=("values",), name="ids", values=st.sampled_from([["a"], ("a",), {"a": 1}])),
    fuzz(numbers.as_tensor, name="vectors", values=st.sampled_from([np.ones((2, 3)), torch.ones(2), [[1, 2], [3, 4]]])),
    fuzz(data.ReIDImage, id_arguments=("pid", "camid"), path=Path("a.jpg"), pid=1, camid=0),
    fuzz(data.identities, images=[IMAGE, IMAGE]),
    fuzz(data.ReIDDataset, fixed=("root",), name="set", root=Path("a"), train=(IMAGE,), gallery=(IMAGE,),
         queries={"query": (IMAGE,)}),
    fuzz(gallery.GalleryItem, id=TEXTS, camera=st.sampled_from([None, 3, "a"]),
         time=st.sampled_from([None, NOON, NOON + 0.5]),
         metadata=st.sampled_from([{}, {"track": 1, "more": [1, {"a": None}]}])),
    fuzz(gallery.GalleryRecords.cat, several=st.lists(
        embeddings(n=1).map(lambda e: gallery.GalleryRecords((ITEM,), e)), min_size=1, max_size=2)),
    fuzz(moments.as_time, value=st.sampled_from([NOON, NOON + 0.5, datetime(2026, 1, 1, tzinfo=UTC)])),
    fuzz(moments.parse_moment, text=st.sampled_from(["90m", "2h", "now", "2026-11-23T14:30Z"]), now=None),
    fuzz(data.ReIDDataset.subset, ids=1, self=data.ReIDDataset("set", Path("a"), (IMAGE, OTHER), (IMAGE,), {})),
    fuzz(moments.written_time, text=st.sampled_from(["20261123_143000", "2026-11-23T14:30Z", f"@{NOON}"]), local=True),
    fuzz(gallery.as_text, value=SCALARS, what="A value"),
    fuzz(gallery.plain_text, value=SCALARS),
    fuzz(gallery.id_text, value=SCALARS),
    fuzz(gallery.scalar, value=SCALARS),
    fuzz(gallery.is_unknown, value=SCALARS),
    fuzz(gallery.spellings, text=st.sampled_from(["17", "a", "-0", "9" * 400])),
    fuzz(gallery.check_text, text=TEXTS, what="A value"),
    fuzz(parts.mirrored, name=TEXTS),
    fuzz(parts.flip_order, names=SLOTS),
    fuzz(parts.pose_field_flip),
    fuzz(parts.PartSchema, name="two", parts=("head", "legs"), groups=((0, 1), (2,))),
    fuzz(parts.unnamed_schema, num_parts=st.integers(1, 9)),
    fuzz(parts.has_unnamed, slots=SLOTS),
    fuzz(parts.get_part_schema, name=st.sampled_from(["five", "unnamed_3"])),
    fuzz(config.ConfigModel.parse.__func__, all=st.just({"cls": MatchingConfig, "data": {"normalize": True}})),
    fuzz(config.ConfigModel.given.__func__, all=st.just({"cls": MatchingConfig, "value": MatchingConfig()})),
    fuzz(config.ConfigModel.load.__func__, all=config_files().map(lambda path: {"cls": MatchingConfig, "path": path})),
    Target("base_config.ConfigModel.override", lambda self, changes: self.override(changes),
           st.fixed_dictionaries({"self": CONFIGS, "changes": st.sampled_from([[], {}])})),
    fuzz(config.ConfigModel.to_toml, self=CONFIGS),
    fuzz(config.ConfigModel.diff, self=MatchingConfig(), other=MatchingConfig(normalize=True)),
    fuzz(config.flatten, config=CONFIGS, prefix=""),
    fuzz(config.meanings, model=st.sampled_from([MatchingConfig, ModelConfig, EvaluationConfig])),
    fuzz(config.read_config_file, path=config_files()),
    fuzz(preprocessing.normalize, images=tensors(2, 3, 8, 4, kind="uniform").map(lambda t: (255 * t).to(torch.uint8)),
         config=preprocessing.PreprocessConfig()),
]  # fmt: skip
