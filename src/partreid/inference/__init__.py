"""From images to embeddings."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.inference.crops import crop_boxes
    from partreid.inference.embedding_file import save_embeddings
    from partreid.inference.extractor import PartExtractor
    from partreid.inference.many import Embedded, embed_to_file, embed_to_folder
    from partreid.inference.storage import iter_embeddings, load_embeddings
    from partreid.inference.streaming import EmbeddedBatch, EmbeddingStream, SkippedImage

__all__ = [
    "Embedded", "EmbeddedBatch", "EmbeddingStream", "PartExtractor", "SkippedImage", "crop_boxes", "embed_to_file",
    "embed_to_folder", "iter_embeddings", "load_embeddings", "save_embeddings",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
