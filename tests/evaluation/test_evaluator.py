"""Streaming evaluation equals the whole; its matching rules, options and messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partreid.errors import ConfigError, DataError, ShapeError
from partreid.evaluation import (
    PROTOCOLS,
    EvaluationConfig,
    Identities,
    MatchingConfig,
    distance_distribution,
    evaluate_embeddings,
    slot_mapping,
    slot_table,
)
from partreid.evaluation.dataset import EmbeddedSplit
from partreid.evaluation.reranking import Reranker, RerankingConfig
from partreid.functional import ranking
from partreid.functional.distance import part_distances
from partreid.types import PartEmbeddings, ReIDImage

SLOTS = ("foreground", "head", "legs")


def people(*, n: int, seed: int, width: int = 8, noise: float = 2.0) -> tuple[PartEmbeddings, Identities]:
    """Noisy embeddings of ten made-up persons."""
    centres = torch.randn(10, 3, width, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    pids = torch.randint(0, 10, (n,), generator=generator)
    vectors = centres[pids] + noise * torch.randn(n, 3, width, generator=generator)
    visibility = torch.rand(n, 3, generator=generator)
    visibility[:, 0] = 1
    return PartEmbeddings(vectors, visibility, SLOTS), Identities(pids, torch.randint(0, 4, (n,), generator=generator))


QUERY, QUERY_IDS = people(n=40, seed=1)
GALLERY, GALLERY_IDS = people(n=90, seed=2)


def test_equals_ranking_the_whole_matrix() -> None:
    whole = ranking.evaluate_ranking(
        part_distances(QUERY, GALLERY), QUERY_IDS[0], GALLERY_IDS[0], QUERY_IDS[1], GALLERY_IDS[1]
    )
    result = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS)
    assert result.summary() == pytest.approx(whole.summary())
    assert 0.2 < result.mean_ap < 0.99


def test_streams_by_query_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS)
    monkeypatch.setattr("partreid.evaluation.evaluator._RANKED_BYTES", 2**19 // 90 // 7)
    sizes: list[int] = []

    def noting(distances: Any, *ids: Any) -> Any:
        sizes.append(len(distances))
        return ranking.score_rows(distances, *ids)

    monkeypatch.setattr("partreid.evaluation.evaluator.score_rows", noting)
    streamed = evaluate_embeddings(
        QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, options=EvaluationConfig(memory_budget_mib=1, max_rank=50)
    )
    assert sizes == [10, 10, 10, 10]
    np.testing.assert_array_equal(streamed.average_precision, whole.average_precision)
    np.testing.assert_array_equal(streamed.cmc, whole.cmc)


def test_matching_rule_is_followed() -> None:
    def ap(**rule: Any) -> np.ndarray:
        matching = MatchingConfig(**rule)
        return evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=matching).average_precision

    for rule in (
        {"visibility": "ignore"}, {"visibility": "geometric"}, {"normalize": True}, {"slots": ("head",)},
        {"visibility_threshold": 0.4},
    ):  # fmt: skip
        assert not np.array_equal(ap(**rule), ap())


def test_threshold_of_visibility_is_strict_and_chosen_at_matching() -> None:
    e = PartEmbeddings(torch.zeros(1, 3, 2), torch.tensor([[1.0, 0.4, 0.41]]), SLOTS)
    prepared = MatchingConfig(visibility_threshold=0.4).prepare(e)
    assert prepared.visibility.tolist() == [[1, 0, 1]]  # Eq. 4: above the threshold
    assert MatchingConfig(slots=("legs", "head")).prepare(e).slots == ("legs", "head")


def test_cameras_and_plain_tuples() -> None:
    result = evaluate_embeddings(QUERY, GALLERY, (QUERY_IDS[0], None), (GALLERY_IDS[0], None))
    assert result.protocol == ranking.ALL_CAMERAS
    assert "nothing is dropped" in PROTOCOLS[result.protocol]
    result = evaluate_embeddings(QUERY, GALLERY, (QUERY_IDS[0].tolist(), [9] * 40), tuple(GALLERY_IDS))  # type: ignore[union-attr, arg-type]
    assert result.protocol == ranking.CROSS_CAMERA
    assert "are dropped" in PROTOCOLS[result.protocol]


def test_confidence_is_computed_on_request() -> None:
    assert evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS).confidence == {}
    options = EvaluationConfig(bootstrap=200, seed=3)
    result = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, options=options)
    again = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, options=options)
    for metric, score in (("rank1", result.rank(1)), ("mAP", result.mean_ap)):
        low, high = result.confidence[metric]
        assert low <= score <= high
        assert result.confidence[metric] == again.confidence[metric]


def test_messages() -> None:
    with pytest.raises(ShapeError, match="The gallery has 90 embeddings but 40 person ids and 40 cameras"):
        evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, QUERY_IDS)
    with pytest.raises(ShapeError, match="Only one of query_camids and gallery_camids"):
        evaluate_embeddings(QUERY, GALLERY, (QUERY_IDS[0], None), GALLERY_IDS)
    with pytest.raises(DataError, match="None of the 40 queries has a positive"):
        evaluate_embeddings(QUERY, GALLERY, ([77] * 40, None), (GALLERY_IDS[0], None))
    with pytest.raises(DataError, match="None of the 0 queries"):
        evaluate_embeddings(QUERY[:0], GALLERY, ([], []), GALLERY_IDS)
    with pytest.raises(ShapeError, match="Did you mean 'head'"):
        evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=MatchingConfig(slots=("heads",)))
    with pytest.raises(ConfigError, match="visibility"):
        MatchingConfig.parse({"visibility": "none"})


def test_files_are_one_however_their_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    e = PartEmbeddings(torch.tensor([[[0.0]], [[1.0]], [[9.0]]]), torch.ones(3, 1), ("foreground",))
    gallery = Identities([1, 1, 2], None, [tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.jpg"])
    for files in (["a.jpg"], [Path("a.jpg")], [Path("./x/../a.jpg")], [str(tmp_path / "a.jpg")], np.array(["a.jpg"])):
        query = Identities([1], [None], files)  # type: ignore[arg-type]
        result = evaluate_embeddings(e[:1], e, query, gallery)
        assert (result.protocol, result.first_match.tolist()) == (ranking.OTHER_FILE, [1])
        assert distance_distribution(e[:1], e, query, gallery).pairs == (1, 1)
    for files, message in (
        (None, "Only one of query and gallery has files"),
        ([None], "File 0 of the query is unknown"),
        ([7], "Expected a path for each file of the query"),
        ([], "The query has 1 embeddings but 1 person ids and 0 files"),
    ):
        with pytest.raises(ShapeError, match=message):
            evaluate_embeddings(e[:1], e, Identities([1], None, files), gallery)  # type: ignore[arg-type]


def test_cameras_of_some_images_alone_are_refused_in_a_split_too() -> None:
    images = tuple(ReIDImage(Path(f"{i}.jpg"), i, camera) for i, camera in enumerate([0, None, 1]))
    split = EmbeddedSplit(images, GALLERY[:3], {})
    with pytest.raises(ShapeError, match="camids: 1 of 3 are unknown .* image 1"):
        evaluate_embeddings(split.embeddings, split.embeddings, split.ids, split.ids)


def test_every_protocol_says_what_is_done_with_junk() -> None:
    for protocol in PROTOCOLS.values():
        assert "Images of person -1 are junk and neglected, as gallery and as query." in protocol


def test_distances_with_nan_are_not_reranked() -> None:
    reranker = Reranker(QUERY[:2], GALLERY, matching=MatchingConfig(), config=RerankingConfig())
    with pytest.raises(ShapeError, match="A distance is NaN"):
        reranker.rerank(torch.full((2, 90), torch.nan), first=0)


def test_slot_table_has_the_rows_of_table_3() -> None:
    wide = torch.randn(40, 24, generator=torch.Generator().manual_seed(5))
    query = slot_mapping(QUERY, holistic={"concat": wide})
    gallery = slot_mapping(GALLERY, holistic={"concat": torch.ones(90, 24)})
    rows = {row.name: row for row in slot_table(query, gallery, QUERY_IDS, GALLERY_IDS)}
    assert list(rows) == [
        "concat", "foreground", "head", "legs", "parts, with visibility", "parts, without visibility",
        "foreground + parts, with visibility", "foreground + parts, without visibility",
    ]  # fmt: skip
    whole = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS)
    row = rows["foreground + parts, with visibility"]
    assert (row.rank1, row.rank5, row.mean_ap, row.mean_inp) == (
        whole.rank(1), whole.rank(5), whole.mean_ap, whole.mean_inp,
    )  # fmt: skip
    ignoring = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=MatchingConfig(visibility="ignore"))
    assert rows["foreground + parts, without visibility"].mean_ap == ignoring.mean_ap
    assert rows["foreground"].visible == rows["concat"].visible == 1


def test_slot_table_with_continuous_visibility_and_thresholds_per_slot() -> None:
    matching = MatchingConfig(visibility="geometric", visibility_threshold={"head": 0.7, "legs": 0.1})
    rows = {r.name: r for r in slot_table(slot_mapping(QUERY), slot_mapping(GALLERY), QUERY_IDS, GALLERY_IDS)}
    assert rows["legs"].visible == pytest.approx(float(QUERY.visibility[:, 2].mean()))  # not 1, though all are above 0
    limited = slot_table(slot_mapping(QUERY), slot_mapping(GALLERY), QUERY_IDS, GALLERY_IDS, matching=matching)
    rows = {row.name: row for row in limited}
    for slot, limit, column in (("head", 0.7, 1), ("legs", 0.1, 2)):
        assert rows[slot].visible == pytest.approx(float((QUERY.visibility[:, column] > limit).float().mean()))
    whole = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=matching)
    assert rows["foreground + parts, with visibility"].mean_ap == whole.mean_ap
    wrong = MatchingConfig(visibility_threshold={"hat": 0.5})
    with pytest.raises(ShapeError, match="No slot 'hat'"):
        evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=wrong)


def test_weights_count_in_the_combinations_of_the_slot_table() -> None:
    rule = MatchingConfig(slot_weights={"foreground": 3, "head": 1000, "legs": 0.001})
    plain, weighed = (
        {
            r.name: r
            for r in slot_table(slot_mapping(QUERY), slot_mapping(GALLERY), QUERY_IDS, GALLERY_IDS, matching=one)
        }
        for one in (None, rule)
    )
    assert all(weighed[slot] == plain[slot] for slot in QUERY.slots)  # alone, a weight changes nothing
    assert weighed["parts, without visibility"] != plain["parts, without visibility"]
    whole = evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=rule)
    assert weighed["foreground + parts, with visibility"].mean_ap == whole.mean_ap
    reranked = EvaluationConfig(reranking=RerankingConfig(k1=5, k2=2))
    scores = [
        evaluate_embeddings(QUERY, GALLERY, QUERY_IDS, GALLERY_IDS, matching=one, options=reranked).mean_ap
        for one in (None, rule)
    ]
    assert scores[0] != scores[1]


def test_an_invisible_part_counts_in_stored_order() -> None:
    vectors = torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1)
    gallery = {"head": PartEmbeddings(vectors, torch.ones(3, 1), ("head",))}
    query = {"head": PartEmbeddings(torch.full((2, 1, 1), 2.0), torch.tensor([[1.0], [0.0]]), ("head",))}
    (row,) = slot_table(query, gallery, ([3, 3], None), ([1, 2, 3], None))
    assert (row.rank1, row.rank5, row.visible) == (0.5, 1.0, 0.5)
    assert row.mean_ap == pytest.approx((1 + 1 / 3) / 2)


def test_messages_of_the_slot_table() -> None:
    table = slot_mapping(QUERY)
    with pytest.raises(ShapeError, match="must hold the same embeddings"):
        slot_table(table, {"head": GALLERY.select("head")}, QUERY_IDS, GALLERY_IDS)
    with pytest.raises(ShapeError, match=r"leave matching\.slots at None"):
        slot_table(table, slot_mapping(GALLERY), QUERY_IDS, GALLERY_IDS, matching=MatchingConfig(slots=("head",)))
    with pytest.raises(ShapeError, match=r"Holistic vectors 'head' must be \[40, width\]"):
        slot_mapping(QUERY, holistic={"head": torch.zeros(40, 3)})
