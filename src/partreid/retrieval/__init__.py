"""Galleries and the distances they are searched by."""

from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.many import search_many
from partreid.retrieval.matching import MatchingConfig

__all__ = ["Filter", "Gallery", "MatchingConfig", "search_many"]
