"""Images in, part embeddings out: the same for files, PIL images and arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, get_args

import torch

from partreid.errors import ConfigError, DataError, nearest
from partreid.inference.inputs import ImagesLike, walk
from partreid.inference.streaming import EmbeddingStream, OnError, StreamOptions, default_readers
from partreid.models.checkpoint import Checkpoint, load_checkpoint
from partreid.models.network import ReIDNetwork
from partreid.preprocessing import PreprocessConfig
from partreid.runners.exported import ExportedRunner
from partreid.runners.runner import Runner, TorchRunner
from partreid.runtime import RuntimeConfig
from partreid.types import ModelOutput, PartEmbeddings


class PartExtractor:
    """Embeds images of persons.

    Args:
        model: a network; it is moved to the device and put in evaluation mode.
        preprocess: what its input must look like.
        runtime: device, precision and batch size. "auto" precision means float32 here: embeddings of one
            model then agree between machines.
        mirror: embed each image and its mirror image, and average the two with left and right parts put back in
            place (:func:`~partreid.runners.mirror.merge_mirrored`). Takes twice as long. Compare only embeddings
            made with the same choice.

    Raises:
        ConfigError: a mirror is asked for, and nothing is known of the parts but their number.

    Example:
        >>> extractor = PartExtractor.from_pretrained("runs/light")  # doctest: +SKIP
        >>> extractor.embed(["a.jpg", "b.jpg"])  # doctest: +SKIP
        PartEmbeddings(2 images, 6 slots ('foreground', 'head', ...), width 256, cpu)
    """

    def __init__(
        self,
        model: ReIDNetwork,
        preprocess: PreprocessConfig,
        *,
        runtime: RuntimeConfig | None = None,
        mirror: bool = False,
    ) -> None:
        self.runtime = runtime or RuntimeConfig()
        self.runner: Runner = TorchRunner(model, preprocess, self.runtime, mirror=mirror)

    @classmethod
    def from_runner(cls, runner: Runner, *, runtime: RuntimeConfig | None = None) -> Self:
        """The extractor of a network that something else than this constructor runs, such as an exported file.

        Args:
            runner: the network. runtime: the batch size; device and precision are the runner's.
        """
        extractor = cls.__new__(cls)
        extractor.runtime = runtime or RuntimeConfig()
        extractor.runner = runner
        return extractor

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        runtime: RuntimeConfig | None = None,
        mirror: bool = False,
        overrides: Sequence[str] = (),
    ) -> Self:
        """The extractor of a checkpoint folder, a run folder, or a Hugging Face Hub repository ``"org/name"``.

        Args:
            source: where it is. runtime, mirror: as in the constructor.
            overrides: as in :func:`~partreid.models.checkpoint.load_checkpoint`: ``["visibility=continuous"]``.

        Raises:
            CheckpointError: it is missing, incomplete or foreign.
            ConfigError: an override names no field of the model, or its value does not fit.
        """
        return cls.from_checkpoint(load_checkpoint(source, overrides=overrides), runtime=runtime, mirror=mirror)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, runtime: RuntimeConfig | None = None, mirror: bool = False
    ) -> Self:
        """The extractor of a checkpoint in memory, such as ``load_official`` returns."""
        return cls(checkpoint.model, checkpoint.preprocess, runtime=runtime, mirror=mirror)

    @classmethod
    def from_exported(cls, file: str | Path, *, runtime: RuntimeConfig | None = None) -> Self:
        """The extractor of a file that ``partreid export`` wrote: ``.onnx``, or ``.xml`` with its ``.bin`` beside it.

        Args:
            file: where it is. runtime: as of :class:`~partreid.runners.exported.ExportedRunner`, and the batch size.

        Raises:
            CheckpointError: it is missing, damaged or foreign.
            ConfigError: it cannot run on that device, or with that precision.
            MissingDependencyError: the library that runs it is not installed.
        """
        return cls.from_runner(ExportedRunner(file, runtime), runtime=runtime)

    @property
    def model(self) -> ReIDNetwork:
        """The network itself.

        Raises:
            ConfigError: it was exported: there is a file that can be run, and nothing to look into.
        """
        if not isinstance(self.runner, TorchRunner):
            raise ConfigError("This needs the network itself, and got an exported file. Give the run it was made from.")
        return self.runner.model

    @property
    def preprocess(self) -> PreprocessConfig:
        """What the network's input looks like."""
        return self.runner.preprocess

    @property
    def mirror(self) -> bool:
        """Whether each image is embedded together with its mirror image."""
        return self.runner.mirror

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.runner.device

    @property
    def fingerprint(self) -> str:
        """A name for what its embeddings depend on: weights, the model's configuration, image size, mirror.

        Two extractors with the same one give the same embeddings, up to rounding (device, precision).
        """
        return self.runner.fingerprint

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        return self.runner.slots

    def embed(self, images: ImagesLike) -> PartEmbeddings:
        """Embeddings of images, in their order, on the CPU.

        Args:
            images: one, or any number of any kind, also from a generator; a folder means every image in it and in
                the folders in it, sorted by name.

        Returns:
            [B, S, D], marked with :attr:`fingerprint`.

        Raises:
            DataError: there is no image, a file is missing, truncated or no image, a folder is empty, or an array
                has another shape; the message names it.
        """
        return PartEmbeddings.cat(output.embeddings for output in self.outputs(images))

    def outputs(self, images: ImagesLike) -> Iterator[ModelOutput]:
        """Everything the model says, batch by batch, on the CPU: for attention maps and single embeddings.

        Arguments and errors as in :meth:`embed`.
        """
        number = 0
        with self.stream(images) as stream:
            for number, batch in enumerate(stream, 1):  # noqa: B007 - counted
                yield batch.output
        if not number:
            raise DataError("Expected at least one image to embed, got none.")

    def stream(self, images: ImagesLike, *, on_error: OnError = "raise", readers: int | None = None) -> EmbeddingStream:
        """Embeddings of any number of images, batch by batch, in bounded memory.

        Images are taken from the iterable as they are needed, at most ``readers + 1`` batches of them ahead, and
        decoded by threads while the network runs.

        Args:
            images: as in :meth:`embed`. Of a folder only the names are held, and those of one folder at a time.
            on_error: "skip" leaves out what cannot be read and tells it in ``skipped`` of the stream.
            readers: threads that decode ahead; 0 decodes between the batches. None takes one for each core, at most 4.

        Returns:
            An iterator over :class:`~partreid.inference.streaming.EmbeddedBatch`: names, embeddings, attention maps.

        Raises:
            DataError: as in :meth:`embed`, while iterating; not for an iterable without images.
            ConfigError: ``on_error`` is neither word.

        Example:
            >>> with extractor.stream("archive", on_error="skip") as stream:  # doctest: +SKIP
            ...     for batch in stream:
            ...         gallery.add(batch.embeddings, batch.names)
            >>> stream.skipped  # doctest: +SKIP
            [SkippedImage(position=7, name='archive/7.jpg', reason='archive/7.jpg is a damaged JPEG: ...')]
        """
        if on_error not in get_args(OnError):
            raise ConfigError(f"Unknown on_error {on_error!r}. {nearest(str(on_error), get_args(OnError))}")
        readers = default_readers() if readers is None else readers
        options = StreamOptions(self.runtime.batch_size, skip=on_error == "skip", readers=readers)
        return EmbeddingStream(self.runner, walk(images), options)
