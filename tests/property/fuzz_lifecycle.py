"""Right arguments of what becomes of galleries."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from hypothesis import strategies as st

from partreid import lifecycle
from partreid.lifecycle import backup, compaction, crop_files, erasure, reembedding, retention
from partreid.linking.corrections import Corrections
from partreid.retrieval import Filter, Gallery
from partreid.types.moments import as_time
from tests.property.fuzz_inference import extractor
from tests.property.fuzz_retrieval import galleries
from tests.property.fuzz_types import NOON, folder
from tests.property.fuzzing import Target, fuzz


def new_place() -> Path:
    return folder() / uuid4().hex


def receipt() -> erasure.ErasureReceipt:
    made = Gallery()
    return lifecycle.erase(made, lifecycle.preview_erasure(made, ["a"]))


def backed_up(made: Gallery) -> Path:
    lifecycle.backup_gallery(made, place := new_place())
    return place


RECEIPTS = st.builds(receipt)

TARGETS: list[Target] = [
    fuzz(compaction.compact_gallery, gallery=galleries()),
    fuzz(crop_files.crops_of, gallery=galleries(), where=Filter(cameras=1)),
    fuzz(crop_files.delete_crops, crops=crop_files.CropFiles()),
    fuzz(crop_files.move_files, gallery=galleries(), former=Path("a"), folder=Path("b"), skip_missing=True,
         dry_run=st.booleans()),
    fuzz(retention.preview_expiry, gallery=galleries(), older_than=as_time(NOON), cameras=None, undated=st.booleans(),
         with_crops=st.booleans()),
    fuzz(retention.expire, all=galleries().map(lambda made: {
        "gallery": made, "expiry": retention.preview_expiry(made, as_time(NOON))})),
    fuzz(erasure.preview_erasure, gallery=galleries(), ids=["0"], with_crops=st.booleans()),
    fuzz(erasure.erase, all=galleries().map(lambda made: {
        "gallery": made, "erasure": erasure.preview_erasure(made, ["0", "none"])})),
    fuzz(erasure.ErasureReceipt.names, self=RECEIPTS, item="a"),
    fuzz(erasure.ErasureReceipt.to_json, self=RECEIPTS),
    fuzz(erasure.ErasureReceipt.save, self=RECEIPTS, path=st.builds(new_place)),
    fuzz(erasure.ErasureReceipt.load.__func__, all=RECEIPTS.map(
        lambda one: {"cls": erasure.ErasureReceipt, "path": one.save(new_place())})),
    fuzz(backup.backup_gallery, gallery=galleries(filled=True), path=st.builds(new_place), with_images=st.booleans()),
    fuzz(backup.verify_backup, path=galleries(filled=True).map(backed_up)),
    fuzz(backup.restore_gallery, path=galleries(filled=True).map(backed_up), to=st.builds(Gallery)),
    fuzz(reembedding.re_embed, gallery=galleries(filled=True), extractor=st.builds(extractor),
         target=st.builds(Gallery), skip_missing=True),
    fuzz(Corrections.without_tracks, self=Corrections().with_said(same=[("a", "b")]), gone={"a"}),
]  # fmt: skip
