"""Embeddings of very many images as a folder of shards that can be resumed after a kill at any moment.

``manifest.json`` is written first; a shard is a file that is either complete or absent. The files on the disk are the
only record of progress, so no other record can disagree with them. Every process that makes a shard writes the same
bytes, so several processes can each make a part of the shards. Unfinished shards of a process are in a folder of its
own.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from partreid.errors import ConfigError, DataError
from partreid.files import atomic_file, hold_folder, hold_work
from partreid.inference import _parquet as parquet
from partreid.inference.cameras import Camera, CameraOf, with_cameras
from partreid.inference.embedding_file import FileFacts, read_facts, read_file, root_of, write_file
from partreid.inference.extractor import PartExtractor
from partreid.inference.inputs import ImagesLike, image_name, walk
from partreid.inference.storage import MANIFEST, manifest_content, name_bytes, shard_mark, shard_name
from partreid.inference.streaming import ImageBatch, SkippedImage, in_batches, run_batches
from partreid.runners.runner import nothing
from partreid.types import PartEmbeddings

SKIPPED = "skipped.csv"
"""In a folder of shards: the images that could not be read, and why."""

_LIST = "images"
"""In a job's ``workplace``: the names of all images."""
_FORMAT, _VERSION = "partreid-embedding-shards", 2
_WORKPLACE, _LOCK = ".part-{}-of-{}", ".lock"
_PATIENCE = 60.0
"""Seconds; a manifest is written in a moment."""


@dataclass(frozen=True)
class ShardSettings:
    """How a folder of shards is made. A network's last digits depend on ``batch_size`` and ``precision`` (in words)."""

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


@dataclass(frozen=True)
class ShardJob:
    """A folder of shards, the images that belong in each, and which shards this process makes.

    Attributes:
        workplace: a folder in it for what this process has not finished. part: as in :func:`open_job`.
        offsets: where the names of each shard begin in the list of all, and where the last end.
        names_sha256: digest of all names. root: from where relative names start; "" = all are absolute.
        cameras: of the images, for an adapted model. cameras_sha256: digest of all their cameras; "" = none are told.
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
    cameras: Camera | CameraOf | None = None
    cameras_sha256: str = ""

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
        with (self.workplace / _LIST).open("rb") as file:
            file.seek(self.offsets[shard])
            names = file.read(self.offsets[shard + 1] - self.offsets[shard])
        return names.decode("utf-8", "surrogateescape").split("\0")[:-1]

    def fault(self, shard: int) -> str | None:
        """Why a shard is to be made: "" = not there, else what differs from what was written. None = it is whole."""
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
        if facts.images != _images_digest(names):
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


@contextmanager
def open_job(
    folder: str | Path,
    images: ImagesLike,
    extractor: PartExtractor,
    settings: ShardSettings,
    *,
    part: tuple[int, int] = (1, 1),
    cameras: Camera | CameraOf | None = None,
) -> Iterator[ShardJob]:
    """Begin a folder of shards or resume one, and be the only process that makes this part of it.

    ``part`` is (i, n): make every n-th shard, beginning with the i-th, counted from 1. Errors are told at
    :func:`~partreid.inference.many.embed_to_folder`.
    """
    if not 1 <= part[0] <= part[1]:
        raise ConfigError(f"Expected a part (i, n) with 1 <= i <= n, such as (2, 8), got {part}.")
    if settings.file_type == "parquet":
        parquet.require()  # now, not when the first shard is full
    folder = Path(folder)
    workplace = folder / _WORKPLACE.format(*part)
    with hold_work(workplace.with_suffix(_LOCK), f"embedding part {part[0]}/{part[1]} of {folder}", error=DataError):
        shutil.rmtree(workplace, ignore_errors=True)  # of a process that was killed
        workplace.mkdir(exist_ok=True)
        try:
            job = _list_images(folder, images, extractor.fingerprint, settings, part, cameras)
            with hold_folder(folder, error=DataError, patience=_PATIENCE):  # others may begin it at this moment
                for name in (MANIFEST, SKIPPED):  # written by a process that was killed
                    for leftover in folder.glob(f".{Path(name).stem}.*"):
                        leftover.unlink(missing_ok=True)
                _begin(job, extractor.slots)
            yield job
        finally:
            shutil.rmtree(workplace, ignore_errors=True)


def embed_shards(
    extractor: PartExtractor, job: ShardJob, shards: Iterable[int], *, skip: bool = False, readers: int | None = None
) -> Iterator[tuple[int, int]]:
    """Make shards one after the other; the images of the next are decoded while one ends.

    Yields:
        (shard, images done) after every batch; after the last of a shard once that is on the disk.
    """
    if extractor.fingerprint != job.model:
        raise DataError(f"{job.folder} is made with model {job.model}, got {extractor.fingerprint}.")
    digests: dict[int, str] = {}

    def batches() -> Iterator[ImageBatch]:
        for shard in shards:
            names = job.names(shard)
            # Before they are decoded: of an image that changes meanwhile, the shard is made again next time.
            digests[shard] = _images_digest(names)
            first = job.first(shard)
            yield from in_batches(iter(names), job.settings.batch_size, first=first, cameras=job.cameras)

    made: list[PartEmbeddings] = []
    names: list[str] = []
    skipped: list[SkippedImage] = []
    with closing(run_batches(extractor.runner, batches(), skip=skip, readers=readers)) as results:
        for batch, output in results:
            names += batch.names
            skipped += batch.skipped
            if output is not None:
                made.append(output.embeddings)
            shard = batch.first // job.settings.shard_size
            if batch.end == job.first(shard) + job.size(shard):
                whole = PartEmbeddings.cat(made or [nothing(extractor.runner)])
                facts = FileFacts(
                    whole.slots, whole.model, tuple(names), tuple(skipped), whole.compare_normalized,
                    root_of([*names, *(one.name for one in skipped)], job.root or None), job.mark(shard),
                    digests.pop(shard), compare_weights=whole.compare_weights,
                )  # fmt: skip
                file = job.workplace / job.path(shard).name
                write_file(file, whole, facts)
                file.replace(job.path(shard))
                made, names, skipped = [], [], []
            yield shard, batch.end - batch.first


def finish_job(job: ShardJob) -> list[SkippedImage]:
    """Where all shards of all parts are there, list which images were left out, in ``skipped.csv`` if there are any."""
    facts = (read_facts(job.path(shard)) for shard in range(len(job)))
    skipped = [SkippedImage(*line) for one in facts for line in one.skipped]
    with hold_folder(job.folder, error=DataError, patience=_PATIENCE):
        write_skipped(job.folder / SKIPPED, skipped)
    for lock in job.folder.glob(_WORKPLACE.format("*", "*") + _LOCK):
        with suppress(DataError), hold_work(lock, "embedding", error=DataError):  # the process was killed
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
    return skipped


def write_skipped(path: Path, skipped: Sequence[SkippedImage]) -> None:
    """A table of the images that were left out, or no file where there are none."""
    if not skipped:
        path.unlink(missing_ok=True)
        return
    with (
        atomic_file(path, error=DataError) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(SkippedImage._fields)
        table.writerows(skipped)


def _list_images(
    folder: Path,
    images: ImagesLike,
    model: str,
    settings: ShardSettings,
    part: tuple[int, int],
    cameras: Camera | CameraOf | None,
) -> ShardJob:
    """Write the names of all images to a file, one at a time; also a digest of them, and one of their cameras."""
    seen = hashlib.sha256()
    digest, count, offsets, end, root = hashlib.sha256(), 0, [], 0, ""
    workplace = folder / _WORKPLACE.format(*part)
    with atomic_file(workplace / _LIST, error=DataError) as temporary, temporary.open("wb") as file:
        for image, camera in with_cameras(walk(images), cameras):
            if not isinstance(image, str | Path):
                raise DataError(f"A folder of shards is made from files, got {type(image).__name__}. Use a stream.")
            if count % settings.shard_size == 0:
                offsets.append(end)
            name = image_name(image, count)
            root = root or root_of([name], Path.cwd())
            line = name_bytes(name)
            digest.update(line)
            seen.update(name_bytes(camera or ""))
            end += file.write(line)
            count += 1
    told = "" if cameras is None else seen.hexdigest()
    return ShardJob(
        folder, workplace, part, model, settings, count, (*offsets, end), digest.hexdigest(), root, cameras, told
    )


def _begin(job: ShardJob, slots: Sequence[str]) -> None:
    """Write the manifest, or compare it with the one that is there."""
    if not job.images:
        raise DataError("Expected at least one image to embed, got none.")
    path = job.folder / MANIFEST
    manifest = {
        "format": _FORMAT, "version": _VERSION, "model": job.model, "slots": list(slots), **asdict(job.settings),
        "images": job.images, "names_sha256": job.names_sha256, "root": job.root, "shards": len(job),
        **({"cameras_sha256": job.cameras_sha256} if job.cameras_sha256 else {}),
    }  # fmt: skip
    if not path.exists():
        with atomic_file(path, error=DataError) as temporary:
            temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return
    found = manifest_content(path)
    if found.get("version") == 1:
        raise DataError(
            f"{path.parent} was begun by an earlier partreid, whose shards have no checksums. Its finished shards can "
            "be read, but it cannot be resumed: embed into another folder."
        )
    differing = [key for key, value in manifest.items() if found.get(key) != value]
    if differing:
        what = "; ".join(f"{key} was {found.get(key)}, now {manifest[key]}" for key in differing)
        raise DataError(
            f"{path.parent} was begun differently: {what}. Use the same options as then, or embed into another folder."
        )


def _images_digest(names: Iterable[str]) -> str:
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
