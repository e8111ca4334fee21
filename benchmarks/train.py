"""What a training step costs over the bare backbone, and what its options add: precision, averages, processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.timing import Figure, compare, cpu_seconds
from partreid import processes
from partreid.datasets.augment import Augmented
from partreid.losses.extra import ExtraLosses, LossSetup
from partreid.models.backbones.efficientnet_lite import DepthwiseConv2d
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint
from partreid.preprocessing import PreprocessConfig
from partreid.runtime import keep_freed_memory
from partreid.training.distributed import gather
from partreid.training.ema import WeightAverage
from partreid.training.presets import light, paper_occluded
from partreid.training.state import Learner, Progress, save_run
from partreid.training.supervised import SupervisedModel
from partreid.training.train_config import TrainConfig

TITLE = "Training"
IDENTITIES = 751
STEPS_TOGETHER = 4


class Training:
    """A model, its optimiser and one batch of random images."""

    def __init__(self, config: TrainConfig, count: int) -> None:
        size, stride, parts = config.preprocess.size, config.model.stride, len(config.model.part_names)
        model = build_network(config.model, IDENTITIES).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model.train()
        self.supervised: nn.Module = SupervisedModel(self.model, config.objective)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, weight_decay=5e-4, fused=True)
        images = torch.randn(count, 3, *size).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(0, parts + 1, (count, size[0] // stride, size[1] // stride))
        self.batch = Augmented(images, None, labels)
        self.pid_index = torch.arange(count) // 4
        # As large as the map, as the heads send it back: that of a mean is one number, on which some layers are slow.
        self.gradient = torch.randn_like(self.model.backbone(images).detach())

    def step(self, *, batches: int = 1, bfloat16: bool = False) -> None:
        """Forward, backward and Adam, as the loop has them."""
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(batches):
            with torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext():
                losses = self.supervised(self.batch, self.pid_index)
            (losses["loss"] / batches).backward()
            torch.stack([value.detach().float() for value in losses.values()]).tolist()
        self.optimizer.step()

    def step_of_two(self) -> None:
        """Two batches and one step."""
        self.step(batches=2)

    def step_in_bfloat16(self) -> None:
        """The step in bfloat16."""
        self.step(bfloat16=True)

    def bare(self) -> None:
        """Forward and backward of the backbone alone."""
        self.model.zero_grad()
        self.model.backbone(self.batch.images).backward(self.gradient)


def measure(*, rounds: int = 5) -> Iterator[Figure]:
    """The light preset at 128×64 and the paper's ResNet-50 at 256×128, on random images."""
    keep_freed_memory()  # as training does
    torch.set_flush_denormal(True)
    few = min(rounds, 3)
    yield from _over_bare("ResNet-50, K = 8, 256×128, batch 8", Training(paper_occluded(), 8), few)
    whole = Training(light(), 64)
    yield from _over_bare("light, K = 5, 128×64, batch 64", whole, few)
    yield _depthwise(rounds)
    yield _dead_channels(Training(light(), 32), few)
    half = Training(light(), 32)
    yield compare("light: 2 accumulated batches of 32 over one of 64", half.step_of_two, whole.step, rounds=few)
    average = WeightAverage(whole.model, 0.999)

    def follow() -> None:
        average.update(whole.model)

    yield compare("light: average of the weights, share of a step", follow, whole.step, rounds=few)
    yield _checkpoint(whole, average)
    yield from _batch_sizes()
    yield _two_processes()


def _over_bare(name: str, training: Training, rounds: int) -> Iterator[Figure]:
    """Without a limit, which is on forward and backward (group "head"): Adam costs the same for any batch."""
    yield compare(f"step with Adam over the bare backbone, {name}", training.step, training.bare, rounds=rounds)
    yield compare(f"bfloat16 over float32, {name}", training.step_in_bfloat16, training.step, rounds=rounds)


def _depthwise(rounds: int) -> Figure:
    """Forward and backward of one of EfficientNet-Lite0's widest kernels."""
    plain = nn.Conv2d(1152, 1152, 5, padding=2, groups=1152, bias=False)
    ours = DepthwiseConv2d(plain)
    maps = torch.randn(32, 1152, 8, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    gradient = torch.randn_like(maps)

    def own() -> None:
        ours(maps).backward(gradient)

    def pytorch() -> None:
        plain(maps).backward(gradient)

    name = "5×5 depthwise convolution of 1152 channels, 32 maps of 8×4, over PyTorch's own"
    return compare(name, own, pytorch, rounds=rounds)


def _dead_channels(training: Training, rounds: int) -> Figure:
    """What training gains by taking the tiniest numbers for zero, when one channel of 16 has decayed into them."""
    torch.set_flush_denormal(False)  # else they would be zero from the start
    for module in training.model.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight[::16] = 1e-39
                module.bias[::16] = 0

    def flushed() -> None:
        torch.set_flush_denormal(True)
        training.bare()

    def computed() -> None:
        torch.set_flush_denormal(False)
        training.bare()

    figure = compare(
        "light: one channel of 16 dead, tiniest numbers as zero over computed", flushed, computed, rounds=rounds
    )
    torch.set_flush_denormal(True)
    return figure


def _checkpoint(training: Training, average: WeightAverage) -> Figure:
    """Seconds to write model, average and optimiser; by the clock, as it waits for the disk."""

    class Unscaled:
        def state_dict(self) -> dict[str, object]:
            return {}

        def load_state_dict(self, state_dict: dict[str, object]) -> None:
            pass

    none = ExtraLosses({}, LossSetup(IDENTITIES, training.model.dim, training.model.config.part_names))
    learner = Learner(training.model, training.optimizer, average, Unscaled(), none)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        checkpoint = Checkpoint(learner.result, PreprocessConfig())
        save_run(Path(folder), checkpoint, light(), learner, Progress(1, {}, (1,)))
        seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return Figure("light: a checkpoint with an average of the weights", seconds, "s", detail=f"{size / 1e6:.0f} MB")


def _batch_sizes() -> Iterator[Figure]:
    for images in (8, 16, 32, 64):
        training = Training(light(), images)
        training.step()
        cost = min(cpu_seconds(training.step) for _ in range(3))
        yield Figure(f"light: an image in a batch of {images}", 1000 * cost / images, "ms")


def _two_processes() -> Figure:
    """Processor time of both together for a shared batch of 64, over that of one process for the same batch."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1])}
    costs = []
    for count in (1, 2):
        several = {"TORCHELASTIC_RUN_ID": "bench", "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.train"],
                env=os.environ | address | several | {"RANK": str(i), "LOCAL_RANK": str(i), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
            )
            for i in range(count)
        ]
        lines = [process.communicate()[0].split() for process in started]
        costs.append((sum(float(cpu) for cpu, _ in lines), max(float(wall) for _, wall in lines)))
    (one, alone), (two, together) = costs
    detail = f"{two:.2f} s against {one:.2f} s a step; by the clock {together:.2f} s against {alone:.2f} s"
    return Figure("light: 2 processes of one thread, shared batch of 64", two / one, "×", detail=detail)


def _one_of_several() -> None:
    """A process of :func:`_two_processes`: prints CPU and clock seconds of a step."""
    torch.set_num_threads(1)
    keep_freed_memory()
    training = Training(light(), 64 // processes.count())
    if processes.launched():
        processes.join(torch.device("cpu"))
        shared = SupervisedModel(training.model, light().objective, gather=gather)
        training.supervised = DistributedDataParallel(shared, find_unused_parameters=True)
    training.step()
    start = time.perf_counter()
    cpu = cpu_seconds(lambda: _repeat(training.step))
    print(cpu / STEPS_TOGETHER, (time.perf_counter() - start) / STEPS_TOGETHER)
    processes.leave()


def _repeat(step: Callable[[], None]) -> None:
    for _ in range(STEPS_TOGETHER):
        step()


if __name__ == "__main__":
    _one_of_several()
