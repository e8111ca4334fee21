"""Checkpoints made to do harm, or damaged so: a typed error at once, whatever sizes and depths a file claims."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from partreid.errors import CheckpointError, ConfigError, PartReIDError
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, load_checkpoint, read_metrics, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.models.official import StoredConfig, load_official
from partreid.parts import MOST_PARTS, get_part_schema, unnamed_schema
from partreid.preprocessing import PreprocessConfig

Harm = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint. Read only."""
    model = BPBReID(ModelConfig(backbone="resnet18", parts="two_v", embedding_dim=4), 3).eval()
    checkpoint = Checkpoint(model, PreprocessConfig(height=64, width=32), {"epoch": 1})
    return save_checkpoint(checkpoint, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def little_memory() -> Iterator[None]:
    """4 GiB more than there are now: whoever makes what a file claims fails, and not only slowly."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 4 * 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def entry(key: str, value: Any, section: str | None = None) -> Harm:
    """Another value in config.json."""

    def apply(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (config[section] if section else config)[key] = value
        (folder / "config.json").write_text(json.dumps(config))

    return apply


def raw(name: str, content: bytes) -> Harm:
    return lambda folder: (folder / name).write_bytes(content)


def header(size: int, content: bytes = b"{}") -> bytes:
    return size.to_bytes(8, "little") + content


HARMS: dict[str, tuple[Harm, str]] = {
    "10^9 identities": (entry("num_identities", 10**9), r"classifier.* is \(3, \d+\), expected \(1000000000, "),
    "10^12 identities": (entry("num_identities", 10**12), "num_identities: expected a number from 0 to"),
    "true identities": (entry("num_identities", True), "num_identities: expected a number .* got True"),
    "half an identity": (entry("num_identities", 3.5), "num_identities: expected a number .* got 3.5"),
    "wide": (entry("embedding_dim", 65_536, "model"), r"expected \(65536, "),
    "wider": (entry("embedding_dim", 10**9, "model"), "embedding_dim = 1000000000"),
    "widest": (entry("embedding_dim", 10**30, "model"), "embedding_dim = 10000"),
    "wide and many": (lambda f: [entry("embedding_dim", 65_536, "model")(f), entry("num_identities", 10**9)(f)],
                      r"is \(3, .*expected \(1000000000, 65536"),
    "many stripes": (lambda f: [entry("attention", "stripes", "model")(f), entry("stripes", 10**9, "model")(f)],
                     "stripes = 1000000000"),
    "many parts": (entry("parts", "unnamed_1000000000", "model"), "has 1 to 255 parts, got 1000000000"),
    "very many parts": (entry("parts", "unnamed_" + "9" * 5000, "model"), "Unknown part schema"),
    "high": (entry("height", 10**9, "preprocess"), "height = 1000000000"),
    "higher": (entry("height", 60_000, "preprocess"), "height = 60000"),
    "std 0": (entry("std", [0, 0, 0], "preprocess"), r"std\.0 = 0"),
    "std 10^300": (entry("std", [1e300, 1, 1], "preprocess"), r"std\.0 = 1e\+300"),
    "mean 10^300": (entry("mean", [1e300, 0, 0], "preprocess"), r"mean\.0 = 1e\+300"),
    "map stride 0": (entry("map_stride", 0, "model"), "map_stride = 0"),
    "400 digits": (raw("config.json", b'{"num_identities": 1' + b"0" * 400 + b"}"), r"a number of 401 digits"),
    "5000 digits": (raw("config.json", b'{"num_identities": 1' + b"0" * 5000 + b"}"), r"a number of 5001 digits"),
    "infinite": (raw("config.json", b'{"version": 1e999}'), "1e999 is too large"),
    "NaN": (raw("config.json", b'{"format": "partreid-checkpoint", "version": NaN}'), "NaN is no number"),
    "deep object": (raw("config.json", b'{"a":' * 10**6), "nested too deeply"),
    "deep list": (raw("metrics.json", b"[" * 10**6), "nested too deeply"),
    "large": (raw("config.json", b" " * (65 * 2**20)), "bytes are more than such a file has"),
    "no text": (raw("config.json", b"\xff\xfe\x00"), r"config\.json cannot be read"),
    "header 2^63": (raw("model.safetensors", header(2**63)), "a header of 9223372036854775808 bytes"),
    "header of blanks": (raw("model.safetensors", header(50_000_000, b"{" + b" " * 49_999_998 + b"}")), "a header of"),
    "header deep": (raw("model.safetensors", header(90_000, b"[" * 90_000)), "cannot be read as weights"),
    "header empty": (raw("model.safetensors", b""), "cannot be read as weights"),
}  # fmt: skip


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", HARMS)
def test_absurd_checkpoints(name: str, folder: Path) -> None:
    harm, message = HARMS[name]
    harm(folder)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_a_broken_metrics_file_is_named_before_the_network_is_built(folder: Path) -> None:
    raw("metrics.json", b"[1]")(folder)
    with pytest.raises(CheckpointError, match=r"metrics\.json: expected an object, got list"):
        read_metrics(folder)


def test_a_metric_that_is_no_number_makes_no_model_unusable(whole: Path, tmp_path: Path) -> None:
    known = {"mAP": float("nan"), "loss": float("inf")}
    metrics = load_checkpoint(save_checkpoint(replace(load_checkpoint(whole), metrics=known), tmp_path / "c")).metrics
    assert np.isnan(metrics["mAP"])
    assert metrics["loss"] == float("inf")


def test_parts_have_a_limit() -> None:
    assert len(unnamed_schema(MOST_PARTS)) == MOST_PARTS
    for number in (-1, 0, MOST_PARTS + 1, 10**400):
        with pytest.raises(ConfigError, match=f"1 to {MOST_PARTS} parts"):
            unnamed_schema(number)
    with pytest.raises(ConfigError, match=f"1 to {MOST_PARTS} parts"):
        get_part_schema("unnamed_99999")


@pytest.mark.usefixtures("little_memory")
def test_a_published_file_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    """Sizes are read off the tensors: one that repeats a single number would make the model as large as it likes."""
    state = {
        "pixel_classifier.classifier.weight": torch.zeros(6, 8, 1, 1),
        "parts_after_pooling_dim_reduce.layers.0.weight": torch.zeros(4, 8),
        "global_identity_classifier.classifier.weight": torch.zeros(1).expand(10**10, 4),
        "backbone_appearance_feature_extractor.layer4.2.conv3.weight": torch.zeros(1),
    }
    torch.save({"state_dict": state}, tmp_path / "w.pth.tar")
    with pytest.raises(CheckpointError, match=r"classifier\.weight is larger than the whole file: \(10000000000, 4\)"):
        load_official(tmp_path / "w.pth.tar")


def test_a_stored_configuration_of_any_depth() -> None:
    deep: dict[str, Any] = {"height": 384}
    for _ in range(10**5):
        deep = {"a": deep}
    round_: dict[str, Any] = {"width": 64}
    round_["again"] = round_
    assert StoredConfig(deep).entries == ()
    assert ("width", 64) in StoredConfig(round_).entries


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(25))
def test_random_bytes_anywhere_are_typed_errors_or_harmless(seed: int, folder: Path) -> None:
    random = np.random.default_rng(seed)
    file = folder / ("config.json", "metrics.json", "model.safetensors")[seed % 3]
    content = bytearray(file.read_bytes())
    for _ in range(int(random.integers(1, 4))):
        place = int(random.integers(min(len(content), 4000)))
        if seed % 2:
            content[place] = int(random.integers(256))
        else:
            content[place:place] = random.choice([b"{", b"[", b"9" * 50, b"NaN", b"\\ud800", b"-", b"1e400", b"null"])
    file.write_bytes(content)
    try:
        model = load_checkpoint(folder).model
    except PartReIDError:
        return
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_foreign_tensor_of_any_size_is_seen_by_the_header(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "surprise": torch.zeros(10, 10)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"foreign keys \(1\): surprise"):
        load_checkpoint(folder)
