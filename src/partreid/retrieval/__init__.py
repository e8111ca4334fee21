"""Searching stored embeddings: the matching rule and an exact gallery."""

from partreid.retrieval.gallery import Gallery
from partreid.retrieval.matching import MatchingConfig

__all__ = ["Gallery", "MatchingConfig"]
