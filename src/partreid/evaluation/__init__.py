"""Scores of a ranking: protocols, streaming evaluation, the table of single embeddings, confidence intervals."""

from partreid.evaluation.evaluator import EvaluationConfig, Identities, evaluate_embeddings
from partreid.evaluation.protocols import PROTOCOLS, Protocol
from partreid.evaluation.separation import DistanceDistribution, distance_distribution
from partreid.evaluation.slots import SlotRow, slot_mapping, slot_table
from partreid.evaluation.statistics import (
    Interval,
    PairedDifference,
    bootstrap_interval,
    paired_difference,
    with_confidence,
)
from partreid.retrieval.matching import MatchingConfig

__all__ = [
    "PROTOCOLS",
    "DistanceDistribution",
    "EvaluationConfig",
    "Identities",
    "Interval",
    "MatchingConfig",
    "PairedDifference",
    "Protocol",
    "SlotRow",
    "bootstrap_interval",
    "distance_distribution",
    "evaluate_embeddings",
    "paired_difference",
    "slot_mapping",
    "slot_table",
    "with_confidence",
]
