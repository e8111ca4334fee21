"""What a folder of shards is to hold, and whether a shard that is there is the right one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partreid.errors import ConfigError, DataError
from partreid.inference.embedding_file import read_file
from partreid.inference.shard_folder import shard_mark, shard_name
from partreid.objects import Guided

LIST = "images"
"""In a job's ``workplace``: the names of all images."""


@dataclass(frozen=True, repr=False)
class ShardSettings(Guided):
    """How a folder of shards is made.

    Attributes:
        shard_size: images in a shard. file_type: of the shards.
        batch_size: images embedded at once. A network's last digits depend on it, so it belongs to the result.
        precision: what the network computes with, in words; it belongs to the result too.
    """

    shard_size: int = 16_384
    file_type: Literal["safetensors", "parquet"] = "safetensors"
    batch_size: int = 64
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.shard_size < 1 or self.file_type not in ("safetensors", "parquet"):
            raise ConfigError(
                "Expected shards of at least one image, as safetensors or parquet, got shards of "
                f"{self.shard_size} as {self.file_type}."
            )


@dataclass(frozen=True, repr=False)
class ShardJob(Guided):
    """A folder of shards, the images that belong in each, and which shards this process makes.

    Attributes:
        folder: where they lie. workplace: a folder in it for what this process has not finished.
        part: (i, n): this process makes every n-th shard, beginning with the i-th, counted from 1.
        model: fingerprint of the extractor. settings: how the shards are made.
        images: how many. offsets: where the names of each shard begin in the list of all, and where the last end.
        names_sha256: digest of all names. root: from where relative names start; "" = all are absolute.
    """

    folder: Path
    workplace: Path
    part: tuple[int, int]
    model: str
    settings: ShardSettings
    images: int
    offsets: tuple[int, ...]
    names_sha256: str
    root: str

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def shards(self) -> range:
        """The shards of this part."""
        return range(self.part[0] - 1, len(self), self.part[1])

    def path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.folder / shard_name(shard, self.settings.file_type)

    def first(self, shard: int) -> int:
        """Position of a shard's first image among all."""
        return shard * self.settings.shard_size

    def size(self, shard: int) -> int:
        """How many images belong in a shard."""
        return min(self.images, self.first(shard + 1)) - self.first(shard)

    def names(self, shard: int) -> list[str]:
        """The images of a shard."""
        with (self.workplace / LIST).open("rb") as file:
            file.seek(self.offsets[shard])
            names = file.read(self.offsets[shard + 1] - self.offsets[shard])
        return names.decode("utf-8", "surrogateescape").split("\0")[:-1]

    def fault(self, shard: int) -> str | None:
        """Why a shard is to be made: it is not there (""), or in words what is wrong with the file. None = it is whole.

        Whole means that all of it is as it was written, by this model, of these images as they are now.
        """
        path = self.path(shard)
        if not path.exists():
            return ""
        try:
            _, facts = read_file(path)
        except DataError as error:
            return str(error)
        names = self.names(shard)
        if facts.model != self.model:
            return f"{path} was made by the model {facts.model or 'unknown'}"
        without = {position - self.first(shard) for position, _, _ in facts.skipped}
        expected = [name for place, name in enumerate(names) if place not in without]
        if facts.shard != self.mark(shard) or list(facts.names) != expected:
            return f"{path} is another shard, or one of other images"
        if facts.images != images_digest(names):
            return f"{path} is of images that have changed since"
        return None

    def mark(self, shard: int) -> str:
        """How the shard says which it is."""
        return shard_mark(self.names_sha256, shard)

    def faults(self) -> dict[int, str]:
        """The shards of this part that are still to be made, and why; see :meth:`fault`."""
        return {shard: fault for shard in self.shards if (fault := self.fault(shard)) is not None}

    def absent(self) -> int:
        """How many shards of all parts are not there yet."""
        return sum(not self.path(shard).exists() for shard in range(len(self)))


def images_digest(names: Iterable[str]) -> str:
    """sha256 of the files of images: of what is in them, or that one is no file. A hundredth of embedding's time."""
    digest = hashlib.sha256()
    for name in names:
        try:
            if not Path(name).is_file():  # a pipe would be waited for
                raise FileNotFoundError
            with Path(name).open("rb") as file:
                digest.update(b"file" + hashlib.file_digest(file, "sha256").digest())
        except (OSError, ValueError):  # reading it as an image says what is wrong
            digest.update(b"none")
    return digest.hexdigest()
