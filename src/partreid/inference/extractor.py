"""Images in, part embeddings out: the same for files, PIL images, arrays, tensors and boxes of a frame."""

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
        preprocess: what its input must look like.
        runtime: device, precision and batch size. "auto" precision means float32 here: embeddings of one
            model then agree between machines.
        mirror: embed each image and its mirror image, and average the two with left and right parts put back in
            place (:func:`~partreid.runners.runner.merge_mirrored`). Takes twice as long.
        metrics: what is known of the model's quality, kept where it is saved.
        adaptation: statistics of cameras to embed with, of :func:`~partreid.inference.adapting.adapt`.

    Raises:
        ConfigError: the adaptation is another model's; a mirror is asked for, and the parts have no names.

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
        """The extractor of a network that something else runs.

        Args:
            runner: the network. runtime: the batch size; device and precision are the runner's.
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
        """The extractor of whatever is called a model.

        Args:
            source: "shipped", the trained model inside the package; a run or checkpoint folder, a Hugging Face Hub
                repository (``"hf:org/name"``, or ``"org/name"`` where no such folder is near), a file that
                ``partreid export`` wrote (``.onnx``, or ``.xml`` with its ``.bin`` beside it), or a checkpoint in
                memory, such as ``load_official`` returns. A ReID network of another origin is taken as it is by its
                name as a backbone: ``"openvino/FILE.xml"``, ``"onnx/FILE.onnx"``.
            device: where to run: "cpu", "cuda:1", ...; a GPU if there is one where None.
            precision: "float32" where None, "bfloat16" or "float16"; an exported file knows its own.
            batch_size: images at once, 64 where None. mirror: as in the constructor.
            overrides: as in :func:`~partreid.models.checkpoint.load_checkpoint`: ``{"visibility": "continuous"}``.
            adaptation: as in the constructor; or its file, or the run that it lies in ("auto": this one).
            runtime: device, precision and batch size together, instead of the three above.

        Raises:
            CheckpointError: it is missing, incomplete, damaged or foreign. DataError: so is the adaptation.
            ConfigError: an override names no field of the model, or its value does not fit; it cannot run on that
                device or with that precision; an exported file is to be changed; ``runtime`` is given beside others.
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
            ConfigError: it was exported: there is a file that can be run, and nothing to look into.
        """
        if not isinstance(self.runner, TorchRunner):
            raise ConfigError(
                "This needs the network itself, and this extractor runs an exported file. Write "
                "PartExtractor.from_pretrained(run), of the run or checkpoint that the file was exported from."
            )
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
    def adaptation(self) -> Adaptation | None:
        """The statistics of cameras that images are embedded with; None takes the model's own for all."""
        return self.runner.adaptation if isinstance(self.runner, AdaptedRunner) else None

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.runner.device

    @property
    def fingerprint(self) -> str:
        """A name for what its embeddings depend on: weights, configuration, image size, mirror, adaptation.

        Two extractors with the same one give the same embeddings, up to rounding (device, precision).
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
            images: one, or any number, also from a generator; a folder means all images in it, sorted by name.
            order: of the channels of arrays and tensors: "bgr" for those that OpenCV reads.
            cameras: of an adapted model, one for all images, one for each, or a function that says it of an image;
                entries of a data set say theirs. Others get the mean of its cameras' statistics, with a warning.

        Returns:
            [B, S, D], marked with :attr:`fingerprint`; [0, S, D] of an empty list.

        Raises:
            DataError: a file is missing, truncated or no image, a folder is empty, or an array has another shape; the
                message names it.
            ConfigError: the order is neither word, or there are cameras, and no adaptation. ShapeError: or too few.
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
            on_error: what becomes of a box that shows nothing of the frame: outside it, empty, not finite. "warn"
                names it in a warning; its row is zeros, visible in no slot, so that no search finds it. "raise" stops.
            camera: of the frame, for an adapted model.

        Returns:
            [N, S, D], row i of box i; [0, S, D] without boxes.

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

        ``mirror`` and ``adaptation`` are no part of a checkpoint: say them again when the folder is read.

        Raises:
            CheckpointError: it cannot be written, or the folder holds something else.
            ConfigError: the extractor is that of an exported file, which can be copied.
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
        """Publish the model on the Hugging Face Hub, with a card that tells its settings, its scores and how to use it.

        Args:
            repo_id: ``"org/name"``; made where there is none. private: whether only you may see a new one.
            license: of the weights, as the Hub names it ("apache-2.0"). token: instead of the one that was logged in.
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
        """Everything the model says, batch by batch, on the CPU: for attention maps and single embeddings.

        Arguments and errors as in :meth:`embed`; also a DataError where there is no image.
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

        Images are taken from the iterable as they are needed, at most ``readers + 1`` batches of them ahead, and
        decoded by threads while the network runs.

        Args:
            images, order, cameras: as in :meth:`embed`. Of a folder only names are held, of one folder at a time.
            on_error: "skip" leaves out what cannot be read and tells it in ``skipped`` of the stream.
            readers: threads that decode ahead; 0 decodes between the batches. None takes one for each core, at most 4.

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
