"""Exported networks against the same ones in PyTorch, through what PartExtractor runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.timing import Figure, compare
from partreid.datasets.images import read_image, resize
from partreid.datasets.readers.common import list_pictures
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.export.network import ExportedNetwork
from partreid.export.onnx import save_onnx, to_onnx
from partreid.export.openvino import save_openvino, to_openvino
from partreid.export.quantise import quantise
from partreid.export.write import describe
from partreid.inference.exported import ExportedRunner
from partreid.inference.runner import Runner, TorchRunner
from partreid.models.build import build_network
from partreid.runtime import RuntimeConfig
from partreid.training.config import TrainConfig
from partreid.training.presets import light, paper_occluded

TITLE = "Exported networks, times as fast as PyTorch in float32"
GOAL = 8.0
"""Times as fast as PyTorch in float32."""
NAMES = {
    "onnx": "onnxruntime, float32",
    "bfloat16": "OpenVINO, bfloat16",
    "int8": "OpenVINO, int8, the rest bfloat16",
}
CALIBRATION = 8
"""Pictures: ranges have to be there, not to be good."""
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


def _network(
    name: str, config: TrainConfig, batch: int, kinds: tuple[str, ...], rounds: int, folder: Path
) -> Iterator[Figure]:
    reference = TorchRunner(build_network(config.model, 751).eval(), config.preprocess, CPU)
    pixels = _pixels(batch, config.preprocess.size)
    info = describe(reference)
    model = to_onnx(ExportedNetwork(reference.model, config.preprocess).eval(), info)
    for kind in kinds:
        file, precision = folder / ("m.onnx" if kind == "onnx" else "m.xml"), "float32"
        if kind == "onnx":
            save_onnx(model, info, file)
        else:
            graph, precision = to_openvino(model), "bfloat16"
            save_openvino(quantise(graph, pixels[:CALIBRATION]) if kind == "int8" else graph, info, file)
        exported = ExportedRunner(file, CPU.model_copy(update={"precision": precision}))
        figure = _times_as_fast(f"{name}: {NAMES[kind]}", reference, exported, pixels, rounds)
        yield figure if kind == "onnx" else replace(figure, limit=GOAL, at_least=True)


def _times_as_fast(name: str, reference: Runner, exported: Runner, pixels: np.ndarray, rounds: int) -> Figure:
    """By CPU time; wall time stands behind it."""
    figure = compare(name, lambda: reference.run(pixels, None), lambda: exported.run(pixels, None), rounds=rounds)
    walls = [_wall(runner, pixels) for runner in (reference, exported)]
    per_picture = f"{1000 * walls[1] / len(pixels):.2f} ms wall a picture, {walls[0] / walls[1]:.1f}× by the wall"
    return replace(figure, detail=f"{figure.detail}; {per_picture}")


def _wall(runner: Runner, pixels: np.ndarray) -> float:
    start = time.perf_counter()
    runner.run(pixels, None)
    return time.perf_counter() - start


def _pixels(count: int, size: tuple[int, int]) -> np.ndarray:
    files = list_pictures(shipped_split() / "bounding_box_train")[:count]
    return np.stack([resize(read_image(file), size) for file in files])
