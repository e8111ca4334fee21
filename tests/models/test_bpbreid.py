"""The forward pass against the paper's equations written as loops, for both numerics."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from partreid.errors import ConfigError, ShapeError
from partreid.functional.pooling import foreground_map, mean_pool, weighted_average_pool
from partreid.models.backbones import build_backbone
from partreid.models.bpbreid import BPBReID
from partreid.models.heads import EmbeddingHead, PixelPartClassifier
from partreid.models.model_config import ModelConfig, official_model, paper_model
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors

B, K, C, H, W, IDENTITIES = 3, 5, 512, 8, 4, 7
SMALL = {"backbone": "resnet18", "parts": "five"}
PAPER = paper_model().model_copy(update=SMALL)
OFFICIAL = official_model().model_copy(update={**SMALL, "embedding_dim": 24})
FINE = {"map_stride": 8}


def build(config: ModelConfig) -> BPBReID:
    """A model none of whose layers is trivial: random statistics, clearly different part maps."""
    torch.manual_seed(1)
    model = BPBReID(config, IDENTITIES)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    nn.init.normal_(model.part_classifier.classifier.weight, std=0.1)
    nn.init.normal_(model.part_classifier.classifier.bias)
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(B, 3, 16 * H, 16 * W)


def plain(model: BPBReID, images: Tensor, *, official: bool) -> dict[str, Tensor]:
    """Eq. 1, 3, 4 and 9 (or the published weights' departures) pixel by pixel, in float64."""
    model = model.double()
    s = model.state_dict()
    out = {name: [] for name in ("attention", "visibility", "vectors", "concat", "global", "parts_bn", "id_f", "id_p")}
    for g in model.backbone(images.double()):  # [C, H, W], upsampled and joined where there is a finer map
        channels, height, width = g.shape

        def norm(x: Tensor, key: str) -> Tensor:
            scale = s[f"{key}.weight"] / (s[f"{key}.running_var"] + 1e-5).sqrt()
            return (x - s[f"{key}.running_mean"]) * scale + s[f"{key}.bias"]

        def head(x: Tensor, region: str) -> Tensor:
            if not official:
                return x
            key = f"heads.{region}.layers"
            return norm(s[f"{key}.0.weight"] @ x + s[f"{key}.0.bias"], f"{key}.1").clamp(min=0)

        attention = torch.zeros(K + 1, height, width, dtype=torch.float64)
        weight = s["part_classifier.classifier.weight"].view(K + 1, channels)
        for y in range(height):
            for x in range(width):
                pixel = norm(g[:, y, x], "part_classifier.bn") if official else g[:, y, x]
                scores = [float(weight[c] @ pixel + s["part_classifier.classifier.bias"][c]) for c in range(K + 1)]
                total = sum(math.exp(score) for score in scores)
                attention[:, y, x] = torch.tensor([math.exp(score) / total for score in scores])

        pooled = torch.zeros(K + 2, channels, dtype=torch.float64)  # global, foreground, parts
        mass = torch.zeros(K + 2, dtype=torch.float64)
        visible = torch.zeros(K, dtype=torch.float64)
        for y in range(height):
            for x in range(width):
                here = attention[:, y, x].tolist()
                for row, m in enumerate((1.0, max(here[1:]), *here[1:])):
                    pooled[row] += m * g[:, y, x]
                    mass[row] += m
                for part in range(K):
                    wins = here.index(max(here)) == part + 1 if official else here[part + 1] > 0.4
                    visible[part] = max(float(visible[part]), float(wins))
        if official:
            mass[1] = height * width
        pooled = pooled / mass.clamp(min=1e-6).unsqueeze(1)  # a part that is nowhere
        global_, foreground = head(pooled[0], "global_"), head(pooled[1], "foreground")
        parts = [head(pooled[2 + part], "parts") for part in range(K)]
        foreground_bn = norm(foreground, "foreground_neck.bn")
        parts_bn = [norm(part, f"part_necks.{i}.bn") for i, part in enumerate(parts)]
        out["attention"].append(attention)
        out["visibility"].append(torch.cat([torch.ones(1), visible]))
        out["vectors"].append(torch.stack([foreground_bn if official else foreground, *parts]))
        out["concat"].append(torch.cat(parts))
        out["global"].append(global_)
        out["parts_bn"].append(torch.stack(parts_bn))
        out["id_f"].append(s["foreground_neck.classifier.weight"] @ foreground_bn)
        out["id_p"].append(
            torch.stack([s[f"part_necks.{i}.classifier.weight"] @ part for i, part in enumerate(parts_bn)])
        )
    model.float()
    return {name: torch.stack(values) for name, values in out.items()}


@pytest.mark.parametrize("finer", [{}, FINE], ids=["", "fine"])
@pytest.mark.parametrize(("config", "official"), [(PAPER, False), (OFFICIAL, True)], ids=["paper", "official"])
@torch.no_grad()
def test_forward_equals_plain_loops(config: ModelConfig, official: bool, finer: dict[str, int], images: Tensor) -> None:
    model = build(config.model_copy(update=finer))
    expected = plain(model, images, official=official)
    assert 0 < expected["visibility"][:, 1:].mean() < 1  # else the test shows nothing about it
    output = model(images)
    assert output.identity_logits is not None
    _close(output.attention, expected["attention"])
    assert torch.equal(output.embeddings.visibility, expected["visibility"].float())
    assert torch.equal(output.visibility, expected["visibility"][:, 1:].float())
    _close(output.embeddings.vectors, expected["vectors"])
    _close(output.features.concat, expected["concat"])
    _close(output.features.global_, expected["global"])
    _close(output.bn_features.parts, expected["parts_bn"])
    _close(output.identity_logits.foreground, expected["id_f"])
    _close(output.identity_logits.parts, expected["id_p"])


def _close(ours: Tensor, expected: Tensor) -> None:
    assert ours.shape == expected.shape
    assert torch.allclose(ours.double(), expected.double(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("config", "dim"), [(PAPER, C), (OFFICIAL, 24)], ids=["paper", "official"])
@pytest.mark.parametrize("training", [True, False])
def test_shapes_are_the_same_in_training_and_evaluation(
    config: ModelConfig, dim: int, training: bool, images: Tensor
) -> None:
    output = build(config).train(training)(images)
    assert type(output) is ModelOutput
    assert type(output.embeddings) is PartEmbeddings
    assert output.part_logits.shape == output.attention.shape == (B, K + 1, H, W)
    assert torch.allclose(output.attention.sum(dim=1), torch.ones(B, H, W), atol=1e-5)
    for regions in (output.features, output.bn_features):
        assert type(regions) is RegionVectors
        assert [tuple(getattr(regions, name).shape) for name in RegionVectors.NAMES] == [
            (B, dim), (B, dim), (B, K * dim), (B, K, dim),
        ]  # fmt: skip
    assert output.identity_logits is not None
    assert [tuple(getattr(output.identity_logits, name).shape) for name in RegionVectors.NAMES] == [
        (B, IDENTITIES), (B, IDENTITIES), (B, IDENTITIES), (B, K, IDENTITIES),
    ]  # fmt: skip
    assert output.visibility.shape == (B, K)
    assert output.embeddings.slots == ("foreground", "head", "arms", "torso", "legs", "feet")
    assert output.embeddings.vectors.shape == (B, K + 1, dim)
    assert (output.embeddings.visibility[:, 0] == 1).all()
    assert torch.equal(output.embeddings.vectors[:, 1:], output.features.parts)


def test_every_parameter_but_the_frozen_bias_learns(images: Tensor) -> None:
    model = build(OFFICIAL).train()
    output = model(images)
    logits = output.identity_logits
    assert logits is not None
    sum(getattr(logits, name).square().sum() for name in RegionVectors.NAMES).backward()
    frozen = {key for key, p in model.named_parameters() if not p.requires_grad}
    necks = ["global_neck", "foreground_neck", "concat_neck", *(f"part_necks.{i}" for i in range(K))]
    assert frozen == {f"{neck}.bn.bias" for neck in necks}
    assert all(float(p.detach().abs().sum()) == 0 for p in model.parameters() if not p.requires_grad)
    missing = [k for k, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert missing == []


@pytest.mark.parametrize("pooling", ["weighted_average", "mean"])
@torch.no_grad()
def test_fused_pooling_equals_separate_pooling(pooling: str, images: Tensor) -> None:
    model = build(ModelConfig.parse({**SMALL, "foreground_pooling": pooling}))
    output = model(images)
    features = model.backbone(images)
    foreground = foreground_map(output.attention)
    pool = weighted_average_pool if pooling == "weighted_average" else mean_pool
    _close(output.features.global_, features.mean(dim=(2, 3)))
    _close(output.features.foreground, pool(features, foreground)[:, 0])
    _close(output.features.parts, weighted_average_pool(features, output.attention[:, 1:]))


@torch.no_grad()
def test_a_image_does_not_depend_on_its_batch(images: Tensor) -> None:
    model = build(OFFICIAL)
    together = model(images).embeddings
    for i in range(B):
        alone = model(images[i : i + 1]).embeddings
        _close(alone.vectors[0], together.vectors[i])
        assert torch.equal(alone.visibility[0], together.visibility[i])


def test_new_classifiers_start_small() -> None:
    model = BPBReID(PAPER, 50)
    for weight in (model.part_classifier.classifier.weight, model.concat_neck.classifier.weight):
        assert float(weight.detach().std()) == pytest.approx(0.001, rel=0.1)
    assert not model.part_classifier.classifier.bias.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(1, 3, 120, 64), (1, 3, 128, 60), (1, 1, 128, 64), (3, 128, 64), (1, 64, 32, 3)])
def test_wrong_shapes_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=rf"multiples of 16, got \({', '.join(map(str, shape))}\)"):
        build(PAPER)(torch.zeros(shape))


def test_raw_images_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"normalised .* got torch.uint8"):
        build(PAPER)(torch.zeros(1, 3, 128, 64, dtype=torch.uint8))


@pytest.mark.parametrize("config", [PAPER, OFFICIAL], ids=["paper", "official"])
def test_gradients_are_those_of_the_joined_map(config: ModelConfig, images: Tensor) -> None:
    model = build(config.model_copy(update=FINE)).double().train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    found = []
    for joined in (False, True):
        model.load_state_dict(state)
        model.zero_grad()
        if joined:
            features = model.backbone(images.double())
            attention = model.attend([features], None)
            output = model.finish(model.pool([features], attention.maps), attention, classify=True)
        else:
            output = model(images.double())
        assert output.identity_logits is not None
        total = output.attention.square().sum() + output.embeddings.vectors.square().sum()
        (total + output.identity_logits.concat.square().sum()).backward()
        found.append({key: p.grad for key, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    largest = max(float(gradient.abs().max()) for gradient in found[1].values())
    for key, gradient in found[1].items():
        torch.testing.assert_close(found[0][key], gradient, rtol=1e-6, atol=1e-9 * largest, msg=key)


def test_the_finer_map_reaches_the_output(images: Tensor) -> None:
    config = ModelConfig.parse({**SMALL, "map_stride": 8})
    assert config.stride == 8
    with torch.no_grad():
        assert BPBReID(config, IDENTITIES).eval()(images).attention.shape == (B, K + 1, 2 * H, 2 * W)


def test_model_config_messages() -> None:
    with pytest.raises(ConfigError, match=r"backbone = 'resnet5': .*resnet50"):
        ModelConfig.parse({"backbone": "resnet5"})
    with pytest.raises(ConfigError, match=r"parts = 'fife': .*Did you mean 'five'"):
        ModelConfig.parse({"parts": "fife"})
    with pytest.raises(ConfigError, match=r"output_stride = 4: .*8, 16 or 32"):
        ModelConfig.parse({"output_stride": 4})
    with pytest.raises(ConfigError, match=r"no slot 'heat'. Did you mean 'head'"):
        ModelConfig(slot_weights={"heat": 2})
    with pytest.raises(ConfigError, match=r"slot_weights.head = 0: .*a weight is above 0"):
        ModelConfig(slot_weights={"head": 0})
    assert ModelConfig().override("slot_weights.head=2").slot_weights == {"head": 2.0}


def test_output_map_reaches_every_tensor(images: Tensor) -> None:
    with torch.no_grad():
        output = build(PAPER)(images).map(lambda tensor: tensor.double())
    for field in fields(output):
        value = getattr(output, field.name)
        if isinstance(value, Tensor):
            assert value.dtype == torch.float64
        elif isinstance(value, RegionVectors):
            assert {getattr(value, name).dtype for name in RegionVectors.NAMES} == {torch.float64}
        else:
            assert value.vectors.dtype == value.visibility.dtype == torch.float64


@torch.no_grad()
def test_the_visibility_threshold_is_the_configured_one(images: Tensor) -> None:
    largest = build(PAPER)(images).attention[:, 1:].amax(dim=(2, 3))
    for threshold in (0.0, 0.4, float(largest.median()), 1.0):
        config = PAPER.model_copy(update={"visibility_threshold": threshold})
        assert torch.equal(build(config)(images).visibility, (largest > threshold).float())


def test_identity_logits_can_be_left_out_and_nothing_else_changes() -> None:
    model = BPBReID(ModelConfig(backbone="resnet18", parts="five"), num_identities=3).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        whole, bare = model(images), model(images, classify=False)
    assert bare.identity_logits is None
    assert torch.equal(whole.embeddings.vectors, bare.embeddings.vectors)
    assert torch.equal(whole.bn_features.concat, bare.bn_features.concat)


def test_a_seed_draws_backbone_then_attention_then_heads() -> None:
    """As it always was: trainings of the same seed start from the same weights."""
    config = PAPER.model_copy(update={"embedding_dim": 24})
    torch.manual_seed(3)
    model = BPBReID(config, IDENTITIES)
    torch.manual_seed(3)
    backbone = build_backbone("resnet18")
    attention = PixelPartClassifier(backbone.channels, K)
    head = EmbeddingHead(backbone.channels, 24)
    assert torch.equal(model.part_classifier.classifier.weight, attention.classifier.weight)
    assert torch.equal(model.heads["global_"].layers[0].weight, head.layers[0].weight)
