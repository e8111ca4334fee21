"""Right arguments of linking."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from partreid.linking import clocks, corrections, edits, linked, names, output, strangers, tracks
from partreid.retrieval.gallery import Gallery
from partreid.types import GalleryItem, PartEmbeddings
from partreid.types.moments import as_time
from tests.property.fuzz_inference import TABLE, files
from tests.property.fuzz_retrieval import CURVES, RULE, galleries
from tests.property.fuzz_types import NOON, folder
from tests.property.fuzzing import Target, embeddings, fuzz

SEEN = {"id": "a/1", "camera": "a", "video": "v", "start": as_time(NOON), "end": as_time(NOON + 5), "first": 0.0,
        "last": 5.0, "person": "p1", "known": False}  # fmt: skip
SAID = corrections.Corrections().with_said([("0", "1")], [("2", "3")])
PAIRS = [("0", "2")]


def tracked(made: PartEmbeddings) -> tracks.LinkTracks:
    """A track for each embedding, of two cameras."""
    every = tuple(tracks.LinkTrack(f"{i}", f"{i % 2}", person=f"p{i}" * (i > 2)) for i in range(len(made)))
    return tracks.LinkTracks(every, made)


def found(made: PartEmbeddings) -> linked.Linked:
    return linked.link(tracked(made), CURVES)


def named(location: Path) -> Gallery:
    """Two persons of two tracks each."""
    gallery = Gallery()
    gallery.add(embeddings_of_four(), ["0", "1", "2", "3"], cameras=["a", "b", "a", "b"], times=None,
                metadata=[{"person": f"p{1 + i // 2}", "person_from": "link"} for i in range(4)])  # fmt: skip
    return gallery


def embeddings_of_four() -> PartEmbeddings:
    import torch

    return PartEmbeddings(torch.rand(4, 2, 3), torch.ones(4, 2), ("foreground", "head"))


TRACKED = embeddings(n=4).map(tracked)
LINKED = embeddings(n=4).map(found)
OUT = st.builds(lambda: folder() / "out.csv")
TARGETS: list[Target] = [
    fuzz(tracks.LinkTrack, **SEEN),
    fuzz(tracks.LinkTrack.of_item.__func__, all=st.just({"cls": tracks.LinkTrack, "item": GalleryItem("a", 1, NOON)})),
    fuzz(tracks.LinkTracks, tracks=(tracks.LinkTrack("a"),), embeddings=embeddings(n=1), taken=frozenset(["p1"])),
    fuzz(tracks.LinkTracks.position, self=TRACKED, track="1"),
    fuzz(tracks.LinkTracks.of_gallery.__func__, all=galleries(filled=True).map(
        lambda made: {"cls": tracks.LinkTracks, "gallery": made, "where": None})),
    fuzz(tracks.LinkTracks.of_files.__func__, all=files(".safetensors").map(
        lambda path: {"cls": tracks.LinkTracks, "files": [path], "boxes": None})),
    fuzz(tracks.LinkTracks.with_known, self=TRACKED, others=TRACKED),
    fuzz(clocks.TravelTime, origin="a", target="b", least=1.0, most=9.0),
    fuzz(clocks.TravelTime.parse.__func__, all=st.just({"cls": clocks.TravelTime, "text": "a,b,1,9"})),
    fuzz(clocks.TravelTime.read.__func__, right=False, all=OUT.map(
        lambda path: {"cls": clocks.TravelTime, "path": path})),
    fuzz(corrections.Correction, first="a", second="b", same=True, time="2026-11-23T12:00:00+00:00", who="ann"),
    fuzz(corrections.Corrections, said=SAID.said),
    fuzz(corrections.Corrections.same_persons, self=SAID),
    fuzz(corrections.Corrections.different, self=SAID),
    fuzz(corrections.Corrections.with_said, self=SAID, same=PAIRS, different=[("0", "3")], who="ann"),
    fuzz(corrections.Corrections.without, self=SAID, pairs=[("1", "0")]),
    fuzz(corrections.Corrections.without_between, self=SAID, some=["0"], others=["1"], same=True),
    fuzz(corrections.Corrections.check, self=SAID, tracks=TRACKED),
    fuzz(corrections.Corrections.save, self=SAID, path=OUT),
    fuzz(corrections.Corrections.load.__func__, all=st.builds(lambda: {
        "cls": corrections.Corrections, "path": SAID.save(folder() / "corrections.json")})),
    fuzz(corrections.Corrections.change.__func__, fixed=("how",), all=st.builds(lambda: {
        "cls": corrections.Corrections, "path": SAID.save(folder() / "corrections.json"),
        "how": lambda said: (said, 3)})),
    fuzz(corrections.corrections_of, gallery=galleries()),
    fuzz(linked.link, tracks=TRACKED, calibration=CURVES, max_wrong=0.1, prior=st.sampled_from([None, 0.3]),
         travel=[clocks.TravelTime("0", "1", 5)], corrections=SAID, only_known=st.booleans()),
    fuzz(linked.Linked.of, self=LINKED, person="p1"),
    fuzz(output.save_links, path=OUT, linked=LINKED),
    fuzz(output.save_mot, folder=st.builds(folder), linked=embeddings(n=1).map(lambda made: linked.link(
        tracks.LinkTracks((tracks.LinkTrack("v/a"),), made), CURVES)), boxes=TABLE.map(lambda table: {"v": table})),
    fuzz(output.save_persons, gallery=galleries(), linked=LINKED),
    fuzz(edits.merge_persons, gallery=OUT.map(named), file=st.builds(lambda: folder() / "merged.json"), person="p1",
         other="p2", who="ann"),
    fuzz(edits.split_tracks, gallery=OUT.map(named), file=st.builds(lambda: folder() / "split.json"), tracks=["1"],
         who="ann"),
    fuzz(strangers.rule_notes, rule=RULE, embeddings=embeddings()),
    fuzz(names.next_number, names=["p1", "anna"]),
    fuzz(names.person_numbers, persons=["p1", "anna"]),
]  # fmt: skip
