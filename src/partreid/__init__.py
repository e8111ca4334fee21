"""partreid: part-based person re-identification under occlusion (BPBReID, WACV 2023)."""

from typing import TYPE_CHECKING

from partreid import surroundings  # noqa: F401 - before PyTorch: it says how threads wait
from partreid.doors import door
from partreid.version import __version__

if TYPE_CHECKING:
    from partreid.datasets.readers import find_datasets, read_dataset, read_datasets
    from partreid.datasets.readers.loose_images import read_images
    from partreid.errors import PartReIDError
    from partreid.evaluation.calibration import calibrate
    from partreid.evaluation.evaluator import evaluate_embeddings
    from partreid.functional.distance import part_distances
    from partreid.functional.ranking import evaluate_ranking
    from partreid.inference.embedding_file import save_embeddings
    from partreid.inference.extractor import PartExtractor
    from partreid.inference.storage import load_embeddings
    from partreid.models.bpbreid import PCB, BoT, BPBReID
    from partreid.models.build import build_network
    from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from partreid.models.model_config import ModelConfig
    from partreid.models.official import load_official
    from partreid.parts import PART_SCHEMAS, PartSchema, get_part_schema
    from partreid.preprocessing import PreprocessConfig
    from partreid.reports.evaluate import Evaluation, evaluate
    from partreid.retrieval.calibration import MatchCalibration
    from partreid.retrieval.compare import compare
    from partreid.retrieval.filters import Filter
    from partreid.retrieval.gallery import Gallery
    from partreid.retrieval.many import search_many
    from partreid.retrieval.matching import MatchingConfig
    from partreid.runtime import RuntimeConfig
    from partreid.tracking.tracklets import Tracklet, merge_tracklet, merge_tracklets
    from partreid.training.callbacks import TrainingCallback
    from partreid.training.loop import Trainer
    from partreid.training.presets import PRESETS, get_preset
    from partreid.training.train_config import TrainConfig
    from partreid.types.data import ReIDDataset, ReIDImage
    from partreid.types.gallery import GalleryItem
    from partreid.types.output import ModelOutput
    from partreid.types.results import EvaluationResult
    from partreid.types.search import Hit, SearchResult
    from partreid.types.tensors import PartEmbeddings

__all__ = [
    "PART_SCHEMAS", "PCB", "PRESETS", "BPBReID", "BoT", "Checkpoint", "Evaluation", "EvaluationResult", "Filter",
    "Gallery", "GalleryItem", "Hit", "MatchCalibration", "MatchingConfig", "ModelConfig", "ModelOutput",
    "PartEmbeddings", "PartExtractor", "PartReIDError", "PartSchema", "PreprocessConfig", "ReIDDataset",
    "ReIDImage", "RuntimeConfig", "SearchResult", "Tracklet", "TrainConfig", "Trainer", "TrainingCallback",
    "__version__", "build_network", "calibrate", "compare", "evaluate", "evaluate_embeddings", "evaluate_ranking",
    "find_datasets", "get_part_schema", "get_preset", "load_checkpoint", "load_embeddings", "load_official",
    "merge_tracklet", "merge_tracklets", "part_distances", "read_dataset", "read_datasets", "read_images",
    "save_checkpoint", "save_embeddings", "search_many",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers would take any name for right
    __getattr__, __dir__ = door(__name__)
