"""From images to embeddings."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.inference.crops import crop_boxes
    from partreid.inference.extractor import PartExtractor
    from partreid.inference.many import Embedded, embed_to_file, embed_to_folder
    from partreid.inference.shard_job import ShardJob, ShardSettings
    from partreid.inference.shards import embed_shards, finish_job, open_job
    from partreid.inference.storage import iter_embeddings, load_embeddings, save_embeddings
    from partreid.inference.streaming import EmbeddedBatch, EmbeddingStream, SkippedImage, StreamOptions

__all__ = [
    "Embedded", "EmbeddedBatch", "EmbeddingStream", "PartExtractor", "ShardJob", "ShardSettings", "SkippedImage",
    "StreamOptions", "crop_boxes", "embed_shards", "embed_to_file", "embed_to_folder", "finish_job",
    "iter_embeddings", "load_embeddings", "open_job", "save_embeddings",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
