"""What two processes do together; ``test_distributed.py`` starts them and looks at what they wrote."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from partreid import processes
from partreid.datasets.augment import Augmented
from partreid.datasets.readers import read_dataset
from partreid.evaluation.dataset import embed_split
from partreid.inference.extractor import PartExtractor
from partreid.losses.extra import ExtraLosses, LossSetup
from partreid.runtime import RuntimeConfig
from partreid.training.callbacks import StepRecord
from partreid.training.distributed import gather, synchronize_batchnorm
from partreid.training.loop import Trainer
from partreid.training.supervised import SupervisedModel, build_model
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDImage
from tests.conftest import tiny_config
from tests.training import own_losses  # noqa: F401 - registers them

CPU = RuntimeConfig(device="cpu", precision="float32")
EVERY_STEP = CPU.model_copy(update={"save_minutes": 1e-9})


def step_config() -> TrainConfig:
    """With every kind of loss that looks at the whole batch."""
    return tiny_config(
        "objective.gilt.triplet_visibility=labels",
        "objective.gilt.triplet.global_=1",
        "objective.extra.test-center=0.5",
        "objective.extra.test-spread=0.1",
    )


def run_config(batch: str) -> TrainConfig:
    """Of a whole training."""
    return tiny_config(
        f"distributed.batch={batch}",
        "batch.identities_per_batch=2",
        "optimizer.accumulation=2",
        "optimizer.ema_decay=0.9",
        "augment.paste_probability=0.5",
    )


def whole_batch() -> tuple[Augmented, torch.Tensor]:
    """Eight images of four persons in float64; one of the first half has no label, so the halves differ."""
    random = torch.Generator().manual_seed(1)
    images = torch.randn(8, 3, 64, 32, generator=random, dtype=torch.float64)
    labels = torch.randint(0, 6, (8, 4, 2), generator=random)
    labels[1] = -100
    return Augmented(images, None, labels), torch.arange(8) // 2


def one_step(out: Path) -> None:
    """The gradients of a batch that two processes share, and of the same batch in one process."""
    config = step_config()
    model = build_model(config, 4).double().train()
    alone = copy.deepcopy(model)
    weights, setup = config.objective.extra, LossSetup(4, model.dim, model.config.part_names, gather)
    extra = ExtraLosses(weights, setup).double()
    extra_alone = ExtraLosses(weights, replace(setup, gather=lambda rows: rows)).double()
    extra_alone.load_state_dict(extra.state_dict())
    batch, pids = whole_batch()
    half = slice(4 * processes.rank(), 4 * processes.rank() + 4)
    synchronized = synchronize_batchnorm(model, torch.device("cpu"))
    together = DistributedDataParallel(
        SupervisedModel(synchronized, config.objective, extra=extra, gather=gather), find_unused_parameters=True
    )
    losses = together(Augmented(batch.images[half], None, batch.labels[half]), pids[half])
    losses["loss"].backward()
    values = {name: value.detach().double() for name, value in losses.items()}
    for value in values.values():
        distributed.all_reduce(value)
    expected = SupervisedModel(alone, config.objective, extra=extra_alone)(batch, pids)
    expected["loss"].backward()
    if processes.is_first():
        torch.save(
            {
                "losses": {name: value / 2 for name, value in values.items()},
                "expected losses": {name: value.detach() for name, value in expected.items()},
                "gradients": _gradients(model) | _gradients(extra),
                "expected gradients": _gradients(alone) | _gradients(extra_alone),
                "buffers": dict(model.named_buffers()),
                "expected buffers": dict(alone.named_buffers()),
            },
            out / "step.pt",
        )


def _gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


class StoppedError(Exception):
    """In place of a kill."""


class StoppingTrainer(Trainer):
    """Stops in every process after the same step."""

    after = 0

    def _report(self, records: Sequence[StepRecord]) -> None:
        super()._report(records)
        self.after -= 1
        if self.after == 0:
            raise StoppedError


def trainings(images: Sequence[ReIDImage], out: Path) -> None:
    """Unbroken and broken ones, with batches shared and not."""
    for batch in ("across_devices", "per_device"):
        Trainer(run_config(batch), images, out / batch / "whole", runtime=CPU).fit()
        broken = StoppingTrainer(run_config(batch), images, out / batch / "broken", runtime=EVERY_STEP)
        broken.after = 1
        try:
            broken.fit()
        except StoppedError:
            distributed.barrier()
        resumed = Trainer(run_config(batch), images, out / batch / "broken", runtime=CPU)
        resumed.resume()
        assert resumed.progress.step == 1
        resumed.fit()
        weights = torch.cat([p.detach().flatten() for p in resumed.learner.model.parameters()])
        torch.save(weights, out / batch / f"weights{processes.rank()}.pt")
    one = tiny_config("distributed.sync_batchnorm=true", "augment.padding=0", "augment.erase_probability=0",
                      "batch.identities_per_batch=4", "optimizer.epochs=1")  # fmt: skip
    Trainer(one, images, out / "synced", runtime=CPU).fit()


def main() -> None:
    """``python two_processes.py BLOCKS OUT``."""
    torch.set_num_threads(1)
    blocks, out = map(Path, sys.argv[1:])
    processes.join(torch.device("cpu"))
    one_step(out)
    dataset = read_dataset(blocks)
    trainings(dataset.train, out)
    extractor = PartExtractor.from_pretrained(out / "synced", runtime=CPU)
    split = embed_split(extractor, dataset.gallery, shared=True)
    if processes.is_first():
        torch.save((split.embeddings.vectors, split.holistic), out / "split.pt")
    assert len(split.images) == len(dataset.gallery) or not processes.is_first()
    processes.leave()
    # A thread of gloo that is still there when the interpreter ends aborts the process now and then.
    threads = Path("/proc/self/task")
    names = {file.read_text().strip() for file in threads.glob("*/comm")} if threads.exists() else set()
    assert not {name for name in names if "gloo" in name or "tcpstore" in name}, names


if __name__ == "__main__":
    main()
