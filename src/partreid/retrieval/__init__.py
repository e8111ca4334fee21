"""Galleries, and the distances used to search them."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.retrieval.audit_log import AuditCheck, AuditLog
    from partreid.retrieval.calibration import LabelledPairs, MatchCalibration
    from partreid.retrieval.compare import ImageComparison
    from partreid.retrieval.filling import Filled, Naming, add_embeddings, add_files, add_images
    from partreid.retrieval.filters import Filter
    from partreid.retrieval.gallery import Gallery
    from partreid.retrieval.how_compared import HowCompared
    from partreid.retrieval.lookup import Lookup, look_up
    from partreid.retrieval.many import search_many
    from partreid.retrieval.matching import MatchingConfig
    from partreid.retrieval.open_set import OpenSetRule
    from partreid.retrieval.recording import acting, audit_log_of, begin_audit_log, recorded
    from partreid.retrieval.sightings import rule_of_gallery, two_sightings
    from partreid.retrieval.stores import STORES
    from partreid.retrieval.stores.base import Candidates, GalleryHeader, GalleryStore, SearchRule
    from partreid.retrieval.stores.memory import MemoryStore
    from partreid.retrieval.upkeep import Deletion, carry_out, copy_gallery, gallery_facts, preview_deletion

__all__ = [
    "STORES", "AuditCheck", "AuditLog", "Candidates", "Deletion", "Filled", "Filter", "Gallery", "GalleryHeader",
    "GalleryStore", "HowCompared", "ImageComparison", "LabelledPairs", "Lookup", "MatchCalibration",
    "MatchingConfig", "MemoryStore", "Naming", "OpenSetRule", "SearchRule", "acting", "add_embeddings",
    "add_files", "add_images", "audit_log_of", "begin_audit_log", "carry_out", "copy_gallery", "gallery_facts",
    "look_up", "preview_deletion", "recorded", "rule_of_gallery", "search_many", "two_sightings",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
