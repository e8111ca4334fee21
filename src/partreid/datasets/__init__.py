"""Data sets: readers that list images, and the conversion of images and labels to batches."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.datasets.augment import Augmentation
    from partreid.datasets.batch_config import AugmentConfig, BatchConfig
    from partreid.datasets.checks import DatasetReport, Finding, check_dataset
    from partreid.datasets.images import IMAGE_SUFFIXES, decode, read_image, resize
    from partreid.datasets.labelling import complete_labels, label_dataset, label_source
    from partreid.datasets.loaders import ImageBatch, ImageDataset, TrainLoader
    from partreid.datasets.occlusion import OcclusionConfig, write_occluded_queries
    from partreid.datasets.readers import LAYOUTS, Layout, find_datasets, read_dataset, read_datasets, with_labels
    from partreid.datasets.readers.loose_images import read_images
    from partreid.datasets.samplers import IdentityBatchSampler
    from partreid.datasets.synthetic.dataset import render_dataset
    from partreid.datasets.synthetic.preview import render_preview
    from partreid.datasets.synthetic.render_config import SyntheticConfig
    from partreid.datasets.synthetic.sequence_config import SequenceConfig
    from partreid.datasets.synthetic.sequences import render_sequences
    from partreid.datasets.synthetic.shipped import shipped_split
    from partreid.types.data import ReIDDataset, ReIDImage

__all__ = [
    "IMAGE_SUFFIXES", "LAYOUTS", "AugmentConfig", "Augmentation", "BatchConfig", "DatasetReport", "Finding",
    "IdentityBatchSampler", "ImageBatch", "ImageDataset", "Layout", "OcclusionConfig", "ReIDDataset", "ReIDImage",
    "SequenceConfig", "SyntheticConfig", "TrainLoader", "check_dataset", "complete_labels", "decode", "find_datasets",
    "label_dataset", "label_source", "read_dataset", "read_datasets", "read_image", "read_images", "render_dataset",
    "render_preview", "render_sequences", "resize", "shipped_split", "with_labels", "write_occluded_queries",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
