"""Standing on a network that knows people: its embedding as a slot, what is kept of it, what draws the model to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from partreid.datasets.loaders import ImageDataset
from partreid.datasets.readers import read_dataset
from partreid.errors import ConfigError
from partreid.evaluation.slots import slot_mapping
from partreid.models import build_network
from partreid.models.backbones import BACKBONES, Backbone
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig, normalize
from partreid.runtime import RuntimeConfig
from partreid.training.loop import Trainer
from partreid.training.source import SOURCE_FILE, freeze, keep_frozen_statistics, parameter_groups, source_vectors
from partreid.training.train_config import TrainConfig
from partreid.types import ReIDImage
from tests.conftest import tiny_config

CPU = RuntimeConfig(device="cpu", precision="float32")


class Knowing(Backbone):
    """Two stages, and an embedding of 4 numbers behind them."""

    channels, output_stride, input_multiple, vector_dim = 6, 16, 16, 4

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.BatchNorm2d(5), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(5, 6, 4, stride=4), nn.BatchNorm2d(6), nn.ReLU())
        self.fc = nn.Linear(6, 4)
        self.stage_channels = {4: 5, 16: 6}

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        first = self.first(images)
        return {4: first, 16: self.second(first)}

    def vector(self, stages: dict[int, Tensor]) -> Tensor:
        vector: Tensor = self.fc(stages[16].mean(dim=(2, 3)))
        return vector


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    BACKBONES.register("knowing", lambda stride: Knowing())
    yield
    BACKBONES.unregister("knowing")


@pytest.fixture
def images(blocks: Path) -> list[ReIDImage]:
    return read_dataset(blocks).train


def standing_on(*overrides: str) -> TrainConfig:
    fields = ("model.backbone=knowing", "model.embedding_dim=null", "model.own_embedding=true", *overrides)
    return tiny_config(*fields)


def config(**fields: object) -> ModelConfig:
    return ModelConfig.model_validate({"backbone": "knowing", "parts": "five", "own_embedding": True, **fields})


def test_the_own_embedding_is_the_first_slot_and_always_visible() -> None:
    model = build_network(config(), 3).eval()
    images = torch.randn(2, 3, 64, 32)
    output = model(images)
    assert output.embeddings.slots == ("global", "foreground", "head", "arms", "torso", "legs", "feet")
    own = model.backbone.vector(model.backbone.stages(images))
    torch.testing.assert_close(output.embeddings["global"].vectors[:, 0], own)
    torch.testing.assert_close(output.features.global_, own)
    assert (output.embeddings.visibility[:, :2] == 1).all()
    assert output.embeddings.vectors.shape == (2, 7, 4)


def test_alone_it_is_the_networks_own_answer() -> None:
    model = build_network(config(attention="none"), 3).eval()
    images = torch.randn(2, 3, 64, 32)
    output = model(images)
    assert output.embeddings.slots == ("global",)
    torch.testing.assert_close(output.embeddings.vectors[:, 0], model.backbone.vector(model.backbone.stages(images)))


def test_with_a_finer_map_it_is_the_same() -> None:
    torch.manual_seed(0)
    coarse = build_network(config(), 3).eval()
    torch.manual_seed(0)
    fine = build_network(config(map_stride=4), 3).eval()
    images = torch.randn(2, 3, 64, 32)
    assert fine(images).attention.shape[2:] == (16, 8)
    torch.testing.assert_close(fine(images).features.global_, coarse(images).features.global_)


def test_a_part_is_what_the_network_says_of_the_map_under_its_attention() -> None:
    model = build_network(config(), 3).eval()
    images = torch.randn(2, 3, 64, 32)
    output = model(images)
    features = model.backbone.stages(images)[16]
    foreground = output.attention[:, 1:].amax(dim=1, keepdim=True)
    for found, mask in [(output.features.foreground, foreground)] + [
        (output.features.parts[:, k], output.attention[:, k + 1 : k + 2]) for k in range(5)
    ]:
        pooled = (features * mask).sum(dim=(2, 3)) / mask.sum(dim=(2, 3))  # this network pools by the mean
        torch.testing.assert_close(found, model.backbone.fc(pooled))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="no embedding of its own"):
        build_network(config(backbone="resnet18"), 3)
    with pytest.raises(ConfigError, match="in 4 numbers. Set embedding_dim=null"):
        build_network(config(embedding_dim=8), 3)


def test_a_table_names_what_is_compared() -> None:
    model = build_network(config(), 3).eval()
    table = slot_mapping(model(torch.randn(2, 3, 64, 32)).embeddings)
    assert table["foreground + parts"].slots[0] == "foreground"
    assert table["global + foreground + parts"].slots[0] == "global"
    assert "global" not in table["parts"].slots


@pytest.mark.parametrize(("stride", "kept"), [(4, {"first"}), (16, {"first", "second"})])
def test_frozen_weights_and_statistics_stay(
    images: list[ReIDImage], tmp_path: Path, stride: int, kept: set[str]
) -> None:
    trainer = Trainer(standing_on(f"optimizer.frozen_stride={stride}"), images, tmp_path / "run", runtime=CPU)
    before = {name: value.clone() for name, value in trainer.learner.model.backbone.state_dict().items()}
    trainer.fit()
    after = trainer.learner.model.backbone.state_dict()
    same = {name.split(".")[0] for name in before if torch.equal(before[name], after[name])}
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert same == kept
    assert changed == {"first", "second", "fc"} - kept


def test_a_stride_without_features_is_refused() -> None:
    with pytest.raises(ConfigError, match="frozen_stride = 8: this backbone has features of the strides 4, 16"):
        freeze(Knowing(), 8, (64, 32))


def test_layers_behind_the_map_are_left_where_nothing_uses_them(images: list[ReIDImage], tmp_path: Path) -> None:
    """DistributedDataParallel waits for the gradient of every weight that learns."""
    for used in (True, False):
        fields = standing_on(f"model.own_embedding={str(used).lower()}")
        model = Trainer(fields, images, tmp_path / str(used), runtime=CPU).learner.model
        assert all(weight.requires_grad == used for weight in model.backbone.fc.parameters())
        assert all(weight.requires_grad for weight in model.backbone.second.parameters())


def test_only_frozen_norms_keep_their_statistics() -> None:
    backbone = Knowing()
    freeze(backbone, 4, (64, 32))
    backbone.train()
    keep_frozen_statistics(backbone)
    assert not backbone.first[1].training
    assert backbone.second[1].training


def test_the_backbone_has_its_own_rate(images: list[ReIDImage], tmp_path: Path) -> None:
    slow = Trainer(
        standing_on("optimizer.backbone_rate=1e-9", "optimizer.epochs=1"), images, tmp_path / "slow", runtime=CPU
    )
    before = {name: value.clone() for name, value in slow.learner.model.named_parameters()}
    slow.fit()
    moved = {name: (value - before[name]).abs().max() for name, value in slow.learner.model.named_parameters()}
    assert max(change for name, change in moved.items() if name.startswith("backbone.")) < 1e-8
    assert moved["global_neck.classifier.weight"] > 1e-6


def test_one_rate_is_one_group() -> None:
    model = build_network(config(), 3)
    assert len(parameter_groups(model, [], 1.0)) == 1
    assert [group["scale"] for group in parameter_groups(model, [], 0.3)] == [0.3, 1.0]


def test_source_vectors_are_those_of_the_images_as_they_are_and_are_kept(
    images: list[ReIDImage], tmp_path: Path
) -> None:
    dataset, preprocess = ImageDataset(images, size=(64, 32)), PreprocessConfig(height=64, width=32)
    backbone = Knowing().eval()
    done: list[int] = []

    @contextmanager
    def shown(job: str, total: int) -> Iterator[Callable[[int], object]]:
        done.append(-total)
        yield done.append

    vectors = source_vectors(backbone, dataset, preprocess, tmp_path, shown)
    assert done[0] == -len(images)
    assert sum(done) == 0  # a silence of minutes looks like a hang
    pixels = normalize(dataset.collate([dataset[5]]).images, preprocess)
    torch.testing.assert_close(vectors[5:6], backbone.vector(backbone.stages(pixels)).detach())
    (key,) = load_file(tmp_path / SOURCE_FILE)
    save_file({key: vectors + 1}, tmp_path / SOURCE_FILE)
    assert torch.equal(source_vectors(backbone, dataset, preprocess, tmp_path), vectors + 1)  # read, not computed
    assert not torch.equal(source_vectors(Knowing().eval(), dataset, preprocess, tmp_path), vectors + 1)


def test_a_backbone_without_an_embedding_cannot_be_the_source(images: list[ReIDImage], tmp_path: Path) -> None:
    wrong = tiny_config("objective.distillation.global_=1")
    with pytest.raises(ConfigError, match="no embedding of its own"):
        Trainer(wrong, images, tmp_path / "run", runtime=CPU).fit()


def test_distillation_draws_hidden_images_to_what_the_source_says_of_whole_ones(
    images: list[ReIDImage], tmp_path: Path
) -> None:
    alone = [f"objective.gilt.identity.{region}=0" for region in ("global_", "foreground", "concat")]
    alone += ["objective.gilt.triplet.parts=0", "objective.part_attention_weight=0", "augment.erase_probability=1"]
    fields = standing_on(*alone, "objective.distillation.global_=1", "optimizer.epochs=12", "optimizer.frozen_stride=4")
    trainer = Trainer(fields, images, tmp_path / "run", runtime=CPU)
    trainer.fit()
    losses = [means["distillation/global_"] for means in trainer.progress.history.values()]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    "fields",
    [
        ("objective.distillation.global_=5", "objective.distillation.foreground=1", "optimizer.backbone_rate=0.3"),
        ("batch.views=2", "objective.consistency_weight=1", "optimizer.frozen_stride=4"),
    ],
)
def test_a_resumed_training_ends_with_the_same_weights(
    images: list[ReIDImage], tmp_path: Path, fields: tuple[str, ...]
) -> None:
    whole = Trainer(standing_on("optimizer.epochs=2", *fields), images, tmp_path / "whole", runtime=CPU).fit()
    Trainer(standing_on("optimizer.epochs=1", *fields), images, tmp_path / "parts", runtime=CPU).fit()
    second = Trainer(standing_on("optimizer.epochs=2", *fields), images, tmp_path / "parts", runtime=CPU)
    second.resume()
    resumed = second.fit()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_two_views_belong_to_consistency() -> None:
    for fields in (("batch.views=2",), ("objective.consistency_weight=1",)):
        with pytest.raises(ConfigError, match="two views of each image are what consistency compares"):
            standing_on(*fields)
