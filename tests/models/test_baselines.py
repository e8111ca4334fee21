"""BoT, PCB and fixed attention against plain loops; what each model has and compares."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from partreid.errors import ConfigError, ShapeError
from partreid.functional.pooling import stripe_maps
from partreid.models.bpbreid import PCB, BoT, BPBReID
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig, bot_model
from partreid.preprocessing import PreprocessConfig
from partreid.types import ModelOutput

B, H, W, K, IDENTITIES = 3, 8, 4, 5, 7


def build(**fields: object) -> BPBReID | PCB | BoT:
    torch.manual_seed(0)
    config = ModelConfig.parse({"backbone": "resnet18", "parts": "five", **fields})
    return build_network(config, IDENTITIES).eval()  # type: ignore[return-value]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(B, 3, 16 * H, 16 * W)


@pytest.fixture
def part_maps() -> Tensor:
    return torch.rand(B, K, H, W)


@pytest.mark.parametrize(("attention", "kind", "slots"), [
    ("learned", BPBReID, ("foreground", "head", "arms", "torso", "legs", "feet")),
    ("fixed", BPBReID, ("foreground", "head", "arms", "torso", "legs", "feet")),
    ("stripes", PCB, tuple(f"stripe_{i}" for i in range(1, 7))),
    ("none", BoT, ("global",)),
])  # fmt: skip
def test_each_kind_of_attention_has_its_network_and_slots(
    attention: str, kind: type, slots: tuple[str, ...], images: Tensor, part_maps: Tensor
) -> None:
    model = build(attention=attention)
    assert type(model) is kind
    output = model(images, part_maps)
    assert output.embeddings.slots == model.slots == slots
    assert output.embeddings.vectors.shape == (B, len(slots), 512)
    assert output.attention.shape[:2] == (B, len(model.config.part_names) + 1)
    assert output.visibility.shape == (B, len(model.config.part_names))
    assert (output.part_logits is None) == (attention != "learned")


def test_pcb_pools_equal_stripes_and_sees_all_of_them(images: Tensor) -> None:
    model = build(attention="stripes", stripes=4)
    output = model(images)
    features = model.backbone(images)
    for i in range(4):
        rows = features[:, :, 2 * i : 2 * i + 2]
        assert torch.allclose(output.embeddings.vectors[:, i], rows.mean(dim=(2, 3)), atol=1e-5)
    assert (output.embeddings.visibility == 1).all()
    assert output.features.foreground is None
    assert output.features.concat is not None
    assert output.features.concat.shape == (B, 4 * 512)


@pytest.mark.parametrize(("stripes", "height"), [(6, 16), (6, 24), (4, 7), (1, 3), (5, 5)])
def test_stripes_share_rows_by_area(stripes: int, height: int) -> None:
    maps = stripe_maps(stripes, (height, 2))[0, :, :, 0]
    for s in range(stripes):
        for r in range(height):
            low, high = max(r, s * height / stripes), min(r + 1, (s + 1) * height / stripes)
            assert float(maps[s, r]) == pytest.approx(max(0.0, high - low), abs=1e-5)
    assert torch.allclose(maps.sum(dim=0), torch.ones(height))


def test_more_stripes_than_rows_are_refused() -> None:
    with pytest.raises(ShapeError, match="Expected 1 to 4 stripes for a map of 4 rows, got 6"):
        stripe_maps(6, (4, 2))


def test_bot_is_the_pooled_map_behind_its_neck(images: Tensor) -> None:
    model = build(**bot_model().model_dump(include={"attention", "foreground_embedding", "normalize_embeddings"}))
    pooled = model.backbone(images).mean(dim=(2, 3))
    output = model(images)
    assert output.features.global_ is not None
    assert torch.allclose(output.features.global_, pooled, atol=1e-5)
    assert torch.allclose(output.embeddings.vectors[:, 0], model.global_neck(pooled), atol=1e-5)
    assert dict(output.features.items()).keys() == {"global_"}


def test_fixed_attention_is_a_softmax_of_e_and_visibility_is_e(images: Tensor, part_maps: Tensor) -> None:
    part_maps = part_maps * 0.6
    part_maps[1, 2] = 0.1  # the torso of image 1 is not there
    model = build(attention="fixed")
    output = model(images, part_maps)
    features = model.backbone(images)
    for b in range(B):
        weights = torch.zeros(K, H, W)
        for y in range(H):
            for x in range(W):
                powers = [math.exp(float(e)) for e in part_maps[b, :, y, x]]
                weights[:, y, x] = torch.tensor(powers) / sum(powers)
        for k in range(K):
            expected = (features[b] * weights[k]).sum(dim=(1, 2)) / weights[k].sum()
            assert torch.allclose(output.embeddings.vectors[b, k + 1], expected, atol=1e-4)
            assert float(output.visibility[b, k]) == float(part_maps[b, k].max() > 0.4)
        foreground = weights.max(dim=0).values
        expected = (features[b] * foreground).sum(dim=(1, 2)) / foreground.sum()
        assert torch.allclose(output.embeddings.vectors[b, 0], expected, atol=1e-4)
    assert output.visibility[1, 2] == 0


def test_fields_weigh_as_they_are(images: Tensor, part_maps: Tensor) -> None:
    model = build(attention="fields")
    features = model.backbone(images)
    expected = (features[0] * part_maps[0, 3]).sum(dim=(1, 2)) / part_maps[0, 3].sum()
    assert torch.allclose(model(images, part_maps).embeddings.vectors[0, 4], expected, atol=1e-4)


@pytest.mark.parametrize("given", [None, (B, K, H, W + 1), (B, K + 1, H, W)])
def test_fixed_attention_needs_part_maps_of_its_size(images: Tensor, given: tuple[int, ...] | None) -> None:
    model = build(attention="fixed")
    with pytest.raises(ShapeError, match=r"expected part_maps \(3, 5, 8, 4\), got"):
        model(images, None if given is None else torch.zeros(given))


def test_continuous_visibility_is_the_maximum_of_each_map(images: Tensor) -> None:
    output: ModelOutput = build(visibility="continuous")(images)
    assert torch.equal(output.visibility, output.attention[:, 1:].flatten(2).max(dim=2).values)
    assert torch.equal(output.embeddings.visibility[:, 1:], output.visibility)
    assert (output.embeddings.visibility[:, 0] == 1).all()


@pytest.mark.parametrize("attention", ["fixed", "stripes", "none"])
def test_baselines_come_back_from_their_checkpoint(attention: str, images: Tensor, part_maps: Tensor, tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = build(attention=attention)
    save_checkpoint(Checkpoint(model, PreprocessConfig()), tmp_path / "model")
    loaded = load_checkpoint(tmp_path / "model").model
    assert type(loaded) is type(model)
    one, other = model(images, part_maps), loaded(images, part_maps)
    assert torch.equal(one.embeddings.vectors, other.embeddings.vectors)


@pytest.mark.parametrize("attention", ["learned", "none", "stripes"])
def test_no_negative_number_of_identities(attention: str) -> None:
    config = ModelConfig.parse({"backbone": "resnet18", "attention": attention})
    with pytest.raises(ConfigError, match="number of training identities must be 0 or more, got -1"):
        build_network(config, -1)
