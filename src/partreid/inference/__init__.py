"""From images to embeddings."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.inference.adapting import adapt
    from partreid.inference.cameras import cameras_from
    from partreid.inference.crops import crop_boxes
    from partreid.inference.embedding_file import save_embeddings
    from partreid.inference.extractor import PartExtractor
    from partreid.inference.many import Embedded, embed_to_file, embed_to_folder
    from partreid.inference.storage import iter_embeddings, load_embeddings
    from partreid.inference.streaming import EmbeddedBatch, EmbeddingStream, SkippedImage
    from partreid.runners.adaptation import Adaptation

__all__ = [
    "Adaptation", "Embedded", "EmbeddedBatch", "EmbeddingStream", "PartExtractor", "SkippedImage", "adapt",
    "cameras_from", "crop_boxes", "embed_to_file", "embed_to_folder", "iter_embeddings", "load_embeddings",
    "save_embeddings",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
