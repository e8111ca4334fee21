"""What every backbone must do, own or of timm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from partreid.models.backbones import Backbone


def check_backbone(build: Callable[[Path | None], Backbone], tmp_path: Path) -> Backbone:
    """Shapes, strides, a gradient for every parameter, save and load bit for bit, determinism.

    Args:
        build: path of weights → backbone.
    """
    backbone = build(None)
    multiple, stride = backbone.input_multiple, backbone.output_stride
    assert multiple % stride == 0
    size = (4 * multiple, 2 * multiple)
    images = torch.randn(2, 3, size[0] // 2, size[1] // 2)
    trained = backbone.train().stages(images)
    answers = [trained[stride]] + ([] if backbone.vector_dim is None else [backbone.vector(trained)])
    sum(answer.square().mean() for answer in answers).backward()
    assert [key for key, p in backbone.named_parameters() if p.requires_grad and p.grad is None] == []

    backbone.eval()
    images = torch.randn(1, 3, *size)
    with torch.inference_mode():
        first, second, stages = backbone(images), backbone(images), backbone.stages(images)
    assert first.shape == (1, backbone.channels, size[0] // stride, size[1] // stride)
    assert torch.equal(first, second)
    assert torch.equal(stages[stride], first)
    shapes = {s: tuple(stages[s].shape) for s in backbone.stage_channels}
    assert shapes == {s: (1, c, size[0] // s, size[1] // s) for s, c in backbone.stage_channels.items()}

    state = {key.removeprefix(backbone.key_prefix): value for key, value in backbone.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    other = build(tmp_path / "weights.safetensors").eval()
    loaded = other.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in backbone.state_dict().items())
    with torch.inference_mode():
        assert torch.equal(other(images), first)
    return backbone
