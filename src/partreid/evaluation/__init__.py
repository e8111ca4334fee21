"""Scores of a ranking: protocols, streaming evaluation, the table of single embeddings, confidence intervals."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.evaluation.calibration import CalibrationQuality, FittedCalibration, cross_validate, fit_calibration
    from partreid.evaluation.dataset import (
        EmbeddedSplit,
        QuerySetScores,
        SearchedSet,
        chance_rank1,
        embed_split,
        score_query_set,
        search_sets,
    )
    from partreid.evaluation.evaluator import EvaluationConfig, Identities, evaluate_embeddings
    from partreid.evaluation.groups import Estimate, GroupScore, score_groups
    from partreid.evaluation.mot_sequences import reassociate_sequences
    from partreid.evaluation.protocols import PROTOCOLS
    from partreid.evaluation.reassociation import Reassociation, ReassociationRow, reassociate
    from partreid.evaluation.reranking import Reranker, RerankingConfig
    from partreid.evaluation.separation import DistanceDistribution, distance_distribution
    from partreid.evaluation.slots import SlotRow, slot_mapping, slot_table
    from partreid.evaluation.statistics import (
        Interval,
        PairedDifference,
        bootstrap_interval,
        paired_difference,
        with_confidence,
    )
    from partreid.evaluation.visibility import PartVisibility, part_visibility
    from partreid.retrieval.matching import MatchingConfig

__all__ = [
    "PROTOCOLS", "CalibrationQuality", "DistanceDistribution", "EmbeddedSplit", "Estimate", "EvaluationConfig",
    "FittedCalibration", "GroupScore", "Identities", "Interval", "MatchingConfig", "PairedDifference",
    "PartVisibility", "QuerySetScores", "Reassociation", "ReassociationRow", "Reranker", "RerankingConfig",
    "SearchedSet", "SlotRow", "bootstrap_interval", "chance_rank1", "cross_validate", "distance_distribution",
    "embed_split", "evaluate_embeddings", "fit_calibration", "paired_difference", "part_visibility", "reassociate",
    "reassociate_sequences", "score_groups", "score_query_set", "search_sets", "slot_mapping", "slot_table",
    "with_confidence",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
