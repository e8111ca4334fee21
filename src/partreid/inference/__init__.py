"""From images to embeddings."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.inference.extractor import PartExtractor
    from partreid.inference.storage import iter_embeddings, load_embeddings, save_embeddings
    from partreid.inference.streaming import EmbeddedBatch, EmbeddingStream, SkippedImage, StreamOptions

__all__ = [
    "EmbeddedBatch", "EmbeddingStream", "PartExtractor", "SkippedImage", "StreamOptions", "iter_embeddings",
    "load_embeddings", "save_embeddings",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
