"""What a network file says of its images: nothing that it says can be contradicted unnoticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from partreid.errors import ConfigError
from partreid.models.backbones import network_outline, preprocess_for
from partreid.models.backbones.file_input import FileInput
from partreid.preprocessing import PreprocessConfig
from partreid.training.train_config import TrainConfig
from tests.models.tiny_networks import IMAGENET_BYTES, SIZE, named, save_onnx, save_openvino

BYTES = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}
UNIT = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
REVERSED = tuple(values[::-1] for values in IMAGENET_BYTES)
FRACTIONS = tuple(tuple(value / 255 for value in values) for values in IMAGENET_BYTES)
MEANS = {"mean_values": "images[123.675,116.28,103.53]", "scale_values": "images[58.395,57.12,57.375]"}


def said(tmp_path: Path, **fields: object) -> FileInput:
    outline = network_outline(named(save_openvino(tmp_path / "a.xml", **fields)))  # type: ignore[arg-type]
    assert outline is not None
    return outline.reads


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        # The graph alone: behind the turn stand the means of RGB, so BGR goes in.
        ({"turned": True, "normalise": IMAGENET_BYTES}, {**BYTES, "order": "bgr"}),
        ({"normalise": IMAGENET_BYTES}, {**BYTES, "order": "rgb"}),
        ({"normalise": REVERSED}, {**BYTES, "order": "bgr"}),
        ({"turned": True, "normalise": REVERSED}, {**BYTES, "order": "rgb"}),
        ({"normalise": FRACTIONS}, {**UNIT, "order": "rgb"}),
        ({"normalise": ((127.5,) * 3, (127.5,) * 3)}, BYTES),
        ({"normalise": ((0.5,) * 3, (0.5,) * 3)}, UNIT),
        # A turn by itself tells nothing: some networks are trained with BGR.
        ({"turned": True}, {}),
        # Nor do numbers that may have been learned.
        ({"normalise": ((0.1, -0.2, 0.05), (0.9, 1.2, 1.1))}, {}),
        # What the converter put into the first convolution, it wrote down.
        ({"said": {"reverse_input_channels": "True"}}, {"order": "bgr"}),
        ({"said": {"reverse_input_channels": "False"}}, {}),
        ({"said": {"reverse_input_channels": "True", **MEANS}}, {**BYTES, "order": "bgr"}),
        ({"said": MEANS}, {**BYTES, "order": "rgb"}),
        ({"said": {"scale": "255"}}, BYTES),
        ({"said": {"mean_values": "()", "scale_values": "None"}}, {}),
        ({"turned": True, "said": {"reverse_input_channels": "True"}}, {"order": "bgr"}),
    ],
)  # fmt: skip
def test_what_a_file_says(fields: dict[str, object], expected: dict[str, object], tmp_path: Path) -> None:
    reads = said(tmp_path, **fields)
    assert reads == FileInput(size=SIZE, **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"turned": True, "normalise": IMAGENET_BYTES}, {**BYTES, "order": "bgr"}),
        ({"normalise": FRACTIONS}, {**UNIT, "order": "rgb"}),
        ({"turned": True}, {}),
    ],
)
def test_what_an_onnx_file_says(fields: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    outline = network_outline(named(save_onnx(tmp_path / "a.onnx", **fields)))
    assert outline is not None
    assert outline.reads == FileInput(size=SIZE, **expected)


def test_the_preprocessing_is_the_files(tmp_path: Path) -> None:
    name = named(save_openvino(tmp_path / "a.xml", turned=True, normalise=IMAGENET_BYTES))
    assert preprocess_for(name) == PreprocessConfig(height=64, width=32, order="bgr", **BYTES)  # type: ignore[arg-type]
    assert preprocess_for(name, height=128).size == (128, 32)
    plain = named(save_openvino(tmp_path / "b.xml"))
    assert preprocess_for(plain) == PreprocessConfig(height=64, width=32)
    assert preprocess_for("resnet18") == PreprocessConfig()


def test_a_contradiction_is_refused_with_the_line_to_type(tmp_path: Path) -> None:
    name = named(save_openvino(tmp_path / "a.xml", turned=True, normalise=IMAGENET_BYTES))
    base = {"model.backbone": name, "preprocess.height": 64, "preprocess.width": 32}
    with pytest.raises(ConfigError, match="answer with numbers that look right: --set preprocess.mean") as error:
        TrainConfig().override(base)
    lines = [one.strip() for one in str(error.value).split("--set")[1:]]
    assert [line.partition("=")[0] for line in lines] == ["preprocess.mean", "preprocess.std", "preprocess.order"]
    typed = TrainConfig().override(base, lines)
    assert typed.preprocess == preprocess_for(name)
    with pytest.raises(ConfigError, match=r"--set preprocess.order=bgr$"):
        typed.override("preprocess.order=rgb")
    with pytest.raises(ConfigError, match=r"--set preprocess.std="):
        typed.override("preprocess.std=[1,1,1]")


def test_a_file_that_says_nothing_takes_any_preprocessing(tmp_path: Path) -> None:
    name = named(save_openvino(tmp_path / "a.xml"))
    for order in ("rgb", "bgr"):
        config = TrainConfig().override({"model.backbone": name, "preprocess.order": order})
        assert config.preprocess.order == order


def test_the_own_embedding_is_of_images_it_can_read(tmp_path: Path) -> None:
    """This one pools whatever comes; a file for one size only is refused where its embedding is wanted."""
    name = named(save_openvino(tmp_path / "a.xml"))
    base = TrainConfig().override({"model.backbone": name, "model.own_embedding": True, "preprocess.height": 128})
    assert base.preprocess.size == (128, 128)
    fixed = named(save_openvino(tmp_path / "b.xml", fixed=True))
    TrainConfig().override({"model.backbone": fixed, "preprocess.height": 128})
    with pytest.raises(ConfigError, match=r"images 64×32, and not 128×128: --set preprocess.height=64 --set "):
        TrainConfig().override({"model.backbone": fixed, "model.own_embedding": True, "preprocess.height": 128})


def test_another_file_at_the_same_place_is_seen(tmp_path: Path) -> None:
    assert said(tmp_path).order is None
    assert said(tmp_path, normalise=IMAGENET_BYTES).order == "rgb"
