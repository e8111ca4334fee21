"""``partreid embed`` and ``partreid compare``."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from partreid.inference.extractor import PartExtractor
from partreid.inference.storage import load_embeddings
from partreid.retrieval.calibration import CALIBRATION_FILE, MatchCalibration
from partreid.retrieval.compare import compare
from partreid.runtime import RuntimeConfig
from tests.cli.conftest import Run

SHARDS = ("--shard-size", 5, "--batch-size", 2, "--device", "cpu")


@pytest.fixture
def images(blocks: Path, tmp_path: Path) -> Path:
    """16 images in two folders, which a test may change."""
    for name in ("query", "bounding_box_test"):
        shutil.copytree(blocks / name, tmp_path / "images" / name)
    return tmp_path / "images"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_one_file_of_each_kind(run: Run, tiny_run: Path, images: Path, tmp_path: Path) -> None:
    for suffix in ("safetensors", "parquet"):
        status, text = run("embed", tiny_run, images, "-o", tmp_path / f"e.{suffix}", "--device", "cpu")
        assert status == 0, text
        assert "16 images" in text
    (one, names), (other, other_names) = (
        load_embeddings(tmp_path / f"e.{kind}") for kind in ("safetensors", "parquet")
    )
    extractor = PartExtractor.from_pretrained(tiny_run, runtime=RuntimeConfig(device="cpu"))
    assert torch.equal(one.vectors, extractor.embed(images).vectors)
    assert torch.equal(one.vectors, other.vectors)
    assert torch.equal(one.visibility, other.visibility)
    assert one.model == other.model == extractor.fingerprint
    assert names == other_names == tuple(map(str, sorted(images.rglob("*.jpg"))))
    status, text = run("embed", tiny_run, images, "-o", tmp_path / "f.parquet", "--part", "1/2")
    assert status == 2
    assert "so -o must be a folder, not a file" in text


def test_what_is_left_out_of_a_folder_is_told(run: Run, tiny_run: Path, images: Path, tmp_path: Path) -> None:
    (images / "query" / "7.heic").write_bytes(b"\0\0\0\x18ftypheic")
    for number, out in enumerate(("e.safetensors", "shards")):
        (images / "query" / f"{number}.psd").touch()  # the same text is told once in a process
        status, text = run("embed", tiny_run, images, "-o", tmp_path / out, "--device", "cpu")
        assert status == 0
        assert re.search(rf"warning: left out: {number + 2} files .*query/0\.psd.*query/7\.heic", text)


def test_parts_are_made_by_several_commands(run: Run, tiny_run: Path, images: Path, tmp_path: Path) -> None:
    command = ("embed", tiny_run, images, *SHARDS)
    assert run(*command, "-o", tmp_path / "whole")[0] == 0
    status, text = run(*command, "-o", tmp_path / "out", "--part", "2/3")
    assert status == 0, text
    assert "part 2/3 is done. 3 of 4 shards, of other parts, are not there yet" in text
    assert run("gallery", "add", tmp_path / "g", tmp_path / "out")[0] == 2  # not finished
    assert run(*command, "-o", tmp_path / "out", "--part", "3/3")[0] == 0
    status, text = run(*command, "-o", tmp_path / "out", "--part", "1/3")
    assert status == 0, text
    assert "16 images in 4 shards" in text
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    for wrong in ("0/3", "4/3", "2", "a/b", "1/0", "-1/2"):
        status, text = run(*command, "-o", tmp_path / "out", "--part", wrong)
        assert status == 2
        assert "Expected --part I/N with 1 <= I <= N, such as 2/8, got" in text


def test_shards_go_on_where_they_stopped(run: Run, tiny_run: Path, images: Path, tmp_path: Path) -> None:
    victim = sorted(images.rglob("*.jpg"))[12]
    whole = victim.read_bytes()
    assert run("embed", tiny_run, images, "-o", tmp_path / "whole", *SHARDS)[0] == 0
    victim.write_bytes(whole[:200])
    status, text = run("embed", tiny_run, images, "-o", tmp_path / "out", *SHARDS)
    assert status == 2
    assert f"{victim.name} is a damaged JPEG" in text
    assert len(list((tmp_path / "out").glob("shard-*"))) == 2
    victim.write_bytes(whole)
    status, text = run("embed", tiny_run, images, "-o", tmp_path / "out", *SHARDS)
    assert status == 0, text
    assert "2 of 4 shards are there already" in text
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    status, text = run("embed", tiny_run, images / "query", "-o", tmp_path / "out", *SHARDS)
    assert status == 2
    assert "images was 16, now 4" in text


def test_weights_that_are_no_numbers_embed_nothing(run: Run, tiny_run: Path, images: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    weights = tmp_path / "run" / "checkpoint" / "model.safetensors"
    state = load_file(weights)
    for change, message in ((lambda v: v * float("nan"), "NaN"), (lambda v: v.to(torch.int8), "int8")):
        save_file({key: change(value) if value.ndim == 4 else value for key, value in state.items()}, weights)
        for out in ("e.safetensors", "e.parquet", "shards"):
            status, text = run("embed", tmp_path / "run", images, "-o", tmp_path / out, "--device", "cpu")
            assert status == 2
            assert "model.safetensors holds weights that cannot be used: backbone." in text
            assert message in text
            assert not (tmp_path / out).exists()


def test_a_changed_shard_and_a_changed_image_are_made_again(
    run: Run, tiny_run: Path, images: Path, tmp_path: Path
) -> None:
    command = ("embed", tiny_run, images, "-o", tmp_path / "out", *SHARDS)
    assert run(*command)[0] == 0
    whole = content(tmp_path / "out")
    bent = bytearray(whole["shard-000002.safetensors"])
    bent[-3] ^= 1
    (tmp_path / "out" / "shard-000002.safetensors").write_bytes(bent)
    status, text = run("gallery", "add", tmp_path / "g", tmp_path / "out")
    assert status == 2
    assert "shard-000002.safetensors" in text
    assert "checksum differs" in text
    status, text = run(*command)
    assert status == 0, text
    assert "3 of 4 shards are there already" in text
    assert "Made again: 1 of 4 shards, the first because" in text
    assert content(tmp_path / "out") == whole
    files = sorted(images.rglob("*.jpg"))
    shutil.copy(files[0], files[15])
    status, text = run(*command)
    assert status == 0, text
    assert "shard-000003.safetensors is of images that have changed since" in text
    embeddings, _ = load_embeddings(tmp_path / "out")
    assert torch.allclose(embeddings.vectors[15], embeddings.vectors[0], atol=1e-4)


def test_damaged_images_are_told_at_the_end(run: Run, tiny_run: Path, images: Path, tmp_path: Path) -> None:
    files = sorted(images.rglob("*.jpg"))
    for file in files[:7]:
        file.write_bytes(b"")
    for out, table in (("e.safetensors", "e.skipped.csv"), ("shards", "shards/skipped.csv")):
        status, text = run("embed", tiny_run, images, "-o", tmp_path / out, "--skip-damaged", *SHARDS)
        assert status == 0, text
        assert "7 images were left out" in text
        assert f"{files[0]} is empty" in text
        assert "and 2 more" in text
        assert len((tmp_path / table).read_text().splitlines()) == 8
        assert load_embeddings(tmp_path / out)[1] == tuple(map(str, files[7:]))
    for file in files:
        file.write_bytes(b"")
    status, text = run("embed", tiny_run, images, "-o", tmp_path / "none.safetensors", "--skip-damaged")
    assert status == 2
    assert "None of the 16 images could be read" in text
    assert not list(tmp_path.glob("none*"))


def test_compare_says_what_was_compared(run: Run, tiny_run: Path, blocks: Path, tmp_path: Path) -> None:
    a, b = sorted((blocks / "query").iterdir())[:2]
    extractor = PartExtractor.from_pretrained(tiny_run, runtime=RuntimeConfig(device="cpu"))
    embeddings = extractor.embed([a, b])
    found = compare(embeddings[0], embeddings[1])
    status, text = run("compare", tiny_run, a, b, "--device", "cpu")
    assert status == 0, text
    assert f"Distance {float(found.distances):.4f}" in text
    assert f"over {int(found.compared)} of {len(found.slots)} parts" in text
    assert all(f"{distance:.4f}" in text for distance in found.parts().values())
    assert ("not compared" in text) == (int(found.compared) < len(found.slots))
    assert "Probability" not in text
    shutil.copytree(tiny_run, tmp_path / "run")
    slots = len(extractor.slots)
    calibration = MatchCalibration(
        prior=0.25, offsets=(3.0,) * slots, slopes=(0.5,) * slots, model=extractor.fingerprint
    )
    calibration.save(tmp_path / "run" / "checkpoint" / CALIBRATION_FILE)
    status, text = run("compare", tmp_path / "run", a, b, "--device", "cpu", "--calibration", "auto")
    probability = float(calibration.probabilities(embeddings[0], embeddings[1]))
    assert status == 0, text
    assert f"Probability of one person: {probability:.3f} (prior: 0.250)" in text


@pytest.mark.slow
def test_the_command_killed_at_random_moments(tiny_run: Path, images: Path, tmp_path: Path) -> None:
    for i in range(60):  # 256 images
        shutil.copytree(images / "query", images / f"more{i}")
    command = [sys.executable, "-m", "partreid", "embed", str(tiny_run), str(images), *map(str, SHARDS)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "-o", str(tmp_path / "whole")], check=True, env=environment)
    command += ["-o", str(tmp_path / "out")]
    target, moments = tmp_path / "out", random.Random(0)
    for shards in sorted(moments.choices(range(1, 45), k=2)):
        process = subprocess.Popen(command, env=environment)
        while len(list(target.glob("shard-*"))) < shards and process.poll() is None:
            time.sleep(moments.uniform(0, 0.02))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, env=environment)
    assert content(target) == content(tmp_path / "whole")
