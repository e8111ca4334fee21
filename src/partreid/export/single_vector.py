"""A model for ultralytics' trackers, from crops to one vector per crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from partreid.datasets.readers import read_dataset
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.errors import ConfigError, ExportError, needs_extra
from partreid.export.model import chosen_pixels
from partreid.export.network import ExportedNetwork
from partreid.export.onnx import traced
from partreid.export.parity import TOLERANCE
from partreid.export.write import CHECKED_IMAGES
from partreid.files import atomic_file
from partreid.models.checkpoint import load_checkpoint
from partreid.models.shipped import SHIPPED, is_shipped, shipped_name
from partreid.runners.runner import TorchRunner
from partreid.runtime import RuntimeConfig
from partreid.tracking.memory import parts_of, single_vector
from partreid.types import PartEmbeddings
from partreid.types.numbers import require_whole
from partreid.version import __version__


class SingleVectorNetwork(nn.Module):
    """A network that takes images in ultralytics' form, followed by :func:`~partreid.tracking.memory.single_vector`.

    Args:
        network: on the CPU. like: example embeddings of it. least_parts: an image with fewer body parts gets zeros.
    """

    weights: Tensor
    parts: Tensor

    def __init__(self, network: ExportedNetwork, like: PartEmbeddings, *, least_parts: int) -> None:
        super().__init__()
        self.network, self.least_parts = network, least_parts
        weights = torch.tensor([like.compare_weights.get(slot, 1.0) for slot in like.slots])
        self.register_buffer("weights", weights.sqrt())
        self.register_buffer("parts", torch.tensor([slot in parts_of(like) for slot in like.slots]))

    def forward(self, images: Tensor) -> Tensor:
        """float32 [B, 3, H, W] RGB in [0, 1] → [B, S·D] of length 1, or 0."""
        vectors, visibility, _ = self.network((images * 255).permute(0, 2, 3, 1))
        long = F.normalize(vectors, dim=2) * (visibility * self.weights)[..., None]
        shown = ((visibility > 0) & self.parts).sum(1, keepdim=True)
        result: Tensor = F.normalize(long.flatten(1), dim=1) * (shown >= self.least_parts)
        return result


def export_single_vector(model: str | Path = SHIPPED, out: str | Path | None = None, *, least_parts: int = 1) -> Path:
    """Write a model as ONNX for ``with_reid: True`` and ``model: FILE`` of ultralytics' trackers.

    Input ``images``: float32 [B, 3, H, W] RGB in [0, 1]. Output ``vectors``: float32 [B, S·D], zeros for a person who
    shows too little, which ultralytics treats as unknown. The file is compared with PyTorch on shipped images, and not
    written if it differs. partreid itself does not read it.

    Args:
        model: as for :func:`~partreid.models.checkpoint.load_checkpoint`.
        out: the file; None = ``model-vector.onnx`` in the run's folder. For the model inside the package: its name
            instead of "model", in the current folder.
        least_parts: how many body parts an image must show.

    Returns:
        The file's path.

    Raises:
        ConfigError: the file's name does not end in .onnx, or the network needs pose fields.
        ShapeError: ``least_parts`` is not a possible number of this model's parts.
        CheckpointError, ExportError, MissingDependencyError: as :func:`~partreid.export.write.export_checkpoint`.
    """
    stem, folder = (shipped_name(), Path()) if is_shipped(model) else ("model", Path(model))
    path = Path(out) if out else (folder if folder.is_dir() else Path()) / f"{stem}-vector.onnx"
    if path.suffix != ".onnx":
        raise ConfigError(f"Expected a file that ends in .onnx, got {path}.")
    checkpoint = load_checkpoint(model)
    size = checkpoint.preprocess.size
    runner = TorchRunner(checkpoint.model, checkpoint.preprocess, RuntimeConfig(device="cpu", precision="float32"))
    exported = ExportedNetwork(runner.model, runner.preprocess)
    pixels = chosen_pixels(read_dataset(shipped_split(), labels=None), None, size, CHECKED_IMAGES)
    found = runner.run(pixels, None).embeddings
    least_parts = require_whole("least_parts", least_parts, least=1, most=len(parts_of(found)))
    network = SingleVectorNetwork(exported, found, least_parts=least_parts).eval()
    made = traced(network, torch.zeros(3, 3, *size), ("vectors",), name=type(runner.model).__name__)
    made.producer_name, made.producer_version = "partreid", __version__
    expected = single_vector(found, least_parts=least_parts)
    with atomic_file(path, error=ExportError) as draft:
        draft.write_bytes(made.SerializeToString())
        difference = float((run_single_vector(draft, pixels) - expected).norm(dim=1).max())
        if not difference < TOLERANCE:
            raise ExportError(f"The exported file's vectors differ from PyTorch's by {difference:.1e} of their length.")
    return path


def run_single_vector(path: Path, pixels: NDArray[np.uint8]) -> Tensor:
    """[N, S·D] of uint8 RGB images [N, H, W, 3] at the model's size, as ultralytics gives them to the file."""
    with needs_extra("export", "Checking an exported file"):
        import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return torch.from_numpy(session.run(None, {"images": images})[0])
