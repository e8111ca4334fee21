"""Eq. 5 and 6: every row of Table 4 is a choice of weights, and its total the sum written out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.errors import ConfigError, LabelError
from partreid.functional.losses import IGNORED_LABEL
from partreid.losses.loss_config import DistillationConfig, GiLtConfig, ObjectiveConfig, RegionWeights
from partreid.losses.objective import consistency_loss, distillation_terms, gilt_terms, objective
from partreid.types import ModelOutput, PartEmbeddings, RegionVectors

B, K, D, H, W, IDENTITIES = 6, 3, 8, 4, 2, 5
PIDS = torch.tensor([0, 0, 3, 3, 4, 4])
TABLE_4 = {  # row: (identity on, triplet on); g, f, c and p = parts
    "GiLt": ("gfc", "p"),
    "PCB": ("p", ""),
    "1": ("p", "gfc"),
    "2": ("gfcp", "gfcp"),
    "3": ("gfcp", ""),
    "4": ("", "gfcp"),
    "5": ("gfcp", "p"),
    "6": ("gf", "p"),
    "7": ("gc", "p"),
    "8": ("fc", "p"),
    "9": ("gfc", "fc"),
    "10": ("gfc", "fc"),
    "11": ("gfc", "gc"),
    "12": ("gfc", "c"),
}
REGIONS = {"g": "global_", "f": "foreground", "c": "concat", "p": "parts"}


def weights(letters: str, value: float = 1.0) -> RegionWeights:
    return RegionWeights(**{REGIONS[letter]: value for letter in letters})


@pytest.fixture
def output() -> ModelOutput:
    def regions(width: int) -> RegionVectors:
        return RegionVectors(
            *(torch.randn(B, width, requires_grad=True) for _ in range(3)),
            torch.randn(B, K, width, requires_grad=True),
        )

    logits = torch.randn(B, K + 1, H, W, requires_grad=True)
    features = regions(D)
    return ModelOutput(
        part_logits=logits,
        attention=logits.softmax(dim=1),
        features=features,
        bn_features=regions(D),
        identity_logits=regions(IDENTITIES),
        visibility=torch.ones(B, K),
        embeddings=PartEmbeddings(features.parts, torch.ones(B, K), ("a", "b", "c")),
    )


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(0, K + 1, (B, H, W))


def smoothed(scores: Tensor, target: int) -> float:
    """Cross-entropy with 0.1 spread evenly over all classes."""
    logs = F.log_softmax(scores.detach().double(), dim=0).tolist()
    classes = len(logs)
    return -sum((0.1 / classes + (0.9 if c == target else 0)) * log for c, log in enumerate(logs))


def identity(output: ModelOutput, letter: str) -> float:
    assert output.identity_logits is not None
    logits = getattr(output.identity_logits, REGIONS[letter])
    rows = [
        (logits[b, k] if letter == "p" else logits[b], b) for b in range(B) for k in range(K if letter == "p" else 1)
    ]
    return sum(smoothed(row, int(PIDS[b])) for row, b in rows) / len(rows)


def triplet(output: ModelOutput, letter: str) -> float:
    vectors = getattr(output.features, REGIONS[letter]).detach().double()
    if letter != "p":
        vectors = vectors.unsqueeze(1)

    def distance(a: int, b: int) -> float:
        return sum(float((vectors[a, k] - vectors[b, k]).norm()) for k in range(vectors.shape[1])) / vectors.shape[1]

    losses = []
    for a in range(B):
        positive = max(distance(a, b) for b in range(B) if b != a and PIDS[a] == PIDS[b])
        negative = min(distance(a, b) for b in range(B) if PIDS[a] != PIDS[b])
        losses.append(max(0.0, positive - negative + 0.3))
    return sum(losses) / B


@pytest.mark.parametrize("row", TABLE_4)
def test_every_row_of_table_4(row: str, output: ModelOutput, labels: Tensor) -> None:
    on_identity, on_triplet = TABLE_4[row]
    config = ObjectiveConfig(gilt=GiLtConfig(identity=weights(on_identity), triplet=weights(on_triplet)))
    report = objective(output, PIDS, labels, config)
    hand = {f"identity/{REGIONS[c]}": identity(output, c) for c in on_identity}
    hand |= {f"triplet/{REGIONS[c]}": triplet(output, c) for c in on_triplet}
    pixels = [
        smoothed(output.part_logits[b, :, i, j], int(labels[b, i, j]))
        for b in range(B) for i in range(H) for j in range(W)
    ]  # fmt: skip
    hand["part_attention"] = sum(pixels) / len(pixels)
    assert {name: float(term) for name, term in report.terms.items()} == pytest.approx(hand, rel=1e-4)
    total = sum(value for name, value in hand.items() if name != "part_attention") + 0.35 * hand["part_attention"]
    assert float(report.total.detach()) == pytest.approx(total, rel=1e-5)
    assert set(report.statistics) == {f"active/{REGIONS[c]}" for c in on_triplet}
    assert all(not term.requires_grad for term in (*report.terms.values(), *report.statistics.values()))


def test_the_default_is_gilt() -> None:
    on_identity, on_triplet = TABLE_4["GiLt"]
    assert GiLtConfig() == GiLtConfig(identity=weights(on_identity), triplet=weights(on_triplet))
    assert ObjectiveConfig().part_attention_weight == 0.35


def test_weights_scale_the_terms(output: ModelOutput, labels: Tensor) -> None:
    gilt = GiLtConfig(identity=weights("g", 0.5), triplet=weights("f", 3))
    report = objective(output, PIDS, labels, ObjectiveConfig(gilt=gilt, part_attention_weight=2))
    expected = 0.5 * identity(output, "g") + 3 * triplet(output, "f") + 2 * float(report.terms["part_attention"])
    assert float(report.total.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(report.terms["identity/global_"]) == pytest.approx(identity(output, "g"), rel=1e-5)


def test_only_weighted_embeddings_learn(output: ModelOutput, labels: Tensor) -> None:
    objective(output, PIDS, labels, ObjectiveConfig()).total.backward()
    logits = output.identity_logits
    assert logits is not None
    assert [getattr(logits, name).grad is not None for name in RegionVectors.NAMES] == [True, True, True, False]
    assert [getattr(output.features, name).grad is not None for name in RegionVectors.NAMES] == [
        False, False, False, True,
    ]  # fmt: skip
    assert output.part_logits.grad is not None


def test_labels_are_needed_only_by_the_part_attention_loss(output: ModelOutput) -> None:
    with pytest.raises(LabelError, match="needs human parsing labels, and none were given"):
        objective(output, PIDS, None, ObjectiveConfig())
    report = objective(output, PIDS, None, ObjectiveConfig(part_attention_weight=0))
    assert "part_attention" not in report.terms
    with pytest.raises(LabelError, match="Expected labels"):
        objective(output, PIDS, torch.zeros(B, H + 1, W, dtype=torch.int64), ObjectiveConfig())


def test_a_model_without_identity_classifiers(output: ModelOutput, labels: Tensor) -> None:
    bare = replace(output, identity_logits=None)
    with pytest.raises(ConfigError, match="no identity classifiers: set the identity weights to 0"):
        gilt_terms(bare, PIDS, GiLtConfig())
    gilt = GiLtConfig(identity=RegionWeights())
    assert set(objective(bare, PIDS, labels, ObjectiveConfig(gilt=gilt)).terms) == {"triplet/parts", "part_attention"}


def test_nothing_to_train_on(output: ModelOutput) -> None:
    gilt = GiLtConfig(identity=RegionWeights(), triplet=RegionWeights())
    with pytest.raises(ConfigError, match="Every loss on what this model has .* has weight 0"):
        objective(output, PIDS, None, ObjectiveConfig(gilt=gilt, part_attention_weight=0))
    with pytest.raises(ConfigError, match=r"triplet\.parts = -1"):
        GiLtConfig.parse({"triplet": {"parts": -1}})


def test_a_triplet_per_part(output: ModelOutput, labels: Tensor) -> None:
    """Table 2, "w/o part-averaged": each part by itself, then the mean."""
    gilt = GiLtConfig(identity=RegionWeights(), part_triplet="per_part")
    report = objective(output, PIDS, labels, ObjectiveConfig(gilt=gilt))
    single = []
    for k in range(K):
        features = replace(output.features, foreground=output.features.parts[:, k])
        single.append(triplet(replace(output, features=features), "f"))
    assert float(report.terms["triplet/parts"]) == pytest.approx(sum(single) / K, rel=1e-4)


def weighted_triplet(vectors: Tensor, visibility: Tensor) -> float:
    """Eq. 8 on Eq. 9's weighted mean over the parts, by loops; pairs without a common part are passed over."""
    vectors = vectors.detach().double()

    def distance(a: int, b: int) -> float | None:
        weights = [float(visibility[a, k] * visibility[b, k]) for k in range(K)]
        if sum(weights) == 0:
            return None
        return sum(w * float((vectors[a, k] - vectors[b, k]).norm()) for k, w in enumerate(weights)) / sum(weights)

    terms = []
    for a in range(B):
        pairs = {b: distance(a, b) for b in range(B) if b != a}
        positives = [d for b, d in pairs.items() if PIDS[b] == PIDS[a] and d is not None]
        negatives = [d for b, d in pairs.items() if PIDS[b] != PIDS[a] and d is not None]
        if positives and negatives:
            terms.append(max(0.0, max(positives) - min(negatives) + 0.3))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("source", ["model", "labels"])
def test_the_triplet_compares_visible_parts_only_if_asked(output: ModelOutput, labels: Tensor, source: str) -> None:
    seen = torch.tensor([[1.0, 0, 1], [1, 1, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]])
    if source == "model":
        output = replace(output, visibility=seen)
    else:
        labels = torch.zeros_like(labels)
        for b in range(B):
            for k in range(K):
                labels[b, k // W, k % W] = (k + 1) * int(seen[b, k])
    gilt = GiLtConfig(identity=RegionWeights(), triplet_visibility=source)
    report = objective(output, PIDS, labels, ObjectiveConfig(gilt=gilt, part_attention_weight=0))
    assert output.features.parts is not None
    assert float(report.total.detach()) == pytest.approx(weighted_triplet(output.features.parts, seen), rel=1e-5)
    report.total.backward()
    assert output.features.parts.grad is not None
    assert torch.isfinite(output.features.parts.grad).all()


def test_all_parts_of_a_image_without_a_label_count(output: ModelOutput, labels: Tensor) -> None:
    gilt = GiLtConfig(identity=RegionWeights(), triplet_visibility="labels")
    unlabelled = torch.full_like(labels, IGNORED_LABEL)
    report = objective(output, PIDS, unlabelled, ObjectiveConfig(gilt=gilt, part_attention_weight=0))
    assert float(report.total.detach()) == pytest.approx(triplet(output, "p"), rel=1e-5)


def test_losses_on_what_a_model_does_not_have_count_for_nothing(output: ModelOutput, labels: Tensor) -> None:
    no_foreground = replace(
        output,
        part_logits=None,
        features=replace(output.features, foreground=None),
        identity_logits=None if output.identity_logits is None else replace(output.identity_logits, foreground=None),
    )
    gilt = GiLtConfig(identity=weights("gf"), triplet=weights("fp"))
    report = objective(no_foreground, PIDS, labels, ObjectiveConfig(gilt=gilt))
    assert set(report.terms) == {"identity/global_", "triplet/parts"}
    assert float(report.total.detach()) == pytest.approx(identity(output, "g") + triplet(output, "p"), rel=1e-5)


def test_consistency_compares_what_both_views_show(output: ModelOutput) -> None:
    seen = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]])
    output = replace(output, visibility=seen)
    features = output.features
    total = count = 0.0
    for image in range(3):
        pairs = [(features.global_[image], features.global_[image + 3])]
        pairs += [(features.foreground[image], features.foreground[image + 3])]
        for part in range(K):
            if seen[image, part] and seen[image + 3, part]:
                pairs.append((features.parts[image, part], features.parts[image + 3, part]))
        total += sum(1 - F.cosine_similarity(a, b, dim=0) for a, b in pairs)
        count += len(pairs)
    torch.testing.assert_close(consistency_loss(output), total / count)


def test_distillation_is_one_minus_the_cosine_to_the_source(output: ModelOutput) -> None:
    source = torch.randn(B, D)
    config = DistillationConfig(global_=2, foreground=3)
    terms = distillation_terms(output, source, config)
    for region in ("global_", "foreground"):
        expected = (1 - F.cosine_similarity(getattr(output.features, region), source)).mean()
        torch.testing.assert_close(terms[f"distillation/{region}"], expected)
    nothing = GiLtConfig(identity=RegionWeights(), triplet=RegionWeights())
    whole = ObjectiveConfig(gilt=nothing, part_attention_weight=0, distillation=config)
    report = objective(output, PIDS, None, whole, source=source)
    torch.testing.assert_close(report.total, 2 * terms["distillation/global_"] + 3 * terms["distillation/foreground"])


@pytest.mark.parametrize("source", [None, torch.zeros(B, D + 1)])
def test_distillation_without_fitting_vectors_is_refused(output: ModelOutput, source: Tensor | None) -> None:
    with pytest.raises(ConfigError, match=r"expected the source's vectors \(6, 8\)"):
        distillation_terms(output, source, DistillationConfig(global_=1))
