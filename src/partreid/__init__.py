"""partreid: part-based person re-identification under occlusion (BPBReID, WACV 2023)."""

from partreid import surroundings  # noqa: F401 - before PyTorch: it says how threads wait
from partreid.errors import PartReIDError
from partreid.functional.distance import part_distances
from partreid.functional.ranking import evaluate_ranking
from partreid.inference.extractor import PartExtractor
from partreid.models.baselines import PCB, BoT
from partreid.models.bpbreid import BPBReID
from partreid.models.build import build_network
from partreid.models.checkpoint import load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.models.official import load_official
from partreid.parts import PART_SCHEMAS, PartSchema
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.matching import MatchingConfig
from partreid.types import EvaluationResult, GalleryItem, ModelOutput, PartEmbeddings, SearchResult
from partreid.version import __version__

__all__ = [
    "PART_SCHEMAS",
    "PCB",
    "BPBReID",
    "BoT",
    "EvaluationResult",
    "Filter",
    "Gallery",
    "GalleryItem",
    "MatchingConfig",
    "ModelConfig",
    "ModelOutput",
    "PartEmbeddings",
    "PartExtractor",
    "PartReIDError",
    "PartSchema",
    "PreprocessConfig",
    "SearchResult",
    "__version__",
    "build_network",
    "evaluate_ranking",
    "load_checkpoint",
    "load_official",
    "part_distances",
    "save_checkpoint",
]
