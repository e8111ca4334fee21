"""The types that the package's modules exchange."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.types.data import Identity, LabelNaming, ReIDDataset, ReIDImage, identities
    from partreid.types.gallery import CameraSummary, GalleryItem, GalleryRecords
    from partreid.types.open_set import OpenSetDecision
    from partreid.types.output import ModelOutput, RegionVectors
    from partreid.types.results import EvaluationResult, LossReport
    from partreid.types.search import Hit, SearchResult
    from partreid.types.tensors import (
        PartEmbeddings,
        check_comparable,
        compares_normalized,
        comparison_weights,
    )

__all__ = [
    "CameraSummary", "EvaluationResult", "GalleryItem", "GalleryRecords", "Hit", "Identity", "LabelNaming",
    "LossReport", "ModelOutput", "OpenSetDecision", "PartEmbeddings", "ReIDDataset", "ReIDImage", "RegionVectors",
    "SearchResult", "check_comparable", "compares_normalized", "comparison_weights", "identities",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
