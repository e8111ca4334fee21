"""An exported file embeds as the network does, and a file that is none is refused."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.datasets.readers import read_dataset
from partreid.datasets.synthetic.shipped import shipped_split
from partreid.errors import CheckpointError, ConfigError, MissingDependencyError, PartReIDError
from partreid.export.write import export_checkpoint
from partreid.functional.distance import part_distances
from partreid.inference.extractor import PartExtractor
from partreid.models.checkpoint import Checkpoint, save_checkpoint
from partreid.runners._export_info import VERSION, ExportInfo
from partreid.runners.exported import ExportedRunner, _gpu_providers
from partreid.runtime import RuntimeConfig
from tests.export.tiny import PREPROCESS, random_pixels

CPU = RuntimeConfig(device="cpu")
GUIDE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> PartExtractor:
    return PartExtractor.from_pretrained(checkpoint, runtime=CPU)


@pytest.mark.parametrize("count", [1, 2, 37])
def test_any_batch_of_images_of_any_size(exported: Path, network: PartExtractor, count: int) -> None:
    images: list[Any] = [pixels[: 64 - i] for i, pixels in enumerate(random_pixels(count))]
    extractor = PartExtractor.from_pretrained(exported, runtime=CPU)
    embeddings, expected = extractor.embed(images), network.embed(images)
    torch.testing.assert_close(embeddings.vectors, expected.vectors, rtol=1e-4, atol=1e-5)
    assert torch.equal(embeddings.visibility, expected.visibility)
    assert embeddings.slots == expected.slots
    output = next(extractor.outputs(images))
    torch.testing.assert_close(output.attention, next(network.outputs(images)).attention, rtol=1e-4, atol=1e-6)
    assert torch.equal(output.visibility, expected.visibility[:, 1:])


def test_what_a_file_says_of_itself(exported: Path, network: PartExtractor) -> None:
    extractor = PartExtractor.from_pretrained(exported)
    assert extractor.fingerprint == network.fingerprint
    assert extractor.preprocess == PREPROCESS
    assert extractor.slots == network.slots
    assert not extractor.mirror
    info = ExportedRunner(exported).info
    assert (info.network, info.license, info.version) == ("BPBReID", "CC0-1.0", VERSION)
    assert info.part_names == ("head", "arms", "torso", "legs", "feet")
    with pytest.raises(ConfigError, match="needs the network itself"):
        _ = extractor.model


def test_rankings_of_the_shipped_test_split_are_the_same(exported: Path, network: PartExtractor) -> None:
    dataset = read_dataset(shipped_split(), labels=None)
    queries, gallery = list(dataset.query[::2]), list(dataset.gallery[::2])
    extractor = PartExtractor.from_pretrained(exported, runtime=CPU)
    people = network.embed(queries)
    expected, got = (part_distances(*e) for e in (
        (people, network.embed(gallery)), (extractor.embed(queries), extractor.embed(gallery)),
    ))  # fmt: skip
    order = expected.argsort(dim=1, stable=True)
    # In the network's order the file's distances rise too; two that only rounding tells apart may change places. A
    # distance of vectors is rounded as they are, and these are far longer than the distances between them.
    rises = got.gather(1, order).diff(dim=1)
    assert float(rises.min()) > -1e-6 * float(people.vectors.norm(dim=2).mean())
    assert float((got.argsort(dim=1, stable=True) == order).float().mean()) > 0.999
    assert float(expected.std()) > 0.1 * float(expected.mean())  # embeddings that are all alike would pass the above


def test_exported_files_load_wherever_a_model_is_named(
    exported: Path, network: PartExtractor, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(checkpoint, tmp_path / "run")  # its backbone is the tests' own: it cannot be read back
    assert PartExtractor.from_pretrained(str(exported)).fingerprint == network.fingerprint
    with pytest.raises(ConfigError, match="without mirror images. Export the run with --mirror"):
        PartExtractor.from_pretrained(exported, mirror=True)
    with pytest.raises(ConfigError, match="takes no overrides .*visibility=argmax"):
        PartExtractor.from_pretrained(exported, overrides=["visibility=argmax"])
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        PartExtractor.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_no_file(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"There is no file .*model{suffix}.*partreid export"):
        ExportedRunner(tmp_path / f"model{suffix}")


def test_damaged_files(exported: Path, tmp_path: Path) -> None:
    for other in exported.parent.glob("model.*"):
        shutil.copy(other, tmp_path)
    file = tmp_path / exported.name
    whole = file.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"cannot open .*{file.name}|was not written by partreid"):
            ExportedRunner(file)
    file.write_bytes(whole)
    weights = file.with_suffix(".bin")
    if exported.suffix == ".xml":
        weights.write_bytes(weights.read_bytes()[:-64])
        with pytest.raises(CheckpointError, match=r"xml and model\.bin cannot be trusted.*not what was exported"):
            ExportedRunner(file)
        weights.unlink()
        with pytest.raises(CheckpointError, match=r"needs model\.bin beside it"):
            ExportedRunner(file)


@pytest.fixture(scope="module")
def other(exported: Path, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with other weights, exported to the same format."""
    model = copy.deepcopy(checkpoint.model)
    with torch.no_grad():
        model.get_parameter("part_classifier.classifier.weight").mul_(1.5)
    path = tmp_path_factory.mktemp("other") / exported.name
    export_checkpoint(Checkpoint(model, PREPROCESS), path, random_pixels(2))
    return path


def test_the_weights_of_another_model_are_noticed(exported: Path, other: Path, tmp_path: Path) -> None:
    assert ExportedRunner(exported).fingerprint != ExportedRunner(other).fingerprint
    if exported.suffix != ".xml":
        return  # one file: there is nothing to exchange
    for graph, weights in ((exported, other), (other, exported)):
        shutil.copy(graph, tmp_path / "model.xml")
        shutil.copy(weights.with_suffix(".bin"), tmp_path / "model.bin")
        with pytest.raises(CheckpointError, match=r"model\.bin cannot be trusted.*another file's weights"):
            PartExtractor.from_pretrained(tmp_path / "model.xml")
    for file in exported.parent.glob("model.*"):
        shutil.copy(file, tmp_path / f"renamed{file.suffix}")
    assert ExportedRunner(tmp_path / "renamed.xml").fingerprint == ExportedRunner(exported).fingerprint


def test_any_flipped_bit_is_noticed(exported: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for file in exported.parent.glob("model.*"):
        for part in exported.parent.glob("model.*"):
            shutil.copy(part, tmp_path)
        whole = file.read_bytes()
        for place in random.integers(0, len(whole), 60):
            bent = bytearray(whole)
            bent[place] ^= 1 << int(random.integers(8))
            (tmp_path / file.name).write_bytes(bent)
            with pytest.raises(CheckpointError, match=r"cannot be trusted|was not written by partreid"):
                ExportedRunner(tmp_path / exported.name)


def test_a_file_of_an_earlier_version_is_to_be_exported_anew(exported: Path, tmp_path: Path) -> None:
    for file in exported.parent.glob("model.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes().replace(b"partreid-sha256:", b"partreid-sha255:"))
    with pytest.raises(CheckpointError, match="by an earlier version, which kept no checksum.*Export the run again"):
        ExportedRunner(tmp_path / exported.name)


def test_engines_of_tensorrt_are_kept_apart_by_weights(exported: Path, other: Path) -> None:
    def folder(info: ExportInfo) -> str:
        return str(_gpu_providers("tensorrt", 0, RuntimeConfig(), info)[0][1]["trt_engine_cache_path"])

    assert folder(ExportedRunner(exported).info) != folder(ExportedRunner(other).info)


def test_what_a_file_says_must_be_whole_and_of_this_version(exported: Path) -> None:
    text = ExportedRunner(exported).info.to_json()
    assert ExportInfo.from_json(text, source="f").to_json() == text
    for wrong in (
        "",
        "[]",
        "{}",
        "3",
        "[" * 10**6,
        '{"version": NaN}',
        '{"version": 2}',
        text.replace('"slots"', '"spots"'),
    ):
        with pytest.raises(CheckpointError, match="model has no metadata in partreid's form"):
            ExportInfo.from_json(wrong, source="model")
    with pytest.raises(CheckpointError, match="export version 1, expected 2. Export the run again"):
        ExportInfo.from_json(text.replace('"version": 2', '"version": 1'), source="model")


@pytest.mark.parametrize(
    "runtime", [{"device": "mps"}, {"device": "tensorrt:1"}, {"device": "cuda"}, {"precision": "bfloat16"}], ids=str
)
def test_where_a_file_cannot_run(exported: Path, runtime: dict[str, str]) -> None:
    import onnxruntime

    if exported.suffix == ".xml" and "precision" in runtime:
        assert (
            len(PartExtractor.from_pretrained(exported, runtime=RuntimeConfig(**runtime)).embed(random_pixels(2))) == 2
        )
    elif set(onnxruntime.get_available_providers()) & {"CUDAExecutionProvider", "TensorrtExecutionProvider"}:
        pytest.skip("this onnxruntime has a GPU's providers")
    else:
        with pytest.raises(ConfigError, match="runs on|has no|not in bfloat16"):
            ExportedRunner(exported, RuntimeConfig(**runtime))


def test_a_missing_library_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = {".onnx": "onnxruntime", ".xml": "openvino"}[exported.suffix]
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf'needs {library}.*pip install "partreid\[export\]"') as error:
        ExportedRunner(exported)
    assert isinstance(error.value, PartReIDError)


def test_the_guide_runs_it_without_pytorch(exported: Path, network: PartExtractor, tmp_path: Path) -> None:
    if exported.suffix != ".onnx":
        pytest.skip("the guide's example is for onnxruntime")
    shutil.copy(exported, tmp_path)
    for index, name in enumerate(("a.jpg", "b.jpg")):
        Image.fromarray(random_pixels(2)[index]).resize((41, 90)).save(tmp_path / name, quality=95)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "import onnxruntime" in block]
    blocked = "import sys\nfor name in ('torch', 'partreid', 'openvino'): sys.modules[name] = None\n"
    end = "\nnp.save('vectors.npy', vectors); np.save('visibility.npy', visibility)"
    subprocess.run([sys.executable, "-c", blocked + code + end], cwd=tmp_path, check=True)
    expected = network.embed([tmp_path / "a.jpg", tmp_path / "b.jpg"])
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), expected.vectors, rtol=1e-4, atol=1e-5)
    assert np.array_equal(np.load(tmp_path / "visibility.npy"), expected.visibility)
