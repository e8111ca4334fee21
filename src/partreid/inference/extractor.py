"""From images to part embeddings, in the same way for files, PIL images, arrays, tensors and boxes of a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from partreid.errors import ConfigError, DataError, WrongTypeError, nearest
from partreid.inference.cameras import Camera, Cameras
from partreid.inference.crops import check_corners, tell_unseen, try_boxes, with_unseen
from partreid.inference.inputs import ChannelOrder, ImageLike, ImagesLike, in_rgb, load_image, walk
from partreid.inference.streaming import EmbeddingStream, OnError, in_batches
from partreid.models.backbones.network_files import is_network_file
from partreid.models.carried import portable_config
from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partreid.models.hub import model_card, upload
from partreid.models.network import ReIDNetwork
from partreid.models.shipped import SHIPPED
from partreid.objects import Guided, guided
from partreid.preprocessing import PreprocessConfig
from partreid.runners.adaptation import Adaptation, find_adaptation
from partreid.runners.adapted import AdaptedRunner, runner_of
from partreid.runners.exported import ExportedRunner, is_exported
from partreid.runners.runner import Runner, TorchRunner, nothing
from partreid.runtime import Precision, RuntimeConfig, runtime_of
from partreid.types import ModelOutput, PartEmbeddings


class PartExtractor(Guided):
    """Embeds images of persons.

    Args:
        model: a network; it is moved to the device and put in evaluation mode.
        preprocess: size and normalisation of its input.
        runtime: device, precision and batch size. "auto" precision means float32 here, so that embeddings of one model
            agree between machines.
        mirror: embed each image and its mirror image, and average the two with left and right parts put back in
            place (:func:`~partreid.runners.runner.merge_mirrored`). Takes twice as long.
        metrics: scores of the model, which are stored with it.
        adaptation: statistics of cameras to embed with, from :func:`~partreid.inference.adapting.adapt`.

    Raises:
        ConfigError: the adaptation belongs to another model; or ``mirror`` is True, and the parts have no names.

    Example:
        >>> extractor = PartExtractor.from_pretrained(device="cpu")  # the model inside the package
        >>> extractor(["a.jpg", "b.jpg"])  # doctest: +SKIP
        PartEmbeddings(2 images, 6 slots ('foreground', 'head', ...), width 256, cpu)
    """

    def __init__(
        self, model: ReIDNetwork, preprocess: PreprocessConfig, *, runtime: RuntimeConfig | None = None,
        mirror: bool = False, metrics: Mapping[str, Any] | None = None, adaptation: Adaptation | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(model, ReIDNetwork):
            raise WrongTypeError(
                f"Expected a network, got {model!r:.80}. Write PartExtractor.from_pretrained(run), where run is also "
                'a checkpoint, an exported file or "hf:org/name".'
            )
        self.runtime = RuntimeConfig.given(runtime)
        self.runner: Runner = runner_of(model, preprocess, self.runtime, mirror=mirror, adaptation=adaptation)
        self.metrics = dict(metrics or {})

    @classmethod
    def from_runner(cls, runner: Runner, *, runtime: RuntimeConfig | None = None) -> Self:
        """The extractor for a network that a given runner runs.

        Args:
            runner: the network. runtime: gives the batch size; device and precision are those of the runner.
        """
        extractor = cls.__new__(cls)
        extractor.runtime, extractor.runner, extractor.metrics = RuntimeConfig.given(runtime), runner, {}
        return extractor

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | Checkpoint = SHIPPED,
        *,
        device: str | int | torch.device | None = None,
        precision: Precision | None = None,
        batch_size: int | None = None,
        mirror: bool = False,
        overrides: Sequence[str] | Mapping[str, object] = (),
        adaptation: str | Path | Adaptation | None = None,
        runtime: RuntimeConfig | None = None,
    ) -> Self:
        """The extractor of a model, whatever its form.

        Args:
            source: "shipped", the trained model inside the package; a run or checkpoint folder, a Hugging Face Hub
                repository (``"hf:org/name"``, or ``"org/name"`` if there is no such folder), a file that ``partreid
                export`` wrote (``.onnx``, or ``.xml`` with its ``.bin`` beside it), or a checkpoint in memory, such as
                ``load_official`` returns. A ReID network from elsewhere is used as it is, by its name as a backbone:
                ``"openvino/FILE.xml"``, ``"onnx/FILE.onnx"``.
            device: where to run: "cpu", "cuda:1", ...; None = a GPU if there is one.
            precision: "float32", "bfloat16" or "float16"; None = float32. An exported file has its own precision.
            batch_size: images per batch; None = 64. mirror: as in the constructor.
            overrides: as in :func:`~partreid.models.checkpoint.load_checkpoint`: ``{"visibility": "continuous"}``.
            adaptation: as in the constructor; or its file, or the run that contains it ("auto" = this run).
            runtime: device, precision and batch size together, instead of the three above.

        Raises:
            CheckpointError: it is missing, incomplete, damaged or foreign. DataError: so is the adaptation.
            ConfigError: an override is not a field or does not fit; the model cannot run on that device or with that
                precision; an exported file is to be changed; or ``runtime`` and one of the three above are given.
            MissingDependencyError: the library that runs an exported file is not installed.
        """
        runtime = runtime_of(runtime, device=device, precision=precision, batch_size=batch_size)
        found = find_adaptation(adaptation, source)
        if isinstance(source, Checkpoint):
            checkpoint = source
            if overrides:
                raise ConfigError("A checkpoint in memory takes no overrides: give them to load_checkpoint.")
        elif is_exported(source) and not is_network_file(source):
            if overrides or found:
                raise ConfigError(f"{source} was exported as it is: it takes no overrides ({overrides}) or adaptation.")
            extractor = cls.from_runner(ExportedRunner(source, runtime), runtime=runtime)
            if mirror and not extractor.mirror:
                raise ConfigError(f"{source} was exported without mirror images. Export the run with --mirror.")
            return extractor
        else:
            checkpoint = load_checkpoint(source, overrides=overrides)
        return cls(
            checkpoint.model, checkpoint.preprocess, runtime=runtime, mirror=mirror, metrics=checkpoint.metrics,
            adaptation=found,
        )  # fmt: skip

    def __repr__(self) -> str:
        height, width = self.preprocess.size
        name = type(self.runner.model).__name__ if isinstance(self.runner, TorchRunner) else type(self.runner).__name__
        return (
            f"PartExtractor({name} on {self.device}, {self.runtime.batch_size} images at once)\n"
            f"  slots: {', '.join(self.slots):.300}\n"
            f"  images: {height}×{width} pixels (height × width){', with their mirror images' * self.mirror}"
        )

    @property
    def model(self) -> ReIDNetwork:
        """The network itself.

        Raises:
            ConfigError: the model was exported: its file can only be run.
        """
        if not isinstance(self.runner, TorchRunner):
            raise ConfigError(
                "This needs the network itself, and this extractor runs an exported file. Write "
                "PartExtractor.from_pretrained(run), of the run or checkpoint that the file was exported from."
            )
        return self.runner.model

    @property
    def preprocess(self) -> PreprocessConfig:
        """Size and normalisation of the network's input."""
        return self.runner.preprocess

    @property
    def mirror(self) -> bool:
        """Whether each image is embedded together with its mirror image."""
        return self.runner.mirror

    @property
    def adaptation(self) -> Adaptation | None:
        """The camera statistics for embedding; None = the model's own statistics for all images."""
        return self.runner.adaptation if isinstance(self.runner, AdaptedRunner) else None

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.runner.device

    @property
    def fingerprint(self) -> str:
        """A name for everything that the embeddings depend on: weights, configuration, image size, mirror, adaptation.

        Two extractors with the same fingerprint give the same embeddings, up to rounding (device, precision).
        """
        return self.runner.fingerprint

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots of every embedding."""
        return self.runner.slots

    @guided
    def embed(self, images: ImagesLike, *, order: ChannelOrder = "rgb", cameras: Cameras = None) -> PartEmbeddings:
        """Embeddings of images, in their order, on the CPU; ``extractor(images)`` is the same.

        Args:
            images: one or any number, also from a generator; a folder means all images in it, sorted by name.
            order: of the channels of arrays and tensors: "bgr" for those that OpenCV reads.
            cameras: for an adapted model: one for all images, one for each, or a function from an image to its camera.
                Entries of a data set have theirs. Unknown cameras get the mean of all statistics, with a warning.

        Returns:
            [B, S, D], marked with :attr:`fingerprint`; [0, S, D] for an empty list.

        Raises:
            DataError: an image is missing, damaged or of a wrong shape, or a folder is empty; the message names it.
            ConfigError: a wrong order, or cameras without an adaptation. ShapeError: too few cameras.
        """
        with self.stream(images, order=order, cameras=cameras) as stream:
            batches = [batch.embeddings for batch in stream]
        return PartEmbeddings.cat(batches or [nothing(self.runner)])

    __call__ = embed

    def embed_boxes(
        self,
        frame: ImageLike,
        boxes: ArrayLike,
        *,
        order: ChannelOrder = "rgb",
        on_error: Literal["warn", "raise"] = "warn",
        camera: Camera | None = None,
    ) -> PartEmbeddings:
        """Embeddings of the persons in the boxes of a frame.

        Args:
            frame: one image, of any kind.
            boxes: [N, 4] numbers x1, y1, x2, y2 in pixels from the upper left corner, as in
                :func:`~partreid.inference.crops.crop_boxes`; or detections that hold such an array as ``xyxy``.
            order: of the channels of an array or tensor: "bgr" for a frame that OpenCV reads.
            on_error: how to treat a box that shows nothing: outside the frame, empty, not finite. "warn" warns, and its
                row is zeros and visible in no slot, so that no search finds it. "raise" raises an error.
            camera: the camera of the frame, for an adapted model.

        Returns:
            [N, S, D], where row i belongs to box i; [0, S, D] without boxes.

        Raises:
            DataError: the frame cannot be read; the boxes are fractions of it, or x, y, width, height; or a box shows
                nothing of it and ``on_error`` is "raise".
            ShapeError, WrongTypeError: the boxes are not [N, 4] numbers.
            ConfigError: ``order`` or ``on_error`` is no such word.
        """
        if np.ndim(getattr(boxes, "xyxy", boxes)) == 3:  # detections are no array by themselves
            raise WrongTypeError("The boxes look like an image. Write embed_boxes(frame, boxes): frame first.")
        _one_of("on_error", on_error, ("warn", "raise"))
        _one_of("order", str(order).lower(), get_args(ChannelOrder))
        image = load_image(frame)
        check_corners(boxes, image.shape[1], image.shape[0])
        crops, problems = try_boxes(image, boxes)
        tell_unseen(problems, len(crops), raised=on_error == "raise")
        given = order if isinstance(frame, np.ndarray | torch.Tensor) else "rgb"  # what was decoded here is RGB
        return with_unseen(self.embed(list(crops), order=given, cameras=camera), problems)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a checkpoint folder that :meth:`from_pretrained` reads; a checkpoint that was there is replaced.

        ``mirror`` and ``adaptation`` are not part of a checkpoint. Give them again when you load the folder.

        Raises:
            CheckpointError: it cannot be written, or the folder contains something else. ConfigError: the extractor
            runs an exported file; copy that file instead.
        """
        return save_checkpoint(Checkpoint(self.model, self.preprocess, self.metrics), folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        license: str | None = None,
        token: str | None = None,
        commit_message: str = "Upload a partreid model",
    ) -> str:
        """Publish the model on the Hugging Face Hub, with a card that describes its settings, its scores and its use.

        Args:
            repo_id: ``"org/name"``; created if it does not exist. private: whether a new repository is private.
            license: licence of the weights, as the Hub names it ("apache-2.0"). token: replaces the token of the login.
            commit_message: of the upload.

        Returns:
            The repository's address.

        Raises:
            CheckpointError: the Hub cannot be reached, or refuses.
            ConfigError: the extractor is that of an exported file.
        """
        card = model_card(
            repo_id, portable_config(self.model), self.preprocess, self.metrics, mirror=self.mirror, license=license
        )
        with TemporaryDirectory() as folder:
            path = self.save_pretrained(Path(folder) / "checkpoint")
            (path / "README.md").write_text(card, encoding="utf-8")
            return upload(path, repo_id, private=private, token=token, message=commit_message)

    def outputs(self, images: ImagesLike) -> Iterator[ModelOutput]:
        """All outputs of the model, batch by batch, on the CPU: attention maps and the embeddings of each kind.

        Arguments and errors as in :meth:`embed`; also a DataError if there is no image.
        """
        number = 0
        with self.stream(images) as stream:
            for number, batch in enumerate(stream, 1):  # noqa: B007 - counted
                yield batch.output
        if not number:
            raise DataError("Expected at least one image to embed, got none.")

    def stream(
        self,
        images: ImagesLike,
        *,
        order: ChannelOrder = "rgb",
        on_error: OnError = "raise",
        readers: int | None = None,
        cameras: Cameras = None,
    ) -> EmbeddingStream:
        """Embeddings of any number of images, batch by batch, in bounded memory.

        Images are read from the iterable when they are needed, at most ``readers + 1`` batches ahead. Threads decode
        them while the network runs.

        Args:
            images, order, cameras: as in :meth:`embed`. Only one folder's names are in memory.
            on_error: "skip" leaves out images that cannot be read, and lists them in ``skipped`` of the stream.
            readers: threads that decode ahead; 0 = decode between the batches; None = one per core, at most 4.

        Returns:
            An iterator over :class:`~partreid.inference.streaming.EmbeddedBatch`: names, embeddings, attention maps.

        Raises:
            DataError: as in :meth:`embed`, while iterating; not for an iterable without images.
            ConfigError: ``on_error`` or ``order`` is no such word.

        Example:
            >>> with extractor.stream("archive", on_error="skip") as stream:  # doctest: +SKIP
            ...     for batch in stream:
            ...         gallery.add(batch.embeddings, batch.names)
        """
        _one_of("on_error", on_error, get_args(OnError))
        _one_of("order", str(order).lower(), get_args(ChannelOrder))
        if cameras is not None and self.adaptation is None:
            raise ConfigError("Cameras change nothing without an adaptation: from_pretrained(..., adaptation=FILE).")
        batches = in_batches(in_rgb(walk(images), order), self.runtime.batch_size, cameras=cameras)
        return EmbeddingStream(self.runner, batches, skip=on_error == "skip", readers=readers)


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"Unknown {name} {value!r:.80}. {nearest(str(value), known)}")
