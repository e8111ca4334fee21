"""Loaders: batches for training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch.utils.data import DataLoader

from partreid.config import ConfigModel
from partreid.datasets.samplers import IdentityBatchSampler
from partreid.datasets.torch_dataset import PictureBatch, PictureDataset, collate
from partreid.errors import LabelError
from partreid.parts import PartSchema
from partreid.types import ReIDDataset


class BatchConfig(ConfigModel):
    """How training batches are drawn."""

    identities_per_batch: Annotated[int, Field(ge=2)] = 16
    """P: identities in a batch (paper §4.2: 16)."""
    images_per_identity: Annotated[int, Field(ge=2)] = 4
    """K: pictures of each (paper §4.2: 4)."""


class TrainLoader:
    """Training batches of a data set, with the sampler that orders them.

    Args:
        dataset: its ``train`` pictures are read.
        config: batch composition. size: (H, W) of pictures.
        schema: part schema of the labels; None trains without labels.
        map_size: (H', W') of the feature map; labels are read at twice its resolution.
        seed: of the order. workers: reader processes, 0 = none.

    Raises:
        LabelError: labels are needed and no picture has one.
        DataError: there are too few identities.
    """

    def __init__(
        self,
        dataset: ReIDDataset,
        config: BatchConfig,
        *,
        size: tuple[int, int],
        schema: PartSchema | None,
        map_size: tuple[int, int],
        seed: int,
        workers: int = 0,
    ) -> None:
        if schema is not None and not any(image.label for image in dataset.train):
            raise LabelError(
                f"No training picture of {dataset.root} has a human parsing label. Make them with "
                f"`partreid labels make`, or train without them: --set objective.part_attention_weight=0."
            )
        order = {pid: index for index, pid in enumerate(dataset.train_pids)}
        self.pid_index = [order[image.pid] for image in dataset.train]
        self.sampler = IdentityBatchSampler(
            self.pid_index, identities=config.identities_per_batch, images=config.images_per_identity, seed=seed
        )
        # Nodes at the cells' centres and borders: without a crop, labels are read exactly at the centres.
        label_nodes = (2 * map_size[0] + 1, 2 * map_size[1] + 1)
        self.loader: DataLoader[PictureBatch] = DataLoader(
            PictureDataset(dataset.train, size=size, schema=schema, label_nodes=label_nodes),  # type: ignore[arg-type]
            batch_sampler=self.sampler,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def epoch(self, number: int) -> DataLoader[PictureBatch]:
        """The batches of one epoch."""
        self.sampler.set_epoch(number)
        return self.loader
