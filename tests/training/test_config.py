"""Presets hold the paper's hyper-parameters; overrides and files; every field is documented and read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from partreid.base_config import flatten
from partreid.errors import ConfigError
from partreid.training.presets import PRESETS, get_preset, official_holistic, paper_occluded
from partreid.training.train_config import OptimizerConfig, TrainConfig

SOURCES = "\n".join(p.read_text() for p in sorted(Path(__file__).parents[2].glob("src/partreid/**/*.py")))


# Preset → backbone, (height, width), K's grouping: paper §4.2, Table 1 (RN, RI, HR), Table 5.
PAPER_MODELS = {
    "paper-occluded": ("resnet50", (256, 128), "eight"),
    "paper-holistic": ("resnet50", (256, 128), "five"),
    "paper-occluded-ibn": ("resnet50_ibn_a", (384, 128), "eight"),
    "paper-holistic-ibn": ("resnet50_ibn_a", (384, 128), "five"),
    "paper-occluded-hrnet": ("hrnet_w32", (384, 128), "eight"),
    "paper-holistic-hrnet": ("hrnet_w32", (384, 128), "five"),
    "official-occluded": ("resnet50", (256, 128), "eight"),
    "official-holistic": ("resnet50", (256, 128), "five_v"),
    "bot": ("resnet50", (256, 128), "eight"),
    "pcb": ("resnet50", (256, 128), "eight"),
}


@pytest.mark.parametrize("name", PAPER_MODELS)
def test_every_preset_of_the_paper_is_section_4_2(name: str) -> None:
    c = get_preset(name)
    assert (c.model.backbone, c.preprocess.size, c.model.parts) == PAPER_MODELS[name]
    assert c.model.stride == {"hrnet_w32": 4}.get(c.model.backbone, 16)
    assert (c.preprocess.mean, c.preprocess.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (c.augment.padding, c.augment.erase_probability) == (10, 0.5)
    assert (c.augment.flip_probability, c.augment.paste_probability) == (0, 0)
    assert (c.augment.erase_min, c.augment.erase_max, c.augment.label_threshold) == (0.15, 0.65, 0.5)
    assert (c.batch.identities_per_batch, c.batch.images_per_identity) == (16, 4)
    assert (c.optimizer.epochs, c.optimizer.milestones, c.optimizer.warmup_epochs) == (120, (40, 70), 10)
    assert (c.optimizer.learning_rate, c.optimizer.decay, c.optimizer.schedule) == (3.5e-4, 0.1, "steps")
    assert (c.optimizer.weight_decay, c.pretrained) == (5e-4, "imagenet")
    assert c.optimizer.warmup_factor == (0.01 if name.startswith("official") else 0.1)
    assert (c.objective.part_attention_weight, c.objective.gilt.margin) == (0.35, 0.3)
    assert c.objective.gilt.label_smoothing == c.objective.part_attention_smoothing == 0.1
    assert (c.objective.gilt.part_triplet, c.objective.gilt.triplet_visibility) == ("part_averaged", "ignore")
    if name == "bot":
        return
    assert c.objective.gilt.identity.model_dump() == {"global_": 1, "foreground": 1, "concat": 1, "parts": 0}
    holistic = name == "official-holistic"  # the published training files add a triplet on the foreground
    triplet = {"global_": 0, "foreground": int(holistic), "concat": 0, "parts": 1}
    assert c.objective.gilt.triplet.model_dump() == triplet


def test_the_text_and_the_baselines_of_the_paper() -> None:
    c = paper_occluded().model
    assert (c.attention, c.visibility, c.visibility_threshold, c.embedding_dim) == ("learned", "threshold", 0.4, None)
    assert (c.foreground_pooling, c.foreground_embedding, c.normalize_embeddings) == ("weighted_average", "raw", False)
    assert (get_preset("pcb").model.attention, get_preset("pcb").model.stripes) == ("stripes", 6)
    bot = get_preset("bot")
    assert bot.model.slots == ("global",)
    only_global = {"global_": 1, "foreground": 0, "concat": 0, "parts": 0}
    assert bot.objective.gilt.identity.model_dump() == bot.objective.gilt.triplet.model_dump() == only_global
    assert bot.label_schema is get_preset("pcb").label_schema is None


@pytest.mark.parametrize(("preset", "overrides", "needed"), [
    ("bot", ["augment.paste_probability=0.5"], True),
    ("bot", ["augment.paste_probability=0.5", "augment.pasting.people=0"], False),
    ("bot", ["objective.gilt.triplet_visibility=labels"], False),
    ("paper-occluded", ["objective.part_attention_weight=0"], False),
    ("paper-occluded", ["objective.part_attention_weight=0", "objective.gilt.triplet_visibility=labels"], True),
    ("paper-occluded", ["objective.part_attention_weight=0", "model.attention=fixed"], True),
])  # fmt: skip
def test_labels_are_read_for_whatever_needs_them(preset: str, overrides: list[str], needed: bool) -> None:
    assert (get_preset(preset).override(overrides).label_schema is not None) == needed


def test_labels_say_nothing_of_stripes() -> None:
    with pytest.raises(ConfigError, match="labels say nothing of stripes: .* needs another model.attention"):
        get_preset("pcb").override(["objective.gilt.triplet_visibility=labels"])


def test_the_official_preset_departs_as_the_published_weights_do() -> None:
    departures = set(paper_occluded().diff(get_preset("official-occluded")))
    assert departures == {
        "model.embedding_dim",
        "model.foreground_pooling",
        "model.part_classifier_batchnorm",
        "model.visibility",
        "model.foreground_embedding",
        "model.normalize_embeddings",
        "optimizer.warmup_factor",
    }
    assert official_holistic().model.parts == "five_v"
    assert official_holistic().objective.gilt.triplet.foreground == 1


def test_learning_rate_follows_the_paper() -> None:
    rate = OptimizerConfig().rate
    assert rate(0) == pytest.approx(3.5e-5)
    assert rate(5.9) == pytest.approx(3.5e-5 + 0.5 * (3.5e-4 - 3.5e-5))
    assert rate(10) == rate(39.9) == pytest.approx(3.5e-4)
    assert rate(40) == rate(69) == pytest.approx(3.5e-5)
    assert rate(70) == rate(119) == pytest.approx(3.5e-6)
    cosine = OptimizerConfig(schedule="cosine", warmup_epochs=0, epochs=10).rate
    assert [cosine(e) for e in (0, 5, 10)] == pytest.approx([3.5e-4, 1.75e-4, 0])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_toml(name: str, tmp_path: Path) -> None:
    preset = get_preset(name)
    (tmp_path / "run.toml").write_text(preset.to_toml())
    assert TrainConfig.load(tmp_path / "run.toml") == preset


def test_every_field_is_described_and_read_somewhere() -> None:
    for key, _ in flatten(TrainConfig()):
        owner: type = TrainConfig
        *sections, name = key.split(".")
        for section in sections:
            owner = owner.model_fields[section].annotation  # type: ignore[attr-defined]
        assert owner.model_fields[name].description, key  # type: ignore[attr-defined]
        reads = re.findall(rf"\.{name}\b", SOURCES)
        by_name = "RegionVectors.NAMES" in SOURCES and name in ("global_", "foreground", "concat", "parts")
        assert reads or by_name, f"{key} is never read"


def test_overrides_and_their_messages() -> None:
    c = TrainConfig().override(["optimizer.learning_rate=1e-3", "model.parts=five", "optimizer.milestones=[5, 7]"])
    assert (c.optimizer.learning_rate, c.model.parts, c.optimizer.milestones) == (1e-3, "five", (5, 7))
    with pytest.raises(ConfigError, match=r"optimizer has no field 'epoch'. Did you mean optimizer.epochs=3\?"):
        TrainConfig().override(["optimizer.epoch=3"])
    with pytest.raises(ConfigError, match=r"Expected section.field=value, got 'optimizer.epochs'"):
        TrainConfig().override(["optimizer.epochs"])
    with pytest.raises(ConfigError, match=r"optimizer.epochs = 0: .*greater than or equal to 1"):
        TrainConfig().override(["optimizer.epochs=0"])
    with pytest.raises(ConfigError, match="250×128 must be multiples of 16 for model.backbone = resnet50"):
        TrainConfig().override(["preprocess.height=250"])
    with pytest.raises(ConfigError, match="Did you mean 'eleven'"):
        TrainConfig().override(["model.parts=elven"])


@pytest.mark.parametrize(("backbone", "size", "expected"), [
    ("resnet50", (256, 128), (16, 8)), ("resnet50_ibn_a", (384, 128), (24, 8)), ("hrnet_w32", (384, 128), (96, 32)),
])  # fmt: skip
def test_the_map_size_is_the_backbones(backbone: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    sized = [f"preprocess.height={size[0]}", f"preprocess.width={size[1]}"]
    config = TrainConfig().override([f"model.backbone={backbone}", *sized])
    assert config.map_size == expected
    assert TrainConfig.parse(tomllib.loads(config.to_toml())) == config


def test_what_a_backbone_cannot_do_is_told_before_training() -> None:
    with pytest.raises(ConfigError, match="must be multiples of 32 for model.backbone = hrnet_w32"):
        TrainConfig().override(["model.backbone=hrnet_w32", "preprocess.height=272"])
    with pytest.raises(ConfigError, match="hrnet_w32 can have the output stride 4, got 16"):
        TrainConfig().override(["model.backbone=hrnet_w32", "model.output_stride=16"])


def test_an_output_stride_of_earlier_versions_keeps_its_meaning() -> None:
    """It used to be 16 where nothing was said, and stands so in every checkpoint and run of that time."""
    old = TrainConfig.parse({"model": {"backbone": "resnet50", "output_stride": 16}})
    assert old.map_size == TrainConfig().map_size == (16, 8)


def test_file_messages(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[optimizer]\nepoch = 3\n")
    with pytest.raises(ConfigError, match=r"a.toml: unknown field 'optimizer.epoch'. Did you mean 'optimizer.epochs'"):
        TrainConfig.load(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text("[optimizer\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        TrainConfig.load(tmp_path / "b.toml")
    (tmp_path / "c.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected a table"):
        TrainConfig.load(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="Cannot read"):
        TrainConfig.load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="Unknown preset 'lite'"):
        get_preset("lite")
