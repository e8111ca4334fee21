"""Two processes connected by gloo do together what one does alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from partreid.datasets.readers import read_dataset
from partreid.errors import CheckpointError, ConfigError
from partreid.evaluation.dataset import embed_split
from partreid.inference.extractor import PartExtractor
from partreid.models.checkpoint import read_metrics
from partreid.processes import count, gather_to_first, is_first
from partreid.runtime import RuntimeConfig, resolve_device
from partreid.training.loop import Trainer
from tests.conftest import tiny_config
from tests.training import two_processes
from tests.training.test_resume import MODEL, STATE, StopAt

CPU = RuntimeConfig(device="cpu", precision="float32")


def start(arguments: list[str], rank: int, port: int) -> subprocess.Popen[bytes]:
    """One of two processes, with the environment that torchrun gives it."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_RUN_ID": "test",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    return subprocess.Popen([sys.executable, *arguments], env=environment)


@pytest.fixture(scope="module")
def together(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :mod:`two_processes` wrote."""
    out = tmp_path_factory.mktemp("together")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    both = [start([two_processes.__file__, str(blocks), str(out)], rank, port) for rank in (0, 1)]
    try:
        assert [process.wait(timeout=600) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    return out


def test_a_shared_batch_is_the_batch_of_one_process(together: Path) -> None:
    """Losses, gradients and BN statistics of the whole batch, up to rounding in float64."""
    found = torch.load(together / "step.pt", weights_only=True)
    for what in ("losses", "gradients", "buffers"):
        ours, theirs = found[what], found[f"expected {what}"]
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            torch.testing.assert_close(value.double(), theirs[name].double(), rtol=1e-6, atol=1e-9)
    named = {"triplet/parts", "triplet/global_", "part_attention", "extra/test-center", "extra/test-spread"}
    assert named <= found["losses"].keys()
    assert "loss_test-center.centers" in found["gradients"]


def test_a_shared_training_begins_as_that_of_one_process(together: Path, blocks: Path, tmp_path: Path) -> None:
    config = tiny_config("augment.padding=0", "augment.erase_probability=0", "batch.identities_per_batch=4",
                         "optimizer.epochs=1")  # fmt: skip
    Trainer(config, read_dataset(blocks).train, tmp_path, runtime=CPU).fit()
    alone, shared = (read_metrics(path)["train"] for path in (tmp_path, together / "synced"))
    assert alone.keys() == shared.keys()
    for name in ("loss", "identity/concat", "triplet/parts", "part_attention"):
        assert shared[name] == pytest.approx(alone[name], rel=2e-2)  # Adam magnifies rounding


@pytest.mark.parametrize("batch", ["across_devices", "per_device"])
def test_two_processes_resume_bit_for_bit_and_stay_equal(batch: str, together: Path) -> None:
    folder = together / batch
    assert (folder / "whole" / MODEL).read_bytes() == (folder / "broken" / MODEL).read_bytes()
    whole, broken = (torch.load(folder / name / STATE, weights_only=True) for name in ("whole", "broken"))
    assert all(torch.equal(value, broken["model"][name]) for name, value in whole["model"].items())
    assert torch.equal(torch.load(folder / "weights0.pt"), torch.load(folder / "weights1.pt"))


def test_only_batches_of_their_own_need_as_many_processes_again(together: Path, blocks: Path, tmp_path: Path) -> None:
    images = read_dataset(blocks).train
    for batch in ("across_devices", "per_device"):
        config = two_processes.run_config(batch)
        runtime = CPU.model_copy(update={"save_minutes": 1e-9})
        with pytest.raises(KeyboardInterrupt):
            Trainer(config, images, tmp_path / batch, runtime=runtime, callbacks=[StopAt(1)]).fit()
        file = tmp_path / batch / STATE
        torch.save(torch.load(file, weights_only=True) | {"processes": 2}, file)
        trainer = Trainer(config, images, tmp_path / batch, runtime=CPU)
        if batch == "per_device":
            with pytest.raises(CheckpointError, match="stopped within an epoch of 2 processes, .* there are 1 now"):
                trainer.resume()
        else:
            trainer.resume()


def test_embeddings_that_were_shared_out_are_those_of_one_process(together: Path, blocks: Path) -> None:
    vectors, holistic = torch.load(together / "split.pt", weights_only=True)
    extractor = PartExtractor.from_pretrained(together / "synced", runtime=CPU)
    alone = embed_split(extractor, read_dataset(blocks).gallery)
    torch.testing.assert_close(vectors, alone.embeddings.vectors, rtol=1e-5, atol=1e-6)
    assert holistic.keys() == alone.holistic.keys()
    for name, value in holistic.items():
        torch.testing.assert_close(value, alone.holistic[name], rtol=1e-5, atol=1e-6)


def test_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (count(), is_first(), gather_to_first("x")) == (1, True, ["x"])
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert (count(), is_first()) == (2, False)
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="Under torchrun each process has its own device: .* got cuda:1"):
        resolve_device("cuda:1")


@pytest.mark.slow
def test_torchrun_trains_evaluates_and_never_hangs(blocks: Path, tmp_path: Path) -> None:
    """The commands themselves; then an image that cannot be read, which only one of both processes finds."""
    (tmp_path / "config.toml").write_text(tiny_config("batch.identities_per_batch=2").to_toml())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "partreid"]
    train = ["train", "--config", str(tmp_path / "config.toml"), "--device", "cpu", "--precision", "float32"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        text = list(map(str, arguments))
        return subprocess.run([*command, *text], env=environment, capture_output=True, text=True, timeout=300)

    done = run(*train, blocks, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("24 training images of 6 identities") == 1
    assert done.stdout.count("all slots compared (Eq. 9)") == 1
    assert len(list((tmp_path / "run" / "logs").glob("events.*"))) == 1
    assert run("evaluate", tmp_path / "run", blocks, "--device", "cpu").returncode == 0

    broken = tmp_path / "broken"
    broken.mkdir()
    for entry in blocks.iterdir():
        (broken / entry.name).symlink_to(entry)
    (broken / "bounding_box_train").unlink()
    (broken / "bounding_box_train").mkdir()
    for image in (blocks / "bounding_box_train").iterdir():
        (broken / "bounding_box_train" / image.name).write_bytes(image.read_bytes())
    next(iter(sorted((broken / "bounding_box_train").glob("*.jpg")))).write_bytes(b"no image")
    failed = run(*train, broken, "-o", tmp_path / "failed")
    assert failed.returncode != 0
    assert "cannot be read" in failed.stderr or "is no image" in failed.stderr or "error" in failed.stderr
