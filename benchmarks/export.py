"""Exported networks against the same ones in PyTorch: as it comes, as PartExtractor runs it, and as the commands do.

PyTorch as it comes has maps laid out channel by channel, and gives freed memory back to the system at every map.
PartExtractor lays them out pixel by pixel; the commands also keep freed memory (``runtime.keep_freed_memory``).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from benchmarks.timing import Figure, compare
from partreid.datasets.images import read_image, resize
from partreid.datasets.readers.common import list_images
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.export.network import ExportedNetwork
from partreid.export.onnx import save_onnx, save_openvino, to_onnx, to_openvino
from partreid.export.quantise import quantise
from partreid.export.write import describe
from partreid.models.build import build_network
from partreid.preprocessing import normalize
from partreid.runners._export_info import seal
from partreid.runners.exported import ExportedRunner
from partreid.runners.runner import Runner, TorchRunner
from partreid.runtime import RuntimeConfig, keep_freed_memory
from partreid.training.presets import light, paper_occluded
from partreid.training.train_config import TrainConfig

TITLE = "Exported networks, times as fast as PyTorch in float32"
GOAL = 8.0
"""Times as fast as PyTorch in float32, as it comes."""
NAMES = {
    "onnx": "onnxruntime, float32",
    "bfloat16": "OpenVINO, bfloat16",
    "int8": "OpenVINO, int8, the rest bfloat16",
}
CALIBRATION = 8
"""Images: ranges have to be there, not to be good."""
Run: TypeAlias = Callable[[np.ndarray, None], object]
CPU = RuntimeConfig(device="cpu", precision="float32")


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """The light network at its preset's size and at 256×128, and the paper's ResNet-50."""
    large = light().override(["preprocess.height=256", "preprocess.width=128"])
    few = max(rounds // 2, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from _network("light, 128×64, batch 64", light(), 64, ("onnx", "bfloat16"), rounds, folder)
        yield from _network("light, 256×128, batch 32", large, 32, ("bfloat16",), few, folder)
        yield from _network("ResNet-50, 256×128, batch 16", paper_occluded(), 16, ("bfloat16", "int8"), few, folder)
        keep_freed_memory()
        kept = _network("light, 128×64, batch 64", light(), 64, ("bfloat16",), rounds, folder)
        figure = next(figure for figure in kept if figure.limit is None)
        yield replace(figure, name=f"{figure.name}, freed memory kept")


def _network(
    name: str, config: TrainConfig, batch: int, kinds: tuple[str, ...], rounds: int, folder: Path
) -> Iterator[Figure]:
    reference = TorchRunner(build_network(config.model, 751).eval(), config.preprocess, CPU)
    pixels = _pixels(batch, config.preprocess.size)
    info = describe(reference)
    model = to_onnx(ExportedNetwork(reference.model, config.preprocess).eval(), info)
    # Before save_onnx writes its metadata into the model, because a graph would inherit them.
    graphs = {kind: to_openvino(model) for kind in kinds if kind != "onnx"}
    for kind in kinds:
        file, precision = folder / ("m.onnx" if kind == "onnx" else "m.xml"), "float32"
        if kind == "onnx":
            save_onnx(model, info, file)
        else:
            graph, precision = graphs[kind], "bfloat16"
            save_openvino(quantise(graph, pixels[:CALIBRATION]) if kind == "int8" else graph, info, file)
        seal(file)
        exported = ExportedRunner(file, CPU.model_copy(update={"precision": precision}))
        title = f"{name}: {NAMES[kind]}"
        figure = _times_as_fast(f"{title}, over PyTorch as it comes", _plain(reference), exported, pixels, rounds)
        yield figure if kind == "onnx" else replace(figure, limit=GOAL, at_least=True)
        yield _times_as_fast(f"{title}, over PartExtractor", reference.run, exported, pixels, rounds)


def _plain(reference: TorchRunner) -> Run:
    """The network as PyTorch lays it out by default."""

    @torch.inference_mode()
    def run(pixels: np.ndarray, part_maps: None) -> object:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        return reference.model(normalize(images, reference.preprocess), part_maps, classify=False)

    return run


def _times_as_fast(name: str, reference: Run, exported: Runner, pixels: np.ndarray, rounds: int) -> Figure:
    """By CPU time; wall time stands behind it."""
    figure = compare(name, lambda: reference(pixels, None), lambda: exported.run(pixels, None), rounds=rounds)
    walls = [_wall(run, pixels) for run in (reference, exported.run)]
    per_image = f"{1000 * walls[1] / len(pixels):.2f} ms wall an image, {walls[0] / walls[1]:.1f}× by the wall"
    return replace(figure, detail=f"{figure.detail}; {per_image}")


def _wall(run: Run, pixels: np.ndarray) -> float:
    start = time.perf_counter()
    run(pixels, None)
    return time.perf_counter() - start


def _pixels(count: int, size: tuple[int, int]) -> np.ndarray:
    files = list_images(shipped_split() / "bounding_box_train")[:count]
    return np.stack([resize(read_image(file), size) for file in files])
