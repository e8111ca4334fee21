"""What is said of a comparison is what was done; what would change nothing is refused."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from partreid import MatchingConfig, PartExtractor, build_network
from partreid.errors import ConfigError, DataError, ShapeError
from partreid.evaluation.evaluator import evaluate_embeddings
from partreid.models.model_config import ModelConfig, bot_model, official_model
from partreid.preprocessing import PreprocessConfig
from partreid.retrieval.calibration import MatchCalibration
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.how_compared import HowCompared
from partreid.types import PartEmbeddings


def extractor(config: ModelConfig) -> PartExtractor:
    config = config.model_copy(update={"backbone": "resnet18", "parts": "five"})
    return PartExtractor(build_network(config, 2).eval(), PreprocessConfig(height=64, width=32))


@pytest.mark.parametrize(
    ("config", "matching", "facts", "words"),
    [
        (
            ModelConfig(visibility_threshold=0.6),
            None,
            ("threshold", 0.6, False),
            "λ_v = 0.6; weight v_q·v_g",
        ),
        (official_model(), None, ("argmax", None, True), "argmax over a pixel; weight v_q·v_g; vectors divided"),
        (bot_model(), None, ("always", None, True), "visible always"),
        (bot_model(), MatchingConfig(normalize=False), ("always", None, False), "vectors as they are"),
        (ModelConfig(visibility="continuous"), None, ("continuous", None, False), "as much as its attention map"),
        (
            ModelConfig(visibility="continuous"),
            MatchingConfig(visibility_threshold={"head": 0.2}, visibility="geometric"),
            ("continuous", {"head": 0.2}, False),
            "λ_v = 0.2 (head); weight √(v_q·v_g)",
        ),
        (
            ModelConfig(parts="five", slot_weights={"head": 2}),
            MatchingConfig(slots=("foreground", "head")),
            ("threshold", 0.4, False),
            "weight v_q·v_g, times 2 (head);",
        ),
        (
            ModelConfig(parts="five", slot_weights={"head": 2}),
            MatchingConfig(slot_weights={}),
            ("threshold", 0.4, False),
            "weight v_q·v_g;",
        ),
        (
            ModelConfig(),
            MatchingConfig(slot_weights={"foreground": 3, "head": 0.5}),
            ("threshold", 0.4, False),
            "weight v_q·v_g, times 3 (foreground), 0.5 (head);",
        ),
    ],
)
def test_what_is_in_effect(
    config: ModelConfig, matching: MatchingConfig | None, facts: tuple[object, ...], words: str
) -> None:
    how = HowCompared.of(extractor(config), matching)
    assert (how.visibility, how.visibility_threshold, how.matching.normalize) == facts
    assert words in str(how)
    assert how.to_json()["matching"]["normalize"] is facts[2]
    assert how.to_json()["visibility_threshold"] == facts[1]


@pytest.mark.parametrize("changes", [{"visibility_threshold": 0.3}, {"visibility": "geometric"}])
@pytest.mark.parametrize("config", [ModelConfig(), official_model(), bot_model()])
def test_a_field_that_changes_nothing_is_refused(config: ModelConfig, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="changes nothing here"):
        HowCompared.of(extractor(config), MatchingConfig.parse(changes))


def test_an_unknown_slot_is_named_first() -> None:
    with pytest.raises(ShapeError, match="No slot 'hat'"):
        HowCompared.of(extractor(ModelConfig()), MatchingConfig(visibility_threshold={"hat": 0.5}))


@pytest.mark.parametrize(
    ("config", "idle"),
    [
        (ModelConfig(), {"stripes"}),
        (official_model(), {"stripes", "visibility_threshold"}),
        (bot_model(), {"stripes", "visibility", "visibility_threshold", "foreground_pooling"}),
        (
            ModelConfig(attention="stripes"),
            {"visibility", "visibility_threshold", "foreground_pooling", "foreground_embedding"},
        ),
    ],
)
def test_idle_fields(config: ModelConfig, idle: set[str]) -> None:
    """Each field said to be idle changes no embedding, and the others of the forward pass do."""
    assert config.idle_fields == idle
    values = {"stripes": 2, "visibility": "continuous", "visibility_threshold": 0.01, "foreground_pooling": "mean"}
    values["foreground_embedding"] = "raw" if config.foreground_embedding == "bn" else "bn"
    torch.manual_seed(0)
    config = config.model_copy(update={"backbone": "resnet18", "parts": "five"})
    network = build_network(config, 2)
    network.train()(torch.randn(4, 3, 96, 32))  # moves the necks' statistics: else raw and bn are the same
    network.eval()
    images = torch.randn(2, 3, 96, 32)
    before = network(images, classify=False).embeddings
    for name in idle - {"stripes"}:
        network.config = config.model_copy(update={name: values[name]})
        after = network(images, classify=False).embeddings
        assert torch.equal(before.vectors, after.vectors), name
        assert torch.equal(before.visibility, after.visibility), name


def test_python_says_that_a_field_changes_nothing() -> None:
    gallery, rule = Gallery(), MatchingConfig(visibility_threshold=0.3)
    gallery.add(embeddings(5, compare_normalized=False), list("abcde"))
    for used in (
        lambda: gallery.search(embeddings(2), matching=rule),
        lambda: evaluate_embeddings(
            embeddings(3), embeddings(4), ([1, 2, 3], None), ([1, 2, 3, 4], None), matching=rule
        ),
    ):
        with pytest.warns(UserWarning, match=r"matching\.visibility_threshold changes nothing"):
            used()
    seen = torch.tensor([[1.0, 0.4], [1.0, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gallery.search(replace(embeddings(2), visibility=seen), matching=rule)


def embeddings(count: int, **facts: object) -> PartEmbeddings:
    vectors = torch.randn(count, 2, 6, generator=torch.Generator().manual_seed(count)) * 4
    return PartEmbeddings(vectors, torch.ones(count, 2), ("a", "b"), **facts)  # type: ignore[arg-type]


def test_probabilities_belong_to_their_own_comparison() -> None:
    gallery = Gallery()
    gallery.add(embeddings(9, compare_normalized=True), [str(i) for i in range(9)])
    query = embeddings(2, compare_normalized=True)
    calibration = MatchCalibration(
        prior=0.5, offsets=(2.0, 6.0), slopes=(1.0, 2.0), matching=MatchingConfig(normalize=True)
    )
    right = calibration.of_search(gallery.search(query, 3))  # the model's own way is the default
    assert torch.equal(right, calibration.of_search(gallery.search(query, 3, matching=calibration.matching)))
    assert right.max() > 0.5
    for other in (
        MatchingConfig(normalize=False),
        MatchingConfig(slots=("a",)),
        MatchingConfig(visibility="ignore"),
        MatchingConfig(slot_weights={"a": 2}),
    ):
        with pytest.raises(ConfigError, match=r"Search with matching=calibration\.matching"):
            calibration.of_search(gallery.search(query, 3, matching=other))
    open_rule = calibration.model_copy(update={"matching": MatchingConfig()})
    assert torch.equal(right, open_rule.of_search(gallery.search(query, 3)))
    weighed = MatchCalibration.parse(calibration.model_dump() | {"matching": {"slot_weights": {"a": 2}}})
    assert weighed.of_search(gallery.search(query, 3, matching=weighed.matching)).isfinite().all()
    with pytest.raises(ConfigError, match=r"Search with matching=calibration\.matching"):
        weighed.of_search(gallery.search(query, 3))


def test_a_calibration_of_former_versions_was_fitted_without_weights() -> None:
    content = MatchCalibration(prior=0.5, offsets=(2.0, 6.0), slopes=(1.0, 2.0)).model_dump()
    del content["matching"]["slot_weights"]
    calibration = MatchCalibration.parse(content)
    assert calibration.fits(MatchingConfig())
    assert calibration.fits(MatchingConfig(slot_weights={}))
    assert not calibration.fits(MatchingConfig(slot_weights={"a": 2}))


def test_probabilities_belong_to_their_own_model() -> None:
    calibration = MatchCalibration(prior=0.5, offsets=(2.0, 6.0), slopes=(1.0, 2.0), model="one")
    other, mine = (embeddings(3, model=name, compare_normalized=False) for name in ("another", "one"))
    gallery = Gallery()
    gallery.add(other, list("abc"))
    with pytest.raises(DataError, match="belongs to model one, the embeddings to another"):
        calibration.of_search(gallery.search(embeddings(2, compare_normalized=False), 2))
    with pytest.raises(DataError, match="belongs to model one, the embeddings to another"):
        calibration.probabilities(other, other)
    assert calibration.probabilities(mine, mine).shape == (3, 3)
