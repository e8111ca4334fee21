"""Right arguments of galleries, filters, matching and match probabilities."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st

from partreid.retrieval import (
    audit_log,
    calibration,
    compare,
    filling,
    filters,
    gallery,
    how_compared,
    lookup,
    many,
    open_set,
    recording,
    sightings,
    upkeep,
)  # fmt: skip
from partreid.retrieval.matching import MatchingConfig
from partreid.tracking import filling as track_filling
from partreid.tracking import video_tracks
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.gallery import GalleryRecords
from partreid.types.moments import as_time
from tests.property.fuzz_inference import TABLE, extractor, files
from tests.property.fuzz_types import NOON, folder
from tests.property.fuzzing import Target, embeddings, fuzz

FILTERS = st.sampled_from(
    [None, filters.Filter(), filters.Filter(cameras=1), filters.Filter(not_ids=["a"], since=NOON)]
)
MATCHING = st.sampled_from([None, MatchingConfig(), MatchingConfig(normalize=True, visibility="geometric")])
CURVES = calibration.MatchCalibration(prior=0.5, offsets=(1.0, 2.0, 3.0), slopes=(1.0, 1.0, 1.0))


@st.composite
def galleries(draw: st.DrawFn, *, filled: bool = False) -> gallery.Gallery:
    """A gallery in memory with some items, or none."""
    made = gallery.Gallery()
    items = draw(embeddings())
    if filled or draw(st.integers(0, 4)):
        made.add(items, [f"{i}" for i in range(len(items))], cameras=1, times=[NOON + i for i in range(len(items))])
    return made


@st.composite
def additions(draw: st.DrawFn) -> dict[str, object]:
    """Items to add to a gallery."""
    items = draw(embeddings(n=2))
    cameras = draw(st.sampled_from([None, 3, ["a", None], np.array([3.0, np.nan]), [np.int64(3), "3.0"]]))
    times = draw(st.sampled_from([None, NOON + 0.5, [NOON, None], np.array([NOON, np.nan])]))
    metadata = draw(st.sampled_from([None, [{"track": 1}, None], [{"track": np.float64(17)}, {"track": math.nan}]]))
    return {"self": draw(galleries()), "embeddings": items, "ids": ["new", "other"], "cameras": cameras,
            "times": times, "metadata": metadata}  # fmt: skip


@st.composite
def pairs(draw: st.DrawFn) -> calibration.LabelledPairs:
    """Labelled pairs, some of one person."""
    random = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    same = torch.tensor([True, False, True, False, False, True])
    comparable = torch.randint(1, 4, (6,), generator=random)
    people = torch.arange(6)
    distances = torch.rand(6, generator=random).double()
    return calibration.LabelledPairs(distances, comparable, same, torch.ones(6).double(), people, people)


@st.composite
def calibration_files(draw: st.DrawFn) -> Path:
    """A calibration as a file."""
    return CURVES.save(folder() / f"calibration{draw(st.integers(0, 1))}.json")


@st.composite
def audit_logs(draw: st.DrawFn) -> audit_log.AuditLog:
    """An audit log with a record."""
    log = audit_log.AuditLog(folder() / "log")
    log.append({"action": draw(st.sampled_from(["search", "delete"]))})
    return log


def batches(items: PartEmbeddings) -> list[tuple[PartEmbeddings, list[str]]]:
    return [(items, [f"new{i}" for i in range(len(items))])]


DISTANCES = torch.tensor([0.5, torch.inf, 2.0])
PERSONS = PartEmbeddings(torch.arange(1440.0).reshape(60, 3, 8), torch.ones(60, 3), ("foreground", "head", "legs"))
RULE = open_set.OpenSetRule(PERSONS, PERSONS, CURVES, max_false=0.1)

VIDEO = track_filling.VideoNaming(Path("a.mp4"), "1", as_time(NOON))

TARGETS: list[Target] = [
    fuzz(audit_log.AuditLog, folder=st.builds(lambda: folder() / "log"), rotate_bytes=1000),
    fuzz(audit_log.AuditLog.append, self=audit_logs(), record={"action": "search", "asked": {"k": 3}}),
    fuzz(audit_log.AuditLog.records, self=audit_logs()),
    fuzz(audit_log.AuditLog.verify, self=audit_logs(), expect=["0" * 64]),
    fuzz(recording.audit_log_of, location="people"),
    fuzz(recording.file_hashes, files=["a.jpg"]),
    fuzz(recording.record_refusal, gallery=galleries(), action="add", asked={"ids": ["a"]}, why="no"),
    fuzz(gallery.Gallery, location=None, extractor=None, create=True, engine="auto"),
    fuzz(gallery.Gallery.open.__func__, all=st.builds(
        lambda: {"cls": gallery.Gallery, "location": folder() / "gallery", "create": True})),
    fuzz(gallery.Gallery.close, self=galleries()),
    fuzz(gallery.Gallery.add_records, self=galleries(), replace=st.booleans(), records=embeddings(n=2).map(
        lambda e: GalleryRecords((GalleryItem("new"), GalleryItem("other")), e))),
    fuzz(gallery.Gallery.cameras, self=galleries(), where=FILTERS),
    fuzz(gallery.Gallery.read, fixed=("answer",), self=galleries(), answer=lambda: 3),
    fuzz(gallery.Gallery.embedder, self=st.builds(lambda: gallery.Gallery(extractor=extractor()))),
    fuzz(gallery.Gallery.count, self=galleries(), where=FILTERS),
    fuzz(filters.undated_left_out, fixed=("where", "count"), where=filters.Filter(until=NOON), count=lambda where: 3),
    fuzz(gallery.Gallery.add, all=additions()),
    fuzz(gallery.Gallery.upsert, all=additions()),
    fuzz(gallery.Gallery.delete, self=galleries(), ids=["0", "none"], where=None),
    fuzz(gallery.Gallery.get, self=galleries(filled=True), ids=["0"]),
    fuzz(gallery.Gallery.known, self=galleries(), ids=["0", "none"]),
    fuzz(gallery.Gallery.records, self=galleries(), where=FILTERS),
    fuzz(gallery.Gallery.search, nan=True, self=galleries(), query=embeddings(), k=st.integers(1, 9), matching=MATCHING,
         where=FILTERS, memory_budget=2**20),
    fuzz(gallery.Gallery.verify, self=galleries()),
    fuzz(filters.Filter.keeps, self=filters.Filter(cameras=1, metadata={"track": 3}), item=GalleryItem("a", 1, NOON)),
    fuzz(filters.Filter.of.__func__, all=st.sampled_from([
        {"cls": filters.Filter, "where": {"cameras": [3]}, "conditions": {"ids": ["a"]}},
        {"cls": filters.Filter, "where": filters.Filter(cameras=3), "conditions": {}}])),
    fuzz(filters.tags, metadata={"track": 3, "more": "a"}),
    fuzz(MatchingConfig.prepare, self=MatchingConfig(visibility_threshold=0.2, slots=("head",)),
         embeddings=embeddings()),
    Target("retrieval.matching.MatchingConfig.resolved", lambda self, embeddings: self.resolved(embeddings),
           st.fixed_dictionaries({"self": st.just(MatchingConfig()), "embeddings": embeddings()})),
    fuzz(how_compared.HowCompared.of.__func__, all=st.builds(
        lambda: {"cls": how_compared.HowCompared, "extractor": extractor(), "matching": MatchingConfig()})),
    fuzz(how_compared.HowCompared.of_search.__func__, all=st.builds(
        lambda made, query: {"cls": how_compared.HowCompared, "found": made.search(query, k=2),
                             "extractor": extractor(), "calibration": None}, galleries(), embeddings())),
    fuzz(how_compared.load_for_comparison, model=st.builds(extractor), overrides=("matching.normalize=true",)),
    fuzz(how_compared.fields_of, section="model", overrides=("model.visibility=continuous",)),
    fuzz(how_compared.model_name, model=st.builds(extractor)),
    fuzz(how_compared.HowCompared.to_json, self=st.builds(lambda: how_compared.HowCompared.of(extractor()))),
    fuzz(MatchingConfig.comparable, self=MatchingConfig(), query=embeddings(), gallery=embeddings()),
    fuzz(MatchingConfig.distances, self=MatchingConfig(), query=embeddings(), gallery=embeddings()),
    fuzz(MatchingConfig.rows, self=MatchingConfig(), query=embeddings(), gallery=embeddings()),
    fuzz(calibration.LabelledPairs.cat, several=st.lists(pairs(), min_size=1, max_size=2)),
    fuzz(calibration.LabelledPairs.at_base_rate, self=pairs(), prior=0.1),
    fuzz(calibration.MatchCalibration.with_prior, self=CURVES, prior=0.1),
    fuzz(calibration.MatchCalibration.probability, self=CURVES, distances=DISTANCES,
         comparable=torch.tensor([1, 0, 3])),
    fuzz(calibration.MatchCalibration.probabilities, self=CURVES, query=embeddings(), gallery=embeddings()),
    fuzz(calibration.MatchCalibration.of_search, self=CURVES, result=st.builds(
        lambda made, query: made.search(query, k=2), galleries(), embeddings())),
    fuzz(calibration.MatchCalibration.fits, self=CURVES, matching=MATCHING),
    Target("retrieval.calibration.MatchCalibration.check_models", lambda self, model: self.check_models(model),
           st.fixed_dictionaries({"self": st.just(CURVES), "model": st.sampled_from(["", "a"])})),
    fuzz(calibration.MatchCalibration.save, self=CURVES, path=calibration_files()),
    fuzz(calibration.MatchCalibration.load.__func__, all=calibration_files().map(
        lambda path: {"cls": calibration.MatchCalibration, "source": path})),
    fuzz(calibration.MatchCalibration.check, extractor=st.builds(extractor), self=st.builds(
        lambda: CURVES.model_copy(update={"model": extractor().fingerprint}))),
    fuzz(calibration.MatchCalibration.log_ratio, self=CURVES, distances=DISTANCES, comparable=torch.tensor([1, 0, 3])),
    fuzz(open_set.OpenSetRule, strangers=PERSONS, mates=PERSONS, calibration=CURVES, fitted_on="made up",
         max_false=0.1, confidence=0.9, prior=st.sampled_from([None, 0.2])),
    fuzz(open_set.OpenSetRule.at, self=RULE, max_false=0.2, confidence=0.9, prior=0.1),
    fuzz(open_set.OpenSetRule.scores, self=RULE, distances=DISTANCES, comparable=torch.tensor([1, 0, 3])),
    fuzz(open_set.OpenSetRule.limits, self=RULE, threshold=1.5),
    fuzz(open_set.OpenSetRule.own_threshold, self=RULE, searched=st.integers(0, 99)),
    fuzz(open_set.OpenSetRule.unlike, self=RULE, embeddings=embeddings()),
    fuzz(open_set.OpenSetRule.save, self=RULE, path=st.builds(lambda: folder() / "rule.safetensors")),
    fuzz(open_set.OpenSetRule.load.__func__, all=st.builds(lambda: {
        "cls": open_set.OpenSetRule, "source": RULE.save(folder() / "rule.safetensors"), "calibration": CURVES})),
    fuzz(open_set.OpenSetRule.least_promise.__func__, all=st.just({"cls": open_set.OpenSetRule, "count": 60})),
    fuzz(sightings.two_sightings, persons=["a", "b", "a"], views=[1, 2, 2], seed=0),
    fuzz(sightings.rule_of_gallery, right=False, gallery=galleries(), calibration=CURVES),
    fuzz(calibration.fit_curves, pairs=pairs(), num_slots=3),
    fuzz(calibration.usual_strangers, pairs=pairs(), num_slots=3),
    fuzz(compare.compare, nan=True, first=embeddings(n=2), second=embeddings(n=3), matching=None,
         calibration=st.sampled_from([None, CURVES])),
    fuzz(compare.ImageComparison.parts, first=0, second=1, self=st.builds(
        compare.compare, embeddings(n=1), embeddings(n=2))),
    fuzz(many.search_many, nan=True, galleries=st.lists(galleries(), min_size=1, max_size=2), query=embeddings(),
         k=st.integers(1, 9), matching=MATCHING, where=FILTERS),
    fuzz(filling.Naming, pattern=r"c(?P<camera>\d)", camera=None, time=None, metadata={}, prefix="a/", root=None),
    fuzz(filling.Naming.item, self=filling.Naming(r"c(?P<camera>\d)"), name=st.sampled_from(["c1_a.jpg", "c2/b.jpg"])),
    fuzz(track_filling.VideoNaming.item, self=VIDEO, track="7", first=0, last=1, boxes=2, seconds={0: 0.5}),
    fuzz(track_filling.VideoNaming.track_id, self=VIDEO, track="7"),
    fuzz(track_filling.VideoNaming.crops, self=VIDEO, folder=Path("a")),
    fuzz(track_filling.former_tracks, gallery=galleries(), tracks=["a"], naming=VIDEO),
    fuzz(track_filling.add_tracks, gallery=galleries(), naming=VIDEO, tracks=st.builds(
        video_tracks.VideoTracks, embeddings(n=1), st.just(("a",)), TABLE, st.just({0: 0.5}))),
    fuzz(lookup.look_up, nan=True, all=galleries(filled=True).map(lambda made: {
        "gallery": made, "like": ["0"], "one_person": True, "k": 2, "parts": ["head"], "where": None,
        "calibration": None})),
    fuzz(lookup.Lookup.to_json, nan=True, self=galleries(filled=True).map(
        lambda made: lookup.look_up(made, like=["0"]))),
    fuzz(lookup.calibration_beside, model=st.builds(folder), gallery=galleries()),
    fuzz(upkeep.gallery_facts, gallery=galleries()),
    fuzz(upkeep.preview_deletion, gallery=galleries(), where=filters.Filter(cameras=1)),
    fuzz(upkeep.carry_out, all=galleries().map(lambda made: {
        "gallery": made, "deletion": upkeep.preview_deletion(made, filters.Filter(cameras=1))})),
    fuzz(upkeep.copy_gallery, source=galleries(), target=st.builds(gallery.Gallery), replace=st.booleans()),
    fuzz(filling.add_images, all=st.builds(
        lambda made, path: {"gallery": made, "extractor": extractor(), "images": [path], "naming": filling.Naming()},
        st.builds(gallery.Gallery), files(".png"))),
    fuzz(filling.add_files, gallery=st.builds(gallery.Gallery), files=files(".safetensors").map(lambda path: [path]),
         naming=filling.Naming(r"(?P<camera>[ab])", prefix="site/"), replace=st.booleans()),
    fuzz(filling.add_embeddings, fixed=("batches",), gallery=galleries(), batches=embeddings().map(batches),
         naming=filling.Naming()),
]  # fmt: skip
