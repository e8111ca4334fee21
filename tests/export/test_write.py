"""Writing an export: what stands in the file, in fewer bits too, and that a wrong one is never left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, ExportError, ShapeError
from partreid.export import write
from partreid.export.network import ExportedNetwork
from partreid.export.parity import TOLERANCE, check_agreement
from partreid.export.write import ExportOptions, export_checkpoint
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.runners import exported
from partreid.runners._export_info import ExportInfo
from partreid.runners.exported import ExportedRunner
from partreid.runners.runner import TorchRunner
from partreid.runtime import RuntimeConfig
from partreid.types import ModelOutput
from tests.export.tiny import PREPROCESS, random_pixels, tiny_checkpoint

onnx = pytest.importorskip("onnx")
CPU = RuntimeConfig(device="cpu", precision="float32")


def dimensions(value: Any) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_the_onnx_file_suits_tensorrt(exported: Path) -> None:
    if exported.suffix != ".onnx":
        pytest.skip("ONNX only")
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    (given,) = model.graph.input
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert dimensions(given) == ["batch", 64, 32, 3]
    assert {o.name: dimensions(o) for o in model.graph.output} == {
        "vectors": ["batch", 6, 7],
        "visibility": ["batch", 6],
        "attention": ["batch", 6, 8, 4],
    }
    readers = [node for node in model.graph.node if given.name in node.input]
    assert [node.op_type for node in readers] == ["Cast"]  # bytes must become numbers at once
    assert not [node for node in model.graph.node if node.domain not in ("", "ai.onnx")]
    shaped = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} <= shaped


STRIPES = {"attention": "stripes", "stripes": 3}


@pytest.mark.parametrize(
    ("fields", "suffix"),
    [
        ({"attention": "none"}, ".onnx"),
        ({"visibility": "argmax"}, ".xml"),
        pytest.param(STRIPES, ".onnx", marks=pytest.mark.slow),
        pytest.param(STRIPES, ".xml", marks=pytest.mark.slow),
        pytest.param({"visibility": "continuous"}, ".onnx", marks=pytest.mark.slow),
        pytest.param({"visibility": "argmax", "map_stride": 4}, ".xml", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_kind_of_network_with_its_mirror(fields: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(**fields)
    path = tmp_path / f"m{suffix}"
    agreement = export_checkpoint(checkpoint, path, random_pixels(3), options=ExportOptions(mirror=True))
    assert agreement.images == 3
    assert max(agreement.vectors, agreement.visibility, agreement.attention) < TOLERANCE
    runner = ExportedRunner(path)
    assert runner.mirror
    assert runner.fingerprint == TorchRunner(checkpoint.model, PREPROCESS, CPU, mirror=True).fingerprint


@pytest.mark.parametrize("exported", [".onnx", ".xml"], indirect=True)
def test_a_network_that_differs_is_refused_and_nothing_is_left(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / exported.name
    path.write_text("a former file")
    checkpoint = tiny_checkpoint(visibility="argmax")

    class Darker(ExportedNetwork):
        def __init__(self, *arguments: Any, mirror: bool) -> None:
            super().__init__(*arguments, mirror=mirror)
            self.mean = self.mean + 1

    monkeypatch.setattr(write, "ExportedNetwork", Darker)
    with pytest.raises(ExportError, match=r"other vectors than PyTorch: in a batch of .* at image \d+, slot '"):
        export_checkpoint(checkpoint, path, random_pixels(4))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(path.name, "a former file")]


def test_parity_sees_every_output_and_every_batch(checkpoint: Checkpoint) -> None:
    class Wrong(TorchRunner):
        """Another vector in every batch, visibility in a batch of three, attention in one of a single image."""

        def run(self, pixels: np.ndarray, part_maps: torch.Tensor | None) -> ModelOutput:
            output = super().run(pixels, part_maps)
            if what == "vectors":
                output.embeddings.vectors[0, 3] *= 1 + 0.5 * TOLERANCE
            if what == "visibility" and len(pixels) == 3:
                output.embeddings.visibility[1, 2] = 0.5
            if what == "attention" and len(pixels) == 1:
                output.attention[0, 4, 2, 1] = float("nan")
            return output

    reference, wrong = (kind(checkpoint.model, PREPROCESS, CPU) for kind in (TorchRunner, Wrong))
    with torch.inference_mode():
        what = "vectors"
        agreement = check_agreement(reference, wrong, random_pixels(3))
        assert agreement.vectors == pytest.approx(0.5 * TOLERANCE, rel=0.02)
        assert (agreement.visibility, agreement.attention, agreement.images) == (0, 0, 3)
        with pytest.raises(ExportError, match="vectors .* image 0, slot 'torso'"):
            check_agreement(reference, wrong, random_pixels(3), tolerance=TOLERANCE / 3)
        what = "visibility"
        with pytest.raises(ExportError, match=r"visibility .*batch of 3 .* image 1, slot 'arms'.*at its threshold"):
            check_agreement(reference, wrong, random_pixels(3))
        what = "attention"
        with pytest.raises(ExportError, match="attention .*batch of 1 .* by inf at image 0, channel 4"):
            check_agreement(reference, wrong, random_pixels(3))


@pytest.mark.parametrize("quicker", ["float32", "bfloat16"])
def test_where_bfloat16_is_allowed_the_quicker_one_is_taken(
    quicker: Literal["float32", "bfloat16"], checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    export_checkpoint(checkpoint, tmp_path / "m.xml", random_pixels(2), options=ExportOptions(bfloat16=True))
    monkeypatch.setattr(exported, "milliseconds", lambda ways, of: {way: 16 + 16 * (way != quicker) for way in ways})
    runner = ExportedRunner(tmp_path / "m.xml")
    assert runner.precision == quicker
    assert runner.milliseconds == {"bfloat16": 1 + (quicker != "bfloat16"), "float32": 1 + (quicker != "float32")}
    asked = ExportedRunner(tmp_path / "m.xml", RuntimeConfig(device="cpu", precision=quicker))
    assert (asked.precision, asked.milliseconds) == (quicker, {})
    mine, theirs = (one.run(random_pixels(4), None).embeddings.vectors for one in (runner, asked))
    assert torch.equal(mine, theirs)


def test_where_it_is_not_allowed_nothing_is_chosen(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(exported, "milliseconds", None)  # nobody asks how long anything takes
    export_checkpoint(checkpoint, tmp_path / "m.xml", random_pixels(2))
    assert ExportedRunner(tmp_path / "m.xml").precision == "float32"


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_eight_bits(suffix: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    path = tmp_path / f"m{suffix}"
    options = ExportOptions(int8=True, bfloat16=suffix == ".xml")
    export_checkpoint(checkpoint, path, random_pixels(24), options=options)
    runner = ExportedRunner(path)
    assert runner.info.quantized
    assert runner.info.precision == ("bfloat16" if suffix == ".xml" else "float32")
    got = runner.run(random_pixels(8), None).embeddings.vectors
    expected = TorchRunner(checkpoint.model, PREPROCESS, CPU).run(random_pixels(8), None).embeddings.vectors
    assert not torch.allclose(got, expected, rtol=1e-4)
    assert float(torch.cosine_similarity(got, expected, dim=2).mean()) > 0.99
    content = path.read_text(encoding="utf-8") if suffix == ".xml" else ""
    kinds = {node.op_type for node in onnx.load(path).graph.node} if suffix == ".onnx" else set()
    assert "FakeQuantize" in content or "QuantizeLinear" in kinds
    assert len(list(tmp_path.iterdir())) == (2 if suffix == ".xml" else 1)


def test_choices_that_do_not_fit(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.onnx or \.xml"):
        export_checkpoint(checkpoint, tmp_path / "model.pt", random_pixels(1))
    with pytest.raises(ConfigError, match="bfloat16 is OpenVINO's"):
        export_checkpoint(checkpoint, tmp_path / "m.onnx", random_pixels(1), options=ExportOptions(bfloat16=True))
    for wrong in (random_pixels(2)[:0], random_pixels(2)[:, 1:], random_pixels(2) / 255):
        with pytest.raises(ShapeError, match=r"Expected uint8 images \[N, 64, 32, 3\] to check with, got"):
            export_checkpoint(checkpoint, tmp_path / "m.onnx", wrong)
    fixed = Checkpoint(build_network(ModelConfig(backbone="resnet18", attention="fixed"), 3).eval(), PREPROCESS)
    with pytest.raises(ConfigError, match="needs more than pixels"):
        export_checkpoint(fixed, tmp_path / "m.onnx", random_pixels(1))
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="Cannot write .*m.onnx"):
        export_checkpoint(checkpoint, tmp_path / "file" / "m.onnx", random_pixels(1))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_description_is_the_models_own() -> None:
    checkpoint = tiny_checkpoint(visibility="argmax", normalize_embeddings=True, attention="stripes", stripes=2)
    info = write.describe(TorchRunner(checkpoint.model, PREPROCESS, CPU))
    assert isinstance(info, ExportInfo)
    assert (info.network, info.slots, info.part_names) == ("PCB", ("stripe_1", "stripe_2"), ("stripe_1", "stripe_2"))
    assert (info.visibility, info.normalize_embeddings, info.license) == ("argmax", True, None)
    assert info.slot_weights == {}
    weighed = tiny_checkpoint(attention="stripes", stripes=2, slot_weights={"stripe_1": 2})
    assert write.describe(TorchRunner(weighed.model, PREPROCESS, CPU)).slot_weights == {"stripe_1": 2.0}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize(
    "fields",
    [
        {"backbone": "resnet50", "embedding_dim": 512, "part_classifier_batchnorm": True, "visibility": "argmax"},
        {"backbone": "resnet50_ibn_a"},
        {"backbone": "hrnet_w32", "parts": "five"},
        {"backbone": "efficientnet_lite0", "map_stride": 8, "parts": "five"},
        {"backbone": "resnet50", "attention": "none"},
        {"backbone": "resnet50", "attention": "stripes", "stripes": 4},
    ],
    ids=str,
)
def test_every_backbone(fields: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint = Checkpoint(build_network(ModelConfig(**fields), 3).eval(), PreprocessConfig(height=64, width=32))
    export_checkpoint(checkpoint, tmp_path / f"m{suffix}", random_pixels(3))
    assert ExportedRunner(tmp_path / f"m{suffix}").slots == checkpoint.model.slots
